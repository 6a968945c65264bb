import contextlib
import dataclasses
import errno
import json
import os
import re
import signal
import subprocess
import sys
import time
import warnings

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

import kinedepth
from kinedepth import run_outputs
from kinedepth._terminal import StageProgress
from kinedepth.cli import main
from kinedepth.exporting.atomic import RUN_FILES
from kinedepth.exporting.tracks_file import load_tracks3d
from kinedepth.exporting.video_writer import VideoWriter
from kinedepth.seurat.checkpoint import read_record, save_checkpoint
from kinedepth.seurat.config import SeuratConfig
from kinedepth.seurat.model import Seurat

WIDTH, HEIGHT, FRAMES = 96, 72, 10
TINY = SeuratConfig(name="tiny", width=24, heads=2, layers=1, iterations=1, support_grid=4)


@dataclasses.dataclass
class Outcome:
    code: int
    out: str
    err: str

    @property
    def err_lines(self):
        return self.err.splitlines()


@pytest.fixture
def kine(capsys):
    """Runs the command line in this process."""

    def run(*arguments):
        capsys.readouterr()
        with pytest.raises(SystemExit) as ending:
            main([str(argument) for argument in arguments])
        captured = capsys.readouterr()
        return Outcome(ending.value.code or 0, captured.out, captured.err)

    return run


