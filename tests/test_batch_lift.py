"""``kinedepth batch`` on real, tiny clips: stopped, gone on with, and placed by Ray."""

import os
import shutil
import signal
import subprocess
import sys
import time
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
from batch_jobs import LiftKilledOnce

from kinedepth.batch.attempt import attempt
from kinedepth.batch.run import run_batch
from kinedepth.cli import main

FRAMES = 10


@pytest.fixture(scope="module")
def clips(tmp_path_factory):
    """A folder with three clips and a file that is none, and the options for a tiny network."""
    import torch

    from kinedepth.exporting.video_writer import VideoWriter
    from kinedepth.seurat.checkpoint import save_checkpoint
    from kinedepth.seurat.config import SeuratConfig
    from kinedepth.seurat.model import Seurat

    folder = tmp_path_factory.mktemp("clips")
    rng = np.random.default_rng(0)
    texture = rng.integers(0, 255, (18, 48, 3), np.uint8).repeat(4, axis=0).repeat(4, axis=1)
    with VideoWriter(folder / "a.mp4", 96, 72, 25) as writer:
        for index in range(FRAMES):
            writer.write(texture[:, 2 * index : 2 * index + 96])
    for name in "bc":  # Copied: the encoder does not always write the same bytes.
        shutil.copy(folder / "a.mp4", folder / f"{name}.mp4")
    (folder / "b2.mp4").write_bytes(b"not a video")
    tiny = SeuratConfig(name="tiny", width=24, heads=2, layers=1, iterations=1, support_grid=4)
    model = folder / "tiny.safetensors"
    save_checkpoint(model, Seurat(tiny), {"steps": 0})
    torch.manual_seed(0)
    return folder, ("--model", str(model), "--queries", "grid:3")


def ask_for_ctrl_c():
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.mark.skipif(sys.platform == "win32", reason="Windows sends Ctrl-C in another way")
def test_a_batch_that_was_stopped_goes_on_and_names_what_failed(clips, tmp_path, capsys):
    folder, options = clips
    words = ["batch", str(folder), "-o", str(tmp_path), "--", *options]
    program = subprocess.Popen(
        [sys.executable, "-m", "kinedepth", *words],
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=ask_for_ctrl_c,
    )
    deadline = time.monotonic() + 240
    while not (tmp_path / "a/summary.json").exists() and time.monotonic() < deadline:
        time.sleep(0.01)
    program.send_signal(signal.SIGINT)
    err = program.communicate(timeout=120)[1].splitlines()
    assert program.returncode == 130
    assert "of 4 videos are done: run the same command to go on" in err[-1]
    assert not any("Traceback" in line for line in err)
    assert not list(tmp_path.rglob(".tmp-*"))
    assert "open" in (tmp_path / "summary.csv").read_text()
    before = (tmp_path / "a/tracks.npz").stat().st_mtime_ns

    with pytest.raises(SystemExit) as ending:
        main(words)
    told = capsys.readouterr()
    assert ending.value.code == 1
    rows = {line.split()[0]: line for line in told.out.splitlines()}
    assert rows["a"].split()[1:5:3] == [str(FRAMES), "earlier"]
    assert rows["c"].split()[1:3] == [str(FRAMES), "9"]
    assert "not a video that can be decoded" in rows["b2"]
    assert "3 of 4 videos are done" in told.out
    assert "1 of 4 videos failed: b2" in told.err.splitlines()[-1]
    assert (tmp_path / "a/tracks.npz").stat().st_mtime_ns == before
    same = [(tmp_path / name / "tracks.npz").read_bytes() for name in "abc"]
    assert same[0] == same[1] == same[2]


def test_the_job_may_be_depth(clips, tmp_path):
    from kinedepth.commands._batch_job import CommandJob
    from kinedepth.dense.video_depth_anything.config import VideoDepthConfig
    from kinedepth.dense.video_depth_anything.model import VideoDepth
    from kinedepth.dense.video_depth_anything.trained import save_trained

    size = {"width": 16, "depth": 4, "heads": 2, "taps": (0, 1, 2, 3), "position_grid": 3}
    head = {"head_features": 32, "head_channels": (8, 8, 32, 32), "temporal_heads": 2}
    weights = tmp_path / "smallest.safetensors"
    save_trained(weights, VideoDepth(VideoDepthConfig("smallest", **size, **head)), {})
    options = ("--model", "vda", "--weights", str(weights), "--input-size", "14")
    work = CommandJob("depth", (*options, "--format", "npz", "--device", "cpu"))
    work.check()
    ended = attempt(work, str(clips[0] / "a.mp4"), tmp_path / "a")
    assert ended.reason == ""
    assert {path.name for path in (tmp_path / "a").iterdir()} == {
        *("depth.npz", "log.txt", "summary.json")
    }
    (tmp_path / "a/summary.json").unlink()  # As after a stop at the very end.
    assert attempt(work, str(clips[0] / "a.mp4"), tmp_path / "a").reason == ""


# Ray


def children(process):
    """This process and all below it."""
    found = [process]
    for task in Path(f"/proc/{process}/task").glob("*"):
        for child in (task / "children").read_text().split():
            found += children(int(child))
    return found


def listening_addresses(processes):
    """Local addresses, as the kernel writes them, at which any of the processes listens."""
    sockets = set()
    for process in processes:
        for handle in Path(f"/proc/{process}/fd").glob("*"):
            try:
                sockets.add(os.readlink(handle))
            except OSError:  # Closed meanwhile.
                continue
    found = set()
    for table in ("tcp", "tcp6"):
        for line in Path(f"/proc/net/{table}").read_text().splitlines()[1:]:
            _, local, _, state, *_, inode = line.split()[:10]
            if state == "0A" and f"socket:[{inode}]" in sockets:
                found.add(local.split(":")[0])
    return found


# Not imported here: Ray settles at its import whom it listens to.
ray = pytest.mark.skipif(find_spec("ray") is None, reason="Ray is an extra")
LOOPBACK = {"0100007F", "0000000000000000FFFF00000100007F", "00000000000000000000000001000000"}


@ray
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
def test_ray_goes_on_when_one_of_two_workers_is_killed_and_listens_to_nobody_else(
    clips, tmp_path, monkeypatch
):
    from kinedepth.batch.ray_workers import RayWorkers

    # Ray's processes have to find the module with the work.
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parent), prepend=os.pathsep)
    folder, options = clips
    folders = {str(folder / f"{name}.mp4"): tmp_path / name for name in "abcdef"}
    before, started, addresses = set(children(os.getpid())), set(), set()

    def look(outcome):
        processes = children(os.getpid())
        started.update(processes)
        addresses.update(listening_addresses(processes))

    outcomes = run_batch(folders, lambda: RayWorkers(LiftKilledOnce("b", options), 2), look)
    assert [outcome.state for outcome in outcomes.values()] == ["done"] * 6
    assert (tmp_path / "b/killed").exists()
    assert outcomes[str(folder / "b.mp4")].points == 9
    assert addresses
    assert addresses <= LOOPBACK
    deadline = time.monotonic() + 10
    while (left := (started - before) & set(children(os.getpid()))) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not left


@ray
def test_a_cluster_that_is_not_there_is_told(clips, tmp_path, capsys):
    words = ["batch", str(clips[0]), "-o", str(tmp_path), "--ray", "nobody here"]
    with pytest.raises(SystemExit) as ending:
        main(words)
    assert ending.value.code == 2
    assert "There is no Ray cluster at nobody here" in capsys.readouterr().err
