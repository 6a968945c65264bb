"""Runs of ``kinedepth depth`` that were stopped, killed or out of space, and go on."""

import errno
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from command_outcome import assert_told_in_one_line
from small_depth_runs import FRAMES, files_of, frames_of, stop_after
from vda_reference import TINY, deterministic_weights

from kinedepth import depth_run
from kinedepth._depth_run_folder import UNFINISHED
from kinedepth.dense.store import DepthStore
from kinedepth.dense.video_depth_anything.checkpoint import published_shapes
from kinedepth.depth_files import load_depth_video
from kinedepth.exporting import depth_outputs


@pytest.mark.parametrize("options", [("--format", "npz,mp4"), ("--stream",)])
def test_a_run_that_was_stopped_goes_on_and_gives_the_same_bytes(
    depth, tmp_path, monkeypatch, options
):
    assert depth(*options, output=tmp_path / "whole").code == 0
    undo = stop_after(monkeypatch, 4, KeyboardInterrupt())
    stopped = depth(*options)
    undo()
    assert stopped.code == 130
    assert "28 of 40 frames are kept" in stopped.err
    assert "--resume" in stopped.err
    assert [path.name for path in (tmp_path / "out").iterdir()] == [UNFINISHED]
    resumed = depth(*options, "--resume")
    assert resumed.code == 0, resumed.err
    assert files_of(tmp_path / "out") == files_of(tmp_path / "whole")
    if "npz,mp4" in options:
        films = [frames_of(tmp_path / run / "depth.mp4") for run in ("out", "whole")]
        assert np.abs(films[0] - films[1]).mean() < 1  # A grey level.
    summary = json.loads((tmp_path / "out" / "summary.json").read_text())
    assert summary["resumed_at_frame"] == 28


KILLED = """
import sys, time
sys.path.insert(0, sys.argv[1])
from vda_reference import TINY
from kinedepth import depth_run
from kinedepth._depth_run_folder import UNFINISHED
from kinedepth.cli import main
from kinedepth.dense.store import DepthStore
from kinedepth.dense.video_depth_anything import loading
loading.CONFIGS["vda-small"] = TINY
depth_run._CHUNK_BYTES = 7 * 4 * 42 * 56
append = DepthStore.append
DepthStore.append = lambda *arguments: (append(*arguments), time.sleep(0.3))
main(sys.argv[2:])
"""


def test_a_run_that_was_killed_goes_on_and_gives_the_same_bytes(depth, whole, things, tmp_path):
    arguments = ["depth", things / "clip.mp4", "-o", tmp_path / "out", "--format", "npz"]
    arguments += ["--weights", things / "tiny.pth", "--input-size", "28"]
    tests = str(Path(__file__).parents[1])  # Where vda_reference.py lies.
    process = subprocess.Popen(
        [sys.executable, "-c", KILLED, tests, *map(str, arguments)],
        # Sums depend on how many threads share them.
        env={**os.environ, "OMP_NUM_THREADS": str(torch.get_num_threads())},
        stderr=subprocess.PIPE,
    )
    work = tmp_path / "out" / UNFINISHED
    deadline = time.monotonic() + 60
    while len(list(work.glob("depth-*.npy"))) < 3 and process.poll() is None:
        assert time.monotonic() < deadline
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    _, said = process.communicate()
    assert process.returncode == -signal.SIGKILL, said.decode()
    assert 14 <= DepthStore.open(work).frames_done < FRAMES
    assert depth("--resume").code == 0
    assert files_of(tmp_path / "out") == files_of(whole)


def test_a_full_disk_keeps_what_was_written_and_the_run_goes_on(
    depth, whole, tmp_path, monkeypatch
):
    save, saved = np.save, []

    def limited(path, array):
        if len(saved) == 3:
            path.write_bytes(b"half a chunk")
            raise OSError(errno.ENOSPC, "No space left on device", str(path))
        save(path, array)
        saved.append(path)

    monkeypatch.setattr(np, "save", limited)
    outcome = depth()
    monkeypatch.setattr(np, "save", save)
    assert_told_in_one_line(outcome, "No space is left on the disk; 21 of 40 frames .*--resume")
    names = sorted(path.name for path in (tmp_path / "out" / UNFINISHED).iterdir())
    chunks = [f"depth-{first:06d}.npy" for first in (0, 7, 14)]
    assert names == [*chunks, "manifest.json", "state-000021.npz"]
    assert depth("--resume").code == 0
    assert files_of(tmp_path / "out") == files_of(whole)