@pytest.fixture(scope="module")
def things(tmp_path_factory):
    """A folder with a clip and a network, both tiny."""
    folder = tmp_path_factory.mktemp("things")
    rng = np.random.default_rng(0)
    texture = rng.integers(0, 255, (HEIGHT // 4, 2 * WIDTH // 4, 3), dtype=np.uint8)
    texture = texture.repeat(4, axis=0).repeat(4, axis=1)
    with VideoWriter(folder / "clip.mp4", WIDTH, HEIGHT, 25) as writer:
        for index in range(FRAMES):
            writer.write(texture[:, 2 * index : 2 * index + WIDTH])
    with VideoWriter(folder / "one_frame.mp4", WIDTH, HEIGHT, 25) as writer:
        writer.write(texture[:, :WIDTH])
    torch.manual_seed(0)
    save_checkpoint(folder / "tiny.safetensors", Seurat(TINY), {"steps": 0})
    return folder


@pytest.fixture
def lift(kine, things, tmp_path):
    """Runs ``kinedepth lift`` on the tiny clip; later options win over the usual ones."""

    def run(*options, video=things / "clip.mp4", output=tmp_path / "out"):
        usual = ("--model", things / "tiny.safetensors", "--queries", "grid:3", "-o", output)
        return kine("lift", video, *usual, *options)

    return run


def assert_told_in_one_line(outcome, message):
    assert outcome.code == 2
    assert len(outcome.err_lines) == 1
    assert outcome.err.startswith("kinedepth: ")
    assert re.search(message, outcome.err), outcome.err


def assert_nothing_whole(folder):
    """No file of a run, and no half-written one either."""
    assert not folder.exists() or list(folder.iterdir()) == []


# What works


@pytest.fixture(scope="module")
def finished_run(things, tmp_path_factory):
    """The folder of a run made by the program itself, and what it said."""
    folder = tmp_path_factory.mktemp("runs") / "deep" / "run"
    model = things / "tiny.safetensors"
    command = ["lift", things / "clip.mp4", "-o", folder, "--model", model, "--queries", "grid:3"]
    done = subprocess.run(
        [sys.executable, "-m", "kinedepth", *map(str, command)], capture_output=True, text=True
    )
    return folder, Outcome(done.returncode, done.stdout, done.stderr)


def test_a_run_leaves_all_its_files(finished_run):
    folder, outcome = finished_run
    assert outcome.code == 0
    written = {path.name for path in folder.iterdir()}
    assert {"tracks.npz", "summary.json", "overlay.mp4", "scene.html"} <= written <= set(RUN_FILES)
    tracks = load_tracks3d(folder / "tracks.npz")
    assert tracks.xyz.shape == (FRAMES, 9, 3)
    np.testing.assert_allclose(tracks.depth[0], 1, rtol=1e-5)


def test_the_summary_tells_what_was_run_and_how_long_each_stage_took(finished_run):
    summary = json.loads((finished_run[0] / "summary.json").read_text())
    assert summary["model"] == "tiny"
    assert summary["frames"] == FRAMES
    assert summary["version"] == kinedepth.__version__
    assert summary["peak_memory_mib"] > 0
    assert {"tracking", "seurat", "joining", "overlay.mp4"} <= set(summary["seconds"])


def test_a_run_says_what_was_assumed(finished_run):
    out = finished_run[1].out
    assert "field of view of 60 degrees across the longer side is assumed" in out
    assert "depth 1 at its query frame" in out


def test_a_log_file_gets_one_line_for_each_stage(finished_run):
    stages = [line.partition(":")[0] for line in finished_run[1].err_lines]
    assert stages[:3] == ["tracking", "seurat", "tracks.npz"]
    assert len(stages) == len(set(stages))


def test_a_known_camera_is_not_said_to_be_assumed(lift, tmp_path):
    outcome = lift("--fov", 70, "--frames", "0:4")
    assert outcome.code == 0
    assert "assumed" not in outcome.out
    half_width = WIDTH / 2
    expected = half_width / np.tan(np.radians(35))
    assert load_tracks3d(tmp_path / "out" / "tracks.npz").intrinsics.fx == pytest.approx(expected)


def test_given_intrinsics_and_queries_from_a_table_are_used(lift, tmp_path):
    points = tmp_path / "points.csv"
    points.write_text("x,y\n20,30\n40,50\n")
    outcome = lift(
        *("--queries", points, "--query-frame", 2, "--frames", "0:6"),
        *("--intrinsics", "80,81,47,35", "--method", "chained"),
    )
    assert outcome.code == 0
    tracks = load_tracks3d(tmp_path / "out" / "tracks.npz")
    np.testing.assert_array_equal(tracks.intrinsics.as_vector(), [80, 81, 47, 35])
    np.testing.assert_allclose(tracks.queries_xyt, [[20, 30, 2], [40, 50, 2]], atol=1e-4)


def test_a_run_can_be_overwritten_when_asked(lift, tmp_path):
    out = tmp_path / "out"
    out.mkdir()
    (out / "tracks.npz").write_text("old")
    (out / "notes.txt").write_text("mine")
    outcome = lift("--overwrite", "--frames", "0:4")
    assert outcome.code == 0
    assert load_tracks3d(out / "tracks.npz").tracks.frames == 4
    assert (out / "notes.txt").read_text() == "mine"


def test_help_names_every_command(kine):
    outcome = kine("--help")
    assert outcome.code == 0
    for command in ("lift", "synth", "view", "train", "doctor"):
        assert command in outcome.out


def test_help_comes_at_once():
    began = time.perf_counter()
    subprocess.run([sys.executable, "-m", "kinedepth", "--help"], capture_output=True, check=True)
    # A second is the aim; the margin is for machines that are busy with something else.
    assert time.perf_counter() - began < 5


# Bad input: exit code 2, one line, nothing that looks like a run


def test_a_missing_video_is_told(lift, tmp_path):
    outcome = lift(video=tmp_path / "missing.mp4")
    assert_told_in_one_line(outcome, "no file or folder .*missing.mp4")
    assert_nothing_whole(tmp_path / "out")


def test_a_text_file_named_mp4_is_told(lift, tmp_path):
    video = tmp_path / "notes.mp4"
    video.write_text("This is no video.\n" * 50)
    assert_told_in_one_line(lift(video=video), "notes.mp4")
    assert_nothing_whole(tmp_path / "out")


def test_a_video_cut_before_its_first_picture_is_told(lift, things, tmp_path):
    video = tmp_path / "cut.mp4"
    video.write_bytes((things / "clip.mp4").read_bytes()[:300])
    assert_told_in_one_line(lift(video=video), "cut.mp4")
    assert_nothing_whole(tmp_path / "out")


def test_a_video_with_one_frame_is_told(lift, things, tmp_path):
    outcome = lift(video=things / "one_frame.mp4")
    assert_told_in_one_line(outcome, "one frame.*at least two")
    assert_nothing_whole(tmp_path / "out")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--queries", "grid:0"), "at least one point"),
        (("--queries", "everything"), "grid:20"),
        (("--queries", "missing.csv"), "no file missing.csv"),
        (("--query-frame", FRAMES), "frame 10, but the clip has frames 0 to 9"),
        (("--frames", "8"), "does not select frames"),
        (("--frames", "8:9"), "at least two"),
        (("--frames", "50:60"), "no frame left"),
        (("--tracker", "telepathy"), "no tracker called 'telepathy'"),
        (("--tracker", "file:tracks.npz"), "brings its own points; leave out --queries"),
        (("--model", "enormous"), "Unknown model 'enormous'"),
        (("--method", "guessed"), "choose 'fused' or 'chained'"),
        (("--device", "abacus"), "auto, cpu, cuda or mps"),
        (("--intrinsics", "100,100,48"), "four numbers"),
        (("--intrinsics", "100,100,a,b"), "four numbers"),
        (("--intrinsics", "500,500,320,180"), "another size"),
        (("--intrinsics", "nan,100,48,36"), "finite focal lengths"),
        (("--intrinsics", "100,100,48,36", "--fov", 60), "not both"),
        (("--fov", 200), "between 0 and 180"),
    ],
    ids=lambda value: "-".join(map(str, value)) if isinstance(value, tuple) else "",
)
def test_an_option_that_makes_no_sense_is_told(lift, tmp_path, options, message):
    assert_told_in_one_line(lift(*options), message)
    assert_nothing_whole(tmp_path / "out")


