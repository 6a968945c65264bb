"""``kinedepth lift --resume``: a run that was stopped ends like one that never was."""

import json
import subprocess
import sys
import time

import numpy as np
import pytest
from small_lift_runs import HEIGHT, WIDTH

from kinedepth import run_outputs
from kinedepth.cli import main
from kinedepth.exporting.video_writer import VideoWriter
from kinedepth.lifting import ratios, tracks2d
from kinedepth.lifting.run import UNFINISHED
from kinedepth.lifting.work import WorkOnDisk

FRAMES = 44
FILES = ("tracks.npz", "scene.html")
"""What is the same to the last byte. The summary and Rerun's recording tell times, and the film's
encoder does not always write the same bytes for the same pictures."""


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    path = tmp_path_factory.mktemp("long") / "long.mp4"
    rng = np.random.default_rng(0)
    texture = rng.integers(0, 255, (HEIGHT // 4, (WIDTH + FRAMES) // 4 + 1, 3), dtype=np.uint8)
    texture = texture.repeat(4, axis=0).repeat(4, axis=1)
    with VideoWriter(path, WIDTH, HEIGHT, 25) as writer:
        for index in range(FRAMES):
            writer.write(texture[:, index : index + WIDTH])
    return path


@pytest.fixture(scope="module")
def points(tmp_path_factory):
    """Points of the first frame, and of one in the middle that needs the way back in time."""
    path = tmp_path_factory.mktemp("points") / "points.csv"
    path.write_text("x,y,frame\n20,20,0\n10,30,0\n48,36,30\n80,60,30\n")
    return path


@pytest.fixture(scope="module")
def whole(clip, points, things, tmp_path_factory):
    """The folder of a run that nobody stopped."""
    folder = tmp_path_factory.mktemp("whole") / "out"
    with pytest.raises(SystemExit) as ending:
        main(command(clip, points, things, folder))
    assert not ending.value.code
    return folder


@pytest.fixture(autouse=True)
def short_steps(monkeypatch):
    monkeypatch.setattr(tracks2d, "CHECKPOINT_FRAMES", 16)
    monkeypatch.setattr(ratios, "CHECKPOINT_BATCHES", 1)


def command(clip, points, things, folder):
    model = things / "tiny.safetensors"
    words = ["lift", clip, "-o", folder, "--model", model, "--queries", points]
    return [str(word) for word in words]


@pytest.fixture
def lift(kine, clip, points, things, tmp_path):
    def run(*options):
        return kine(*command(clip, points, things, tmp_path / "out"), *options)

    return run


def assert_same(folder, whole):
    for name in FILES:
        assert (folder / name).read_bytes() == (whole / name).read_bytes(), name
    assert sorted(path.name for path in folder.iterdir()) == sorted(p.name for p in whole.iterdir())


@pytest.mark.parametrize("after", [1, 4, 5, 6, 8])
def test_a_run_stopped_after_any_checkpoint_ends_the_same(
    after, lift, whole, tmp_path, monkeypatch
):
    checkpoint, calls = WorkOnDisk.checkpoint, []

    def stopped(self, *arguments):
        checkpoint(self, *arguments)
        calls.append(arguments[0])
        if len(calls) == after:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(WorkOnDisk, "checkpoint", stopped)
        outcome = lift()
    assert outcome.code == 130, calls
    assert "--resume" in outcome.err_lines[-2]
    assert lift("--resume").code == 0
    assert_same(tmp_path / "out", whole)


@pytest.mark.parametrize("frames", [30, 60])
def test_what_was_written_after_a_checkpoint_is_written_again(
    frames, lift, whole, tmp_path, monkeypatch
):
    from kinedepth.tracking.flow import FlowFollower

    advance, seen = FlowFollower.advance, []

    def stopped(self, image):
        seen.append(0)
        if len(seen) == frames:
            raise MemoryError  # As good as a kill: nothing more is made safe.
        advance(self, image)

    with monkeypatch.context() as patch:
        patch.setattr(FlowFollower, "advance", stopped)
        with pytest.raises(MemoryError):
            lift()
    manifest = json.loads((tmp_path / "out" / UNFINISHED / "manifest.json").read_text())
    assert manifest["stages"]["tracking"]["done"] == (frames - 1) // 16 * 16
    assert lift("--resume").code == 0
    assert json.loads((tmp_path / "out" / "summary.json").read_text())["resumed_at_frame"]
    assert_same(tmp_path / "out", whole)


@pytest.mark.skipif(sys.platform == "win32", reason="Windows knows other signals")
def test_a_killed_process_leaves_what_resume_needs(lift, clip, points, things, whole, tmp_path):
    manifest = tmp_path / "out" / UNFINISHED / "manifest.json"
    words = [sys.executable, "-m", "kinedepth", *command(clip, points, things, tmp_path / "out")]
    program = subprocess.Popen(words, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline and program.poll() is None:
        if manifest.exists() and '"tracking"' in manifest.read_text():
            break
        time.sleep(0.02)
    program.kill()
    program.wait(60)
    assert manifest.exists()
    assert lift("--resume").code == 0
    assert_same(tmp_path / "out", whole)


def test_a_film_that_was_cut_short_is_made_again_and_the_tracks_are_kept(
    lift, whole, tmp_path, monkeypatch
):
    def stopped(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(run_outputs, "write_overlay", stopped)
        assert lift().code == 130
    written = (tmp_path / "out" / "tracks.npz").stat().st_mtime_ns
    assert lift("--resume").code == 0
    assert (tmp_path / "out" / "tracks.npz").stat().st_mtime_ns == written
    assert_same(tmp_path / "out", whole)


class TestRefusals:
    @pytest.fixture(autouse=True)
    def unfinished(self, lift, monkeypatch):
        def stopped(*_):
            raise KeyboardInterrupt

        with monkeypatch.context() as patch:
            patch.setattr("kinedepth.lifting.run.write_outputs", stopped)
            assert lift("--frames", "0:34").code == 130

    def test_leftovers_without_resume_are_told(self, lift):
        outcome = lift("--frames", "0:34")
        assert outcome.code == 2
        assert len(outcome.err_lines) == 1
        assert "unfinished run; add --resume" in outcome.err

    @pytest.mark.parametrize(
        ("options", "what"),
        [
            (["--frames", "0:35"], "of another video"),
            (["--frames", "0:34", "--model", "small"], "with other weights"),
            (["--frames", "0:34", "--method", "chained"], "with method fused, not chained"),
            (["--frames", "0:34", "--queries", "grid:3"], "with queries"),
            (["--frames", "0:34", "--fov", "80"], "with intrinsics"),
            (["--frames", "0:34", "--anchor", "rigid"], "with anchor its default, not rigid"),
        ],
    )
    def test_a_run_of_other_settings_is_not_mixed_in(self, lift, options, what):
        outcome = lift("--resume", *options)
        assert outcome.code == 2
        assert what in outcome.err_lines[-1]

    def test_a_damaged_leftover_is_told(self, lift, tmp_path):
        (tmp_path / "out" / UNFINISHED / "log_ratio.npy").write_bytes(b"")
        outcome = lift("--resume", "--frames", "0:34")
        assert outcome.code == 2
        assert "begin anew" in outcome.err_lines[-1]

    def test_overwrite_begins_anew(self, lift, tmp_path):
        assert lift("--overwrite", "--frames", "0:34").code == 0
        assert not (tmp_path / "out" / UNFINISHED).exists()


def test_resume_with_nothing_there_begins_at_the_first_frame(lift, tmp_path):
    outcome = lift("--resume", "--frames", "0:34")
    assert outcome.code == 0
    assert "nothing to go on with" in outcome.err
    assert (tmp_path / "out" / "summary.json").exists()
