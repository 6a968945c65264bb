"""Bad input to ``kinedepth lift``: exit code 2, one line, nothing that looks like a run."""

import dataclasses
import json

import numpy as np
import pytest
import torch
from command_outcome import assert_nothing_whole, assert_told_in_one_line
from safetensors.torch import load_file, save_file
from small_lift_runs import FRAMES, TINY

from kinedepth.exporting.tracks_file import load_tracks3d


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