@pytest.mark.parametrize(
    ("row", "message"),
    [("200,10,0", r"\(200, 10\) lies outside the 96x72 frame"), ("5,5,10", "frames 0 to 9")],
)
def test_queries_outside_the_frame_or_the_clip_are_told(lift, tmp_path, row, message):
    points = tmp_path / "points.csv"
    points.write_text(f"x,y,frame\n5,5,0\n{row}\n")
    assert_told_in_one_line(lift("--queries", points), f"Query 1 .*{message}")
    assert_nothing_whole(tmp_path / "out")


@pytest.fixture
def lift_tracks_of(kine, things, tmp_path):
    """Runs ``kinedepth lift`` on tracks from a file."""

    def run(path):
        model = things / "tiny.safetensors"
        usual = ("--model", model, "-o", tmp_path / "out", "--tracker", f"file:{path}")
        return kine("lift", things / "clip.mp4", *usual)

    return run


def some_tracks(frames=FRAMES, points=5):
    place = np.random.default_rng(0).uniform(10, 60, (1, points, 2))
    return place + np.arange(frames)[:, None, None], np.ones((frames, points), bool)


def test_tracks_from_a_file_are_lifted_as_they_are(lift_tracks_of, tmp_path):
    xy, visible = some_tracks()
    np.savez(tmp_path / "mine.npz", tracks_xy=xy, visibility=visible)
    outcome = lift_tracks_of(tmp_path / "mine.npz")
    assert outcome.code == 0
    lifted = load_tracks3d(tmp_path / "out" / "tracks.npz")
    np.testing.assert_allclose(lifted.tracks.xy, xy, atol=1e-4)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda xy, visible: (np.where(xy > 40, np.nan, xy), visible), "not finite"),
        (lambda xy, visible: (xy[..., :1], visible), r"shape \(T, N, 2\)"),
        (lambda xy, visible: (xy, visible[:, :3]), "visibility has shape"),
        (lambda xy, visible: (xy[:4], visible[:4]), "4 frames, but the clip has 10"),
        (lambda xy, visible: (xy + 500, visible), "outside the 96x72 frame"),
    ],
    ids=["NaN", "one coordinate", "fewer points", "fewer frames", "outside"],
)
def test_tracks_that_do_not_fit_are_told(lift_tracks_of, tmp_path, change, message):
    xy, visible = change(*some_tracks())
    np.savez(tmp_path / "mine.npz", tracks_xy=xy, visibility=visible)
    assert_told_in_one_line(lift_tracks_of(tmp_path / "mine.npz"), message)
    assert_nothing_whole(tmp_path / "out")


def test_a_missing_file_of_tracks_is_told(lift_tracks_of, tmp_path):
    assert_told_in_one_line(lift_tracks_of(tmp_path / "missing.npz"), "missing.npz")