def test_a_disk_that_fills_while_the_results_are_written_costs_no_frame(
    depth, tmp_path, monkeypatch
):
    write = depth_outputs.DepthOutputs.write

    def limited(self, index, image, values):
        if index == 30:
            raise OSError(errno.ENOSPC, "No space left on device")
        write(self, index, image, values)

    monkeypatch.setattr(depth_outputs.DepthOutputs, "write", limited)
    outcome = depth()
    monkeypatch.setattr(depth_outputs.DepthOutputs, "write", write)
    assert outcome.code == 2
    assert "40 of 40 frames are kept" in outcome.err
    assert [path.name for path in (tmp_path / "out").iterdir()] == [UNFINISHED]

    def not_again(*_):
        raise AssertionError("all frames are done; no model is needed")

    monkeypatch.setattr(depth_run, "load_depth_model", not_again)
    assert depth("--resume").code == 0
    assert len(load_depth_video(tmp_path / "out")) == FRAMES


def test_too_little_space_is_told_before_the_work(depth, monkeypatch):
    usage = shutil.disk_usage("/")
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage._replace(free=1000))
    outcome = depth("--frames", ":4")
    assert outcome.code == 0
    assert "needs about 0.0 GB" in outcome.err.splitlines()[0]


@pytest.fixture
def unfinished(depth, tmp_path, monkeypatch):
    """The folder of a run that was stopped after 14 frames."""
    undo = stop_after(monkeypatch, 2, KeyboardInterrupt())
    assert depth().code == 130
    undo()
    return tmp_path / "out"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("--input-size", 56), "made with input_size 28, not 56"),
        (("--strategy", "none"), "made with strategy its default, not none"),
        (("--model", "vda-metric-small"), "made with model vda-small, not vda-metric-small"),
        (("--frames", "::2"), "made of another video"),
        (("--weights", "others.pth"), "made with other weights"),
    ],
)
def test_a_run_does_not_go_on_with_other_settings(
    depth, unfinished, things, change, message, monkeypatch
):
    monkeypatch.chdir(things)
    shapes = published_shapes(TINY)
    torch.save(deterministic_weights(shapes, last_bias=0.4), things / "others.pth")
    before = files_of(unfinished / UNFINISHED)
    assert_told_in_one_line(depth("--resume", *change), message)
    assert files_of(unfinished / UNFINISHED) == before


def test_an_unfinished_run_is_neither_lost_nor_gone_on_with_unasked(depth, unfinished):
    assert_told_in_one_line(depth(), "unfinished run; add --resume .*or --overwrite")
    assert_told_in_one_line(depth("--resume", "--overwrite"), "not both")
    assert DepthStore.open(unfinished / UNFINISHED).frames_done == 14
    assert depth("--overwrite").code == 0
    assert not (unfinished / UNFINISHED).exists()


def test_other_formats_may_be_asked_for_when_a_run_goes_on(depth, unfinished):
    assert depth("--resume", "--format", "npz,mp4").code == 0
    assert (unfinished / "depth.mp4").is_file()


@pytest.mark.parametrize("damage", ["missing", "cut off", "manifest"])
def test_an_unfinished_run_that_was_damaged_is_told(depth, unfinished, damage):
    chunk = unfinished / UNFINISHED / "depth-000007.npy"
    if damage == "missing":
        chunk.unlink()
    elif damage == "cut off":
        chunk.write_bytes(chunk.read_bytes()[:-40])
    else:
        (unfinished / UNFINISHED / "manifest.json").write_text("{")
    assert_told_in_one_line(depth("--resume"), "cannot be read .*begin anew")


def test_resume_with_nothing_to_go_on_with_starts_and_says_so(depth):
    outcome = depth("--resume")
    assert outcome.code == 0
    assert "holds nothing to go on with; starting at frame 0" in outcome.err


def test_a_finished_run_is_replaced_only_when_asked_and_then_entirely(depth, tmp_path):
    assert depth("--format", "npz,mp4").code == 0
    (tmp_path / "out" / "notes.txt").write_text("mine")
    assert_told_in_one_line(depth(), "already holds .* of an earlier run")
    assert depth("--overwrite", "--frames", ":4").code == 0
    names = {path.name for path in (tmp_path / "out").iterdir()}
    assert names == {"depth.npz", "summary.json", "notes.txt"}
    assert len(load_depth_video(tmp_path / "out")) == 4
