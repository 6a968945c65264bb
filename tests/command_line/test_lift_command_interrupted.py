"""``kinedepth lift`` when things go wrong on the way."""

import contextlib
import errno
import os
import re
import signal
import subprocess
import sys
import time
import warnings

import pytest

from kinedepth import run_outputs
from kinedepth.cli import main
from kinedepth.exporting.atomic import RUN_FILES
from kinedepth.exporting.tracks_file import load_tracks3d
from kinedepth.lifting.run import UNFINISHED


def names_in(folder):
    return sorted(path.name for path in folder.iterdir())


def test_a_full_disk_is_told_and_keeps_the_tracks(lift, tmp_path, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(run_outputs, "write_overlay", full)
    outcome = lift("--frames", "0:4")
    assert outcome.code == 2
    assert re.match("kinedepth: no space is left on the disk", outcome.err_lines[-1])
    assert names_in(tmp_path / "out") == [UNFINISHED, "tracks.npz"]
    assert load_tracks3d(tmp_path / "out" / "tracks.npz").tracks.frames == 4


@contextlib.contextmanager
def small_disk(folder):
    """A file system of 16 KiB, where the machine lets us have one."""
    folder.mkdir()
    options = ["-t", "tmpfs", "-o", "size=16k", "kinedepth-test", str(folder)]
    try:
        mounted = subprocess.run(["mount", *options], capture_output=True).returncode == 0
    except OSError:
        mounted = False
    if not mounted:
        pytest.skip("Only an administrator of a Linux machine can make a small disk.")
    try:
        yield
    finally:
        subprocess.run(["umount", str(folder)], check=True)


@pytest.mark.skipif(sys.platform != "linux" or os.geteuid() != 0, reason="needs mount")
def test_a_disk_that_is_really_full_is_told_in_one_line(lift, tmp_path):
    with small_disk(tmp_path / "disk"):
        out = tmp_path / "disk" / "out"
        outcome = lift("--queries", "grid:30", "--frames", "0:4", output=out)
        left = {path.name for path in out.iterdir()}
    assert outcome.code == 2
    assert re.match("kinedepth: No space left on the disk", outcome.err_lines[-1])
    assert "summary.json" not in left
    assert left <= set(RUN_FILES)


def test_ctrl_c_while_writing_leaves_no_half_file(lift, tmp_path, monkeypatch):
    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(run_outputs, "write_overlay", interrupted)
    outcome = lift("--frames", "0:4")
    assert outcome.code == 130
    assert re.match("kinedepth: stopped by Ctrl-C", outcome.err_lines[-1])
    assert "--resume" in outcome.err_lines[-2]
    assert names_in(tmp_path / "out") == [UNFINISHED, "tracks.npz"]


@pytest.mark.skipif(sys.platform == "win32", reason="Windows sends Ctrl-C in another way")
def test_ctrl_c_ends_the_program_with_130_and_one_line(tmp_path):
    command = ["synth", str(tmp_path), "--clips", "500", "--size", "64x48", "--frames", "12"]
    program = subprocess.Popen(
        [sys.executable, "-m", "kinedepth", *command], stderr=subprocess.PIPE, text=True
    )
    deadline = time.monotonic() + 60
    while not list(tmp_path.glob("*.json")) and time.monotonic() < deadline:
        time.sleep(0.05)
    program.send_signal(signal.SIGINT)
    err = program.communicate(timeout=60)[1]
    assert program.returncode == 130
    assert err.splitlines()[-1].startswith("kinedepth: stopped by Ctrl-C")
    assert "Traceback" not in err
    assert not list(tmp_path.glob(".tmp-*"))


def test_a_warning_is_one_line(lift, monkeypatch):
    from kinedepth import video

    opened = video.load_video

    def damaged(*arguments):
        warnings.warn("clip.mp4: only 9 of 10 frames\ndecode.", stacklevel=2)
        return opened(*arguments)

    monkeypatch.setattr(video, "load_video", damaged)
    outcome = lift("--frames", "0:4")
    assert outcome.code == 0
    assert outcome.err_lines[0] == "kinedepth: warning: clip.mp4: only 9 of 10 frames decode."


def test_a_bug_keeps_its_traceback(things, tmp_path, monkeypatch):
    def bug(*_, **__):
        raise RuntimeError("a bug")

    monkeypatch.setattr("kinedepth.lifting.run.LiftRun.run", bug)
    with pytest.raises(RuntimeError, match="a bug"):
        main(["lift", str(things / "clip.mp4"), "-o", str(tmp_path / "out")])