def test_a_file_that_is_no_checkpoint_is_told(lift, things, tmp_path):
    assert_told_in_one_line(lift("--model", things / "clip.mp4"), "not a readable safetensors")
    save_file({"weight": torch.zeros(3)}, tmp_path / "other.safetensors")
    outcome = lift("--model", tmp_path / "other.safetensors")
    assert_told_in_one_line(outcome, "not a Seurat checkpoint")
    assert_nothing_whole(tmp_path / "out")


def test_weights_of_another_configuration_are_told(lift, things, tmp_path):
    wider = dataclasses.asdict(dataclasses.replace(TINY, width=48))
    metadata = {"format": "kinedepth seurat 1", "config": json.dumps(wider), "training": "{}"}
    path = tmp_path / "mixed_up.safetensors"
    save_file(load_file(things / "tiny.safetensors"), path, metadata)
    assert_told_in_one_line(lift("--model", path), "do not fit the configuration")
    assert_nothing_whole(tmp_path / "out")


def test_an_earlier_run_is_not_overwritten_unasked(lift, tmp_path):
    out = tmp_path / "out"
    out.mkdir()
    (out / "scene.html").write_text("valuable")
    assert_told_in_one_line(lift(), "already holds scene.html of an earlier run.*--overwrite")
    assert [path.name for path in out.iterdir()] == ["scene.html"]
    assert (out / "scene.html").read_text() == "valuable"


def test_an_earlier_run_outlives_bad_input_even_when_it_may_be_overwritten(lift, tmp_path):
    out = tmp_path / "out"
    out.mkdir()
    (out / "scene.html").write_text("valuable")
    assert lift("--overwrite", "--model", "enormous").code == 2
    assert (out / "scene.html").read_text() == "valuable"


def test_an_output_folder_that_is_a_file_is_told(lift, tmp_path):
    path = tmp_path / "out"
    path.write_text("mine")
    assert_told_in_one_line(lift(), "is a file")
    assert path.read_text() == "mine"


def test_wrong_usage_has_the_same_exit_code(kine):
    assert kine("lift").code == 2
    assert kine("lift", "clip.mp4", "-o", "out", "--no-such-option").code == 2
    assert kine("conjure").code == 2


# Things that go wrong on the way


def test_a_full_disk_is_told_and_keeps_the_tracks(lift, tmp_path, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(run_outputs, "write_overlay", full)
    outcome = lift("--frames", "0:4")
    assert outcome.code == 2
    assert re.match("kinedepth: no space is left on the disk", outcome.err_lines[-1])
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["tracks.npz"]
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
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["tracks.npz"]


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

    monkeypatch.setattr("kinedepth.lifting.lift", bug)
    with pytest.raises(RuntimeError, match="a bug"):
        main(["lift", str(things / "clip.mp4"), "-o", str(tmp_path / "out")])


# The other commands


def test_synth_writes_clips_and_skips_those_that_are_there(kine, tmp_path):
    command = ("synth", tmp_path, "--size", "64x48", "--frames", 12, "--seed", 3)
    assert "clip0000" in kine(*command).out
    assert (tmp_path / "clip0000.mp4").is_file()
    again = kine(*command)
    assert again.code == 0
    assert "1 were already there" in again.out


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--size", "64"), "width x height"),
        (("--size", "63x48"), "even number"),
        (("--frames", 1), "at least two frames"),
        (("--clips", 0), "at least one clip"),
        (("--richness", "gaudy"), "rich, poor or mixed"),
        (("--seed", -1), "whole number from 0"),
    ],
    ids=lambda value: "-".join(map(str, value)) if isinstance(value, tuple) else "",
)
def test_synth_tells_bad_options(kine, tmp_path, options, message):
    assert_told_in_one_line(kine("synth", tmp_path / "out", *options), message)
    assert_nothing_whole(tmp_path / "out")


def test_view_tells_a_folder_without_a_run(kine, tmp_path):
    assert_told_in_one_line(kine("view", tmp_path), "holds no scene.html")
    assert_told_in_one_line(kine("view", tmp_path / "missing"), "no folder")


def test_doctor_names_versions_devices_and_weights(kine):
    outcome = kine("doctor")
    for subject in ("kinedepth", "python", "torch", "device cpu", "H.264 encoder", "weights"):
        assert subject in outcome.out
    assert f"kinedepth{' ' * 36}{kinedepth.__version__}" in outcome.out


def test_doctor_lists_depth_models_with_their_licences(kine):
    lines = kine("doctor").out.splitlines()
    line = next(line for line in lines if line.split()[:2] == ["depth", "vda-large"])
    assert "affine invariant disparity" in line
    assert "CC-BY-NC-4.0" in line
    assert any("needs --weights" in line for line in lines if "depth vda " in line)


def test_doctor_fails_where_no_video_could_be_lifted(kine, monkeypatch):
    monkeypatch.setattr("kinedepth.seurat.checkpoint.shipped_models", dict)
    outcome = kine("doctor")
    assert outcome.code == 1
    assert "! weights" in outcome.out


# Training


@pytest.fixture
def tiny_training(monkeypatch):
    """A network and a held-out set that train in seconds."""
    from kinedepth import _training_run
    from kinedepth.training.seurat import SeuratTask

    monkeypatch.setitem(_training_run.MODELS, "tiny", lambda: TINY)
    monkeypatch.setattr(SeuratTask, "for_model", lambda model: SeuratTask(model, held_out=1))


def test_training_exports_weights_that_lift_takes_and_resumes(kine, tiny_training, lift, tmp_path):
    run, weights = tmp_path / "run", tmp_path / "mine.safetensors"
    command = ("train", "seurat", "-o", run, "--model", "tiny", "--batch", 1, "--test-every", 1)
    first = kine(*command, "--steps", 1, "--weights", weights)
    assert first.code == 0
    assert "step 1 of 1, held-out error" in first.err
    config, record = read_record(weights)
    assert (config, record["steps"]) == (TINY, 1)
    assert lift("--model", weights, "--frames", "0:4").code == 0

    again = kine(*command, "--steps", 2, "--weights", weights)
    assert again.code == 0
    assert "step 2 of 2" in again.err
    assert "step 1 of 2" not in again.err
    assert read_record(weights)[1]["steps"] == 2
    pytest.importorskip("matplotlib")
    assert (run / "curve.png").read_bytes().startswith(b"\x89PNG")


def test_training_stopped_by_ctrl_c_says_how_to_go_on(kine, tiny_training, tmp_path, monkeypatch):
    from kinedepth.training.trainer import Trainer

    def interrupted(self, *_):
        raise KeyboardInterrupt

    monkeypatch.setattr(Trainer, "run", interrupted)
    outcome = kine("train", "seurat", "-o", tmp_path, "--model", "tiny")
    assert outcome.code == 130
    assert "run the same command to go on" in outcome.err_lines[-1]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--model", "giant"), "no configuration 'giant'; choose small, base, paper"),
        (("--precision", "int8"), "float32 or bfloat16"),
        (("--minutes", 0), "greater than zero"),
        (("--learning-rate", -1), "greater than zero"),
        (("--weights", "no/such/folder/w.safetensors"), "no folder"),
        (("--device", "abacus"), "auto, cpu, cuda or mps"),
    ],
    ids=lambda value: "-".join(map(str, value)) if isinstance(value, tuple) else "",
)
def test_training_tells_bad_options(kine, tmp_path, options, message):
    outcome = kine("train", "seurat", "-o", tmp_path / "run", *options)
    assert_told_in_one_line(outcome, message)
    assert_nothing_whole(tmp_path / "run")


# On a terminal


def test_bars_are_drawn_on_a_terminal_only(capsys, monkeypatch):
    with StageProgress() as stages:
        stages.report("tracking", 5, 10)
        assert capsys.readouterr().err == ""
        stages.report("tracking", 10, 10)
        stages.report("tracking", 10, 10)
    assert len(capsys.readouterr().err.splitlines()) == 1

    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    monkeypatch.setenv("TERM", "xterm")
    with StageProgress() as stages:
        stages.report("tracking", 5, 10)
        stages.report("tracking", 10, 10)
    drawn = capsys.readouterr().err
    assert "tracking" in drawn
    assert "100%" in drawn
