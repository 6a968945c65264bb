"""Dense depth from the command line: files, and what they mean."""

import json
import re

import cv2
import numpy as np
import pytest
from small_depth_runs import FRAMES, HEIGHT, WIDTH

import kinedepth
from kinedepth.depth_files import load_depth_video
from kinedepth.video import load_video


def test_a_run_leaves_depth_at_the_size_and_rate_of_the_video_and_says_what_it_means(
    depth, things, tmp_path
):
    outcome = depth("--format", "npz,mp4")
    assert outcome.code == 0, outcome.err
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        "depth.mp4",
        "depth.npz",
        "summary.json",
    ]
    stored = load_depth_video(tmp_path / "out")
    assert stored.depth.shape == (FRAMES, HEIGHT, WIDTH)
    assert (stored.kind, stored.fps) == ("affine_invariant_disparity", 25)
    film = load_video(tmp_path / "out" / "depth.mp4")
    assert (len(film), film.width, film.height, film.fps) == (FRAMES, WIDTH, HEIGHT, 25)
    assert "larger is nearer; they are not metres" in outcome.out
    assert "frames/s" in outcome.out


def test_the_summary_tells_model_kind_settings_and_speed(depth, tmp_path):
    assert depth("--strategy", "overlap", "--frames", "10:20").code == 0
    summary = json.loads((tmp_path / "out" / "summary.json").read_text())
    assert summary["model"] == "vda-small"
    assert summary["kind"] == "affine_invariant_disparity"
    assert summary["options"] == {"input_size": 28, "strategy": "overlap"}
    assert summary["frames"] == 10
    assert summary["weights"] == "tiny.pth"
    assert summary["outputs"] == ["depth.npz"]
    assert summary["frames_per_second"] > 0
    assert {"depth", "ranges", "writing"} <= set(summary["seconds"])
    low, high = summary["value_range"]
    stored = load_depth_video(tmp_path / "out").depth
    assert (low, high) == (stored.min(), stored.max())


def test_a_metric_model_gives_metres(depth, tmp_path):
    outcome = depth("--model", "vda-metric-small", "--frames", ":4")
    assert outcome.code == 0, outcome.err
    assert load_depth_video(tmp_path / "out").kind == "metric"
    assert "in metres" in outcome.out


def test_a_single_frame_has_depth(depth, things, tmp_path):
    outcome = depth(video=things / "one_frame.mp4")
    assert outcome.code == 0, outcome.err
    assert "Depth of 1 frame " in outcome.out
    found = load_depth_video(tmp_path / "out").depth
    assert found.shape == (1, HEIGHT, WIDTH)
    assert found.std() > 0


def test_the_command_and_the_function_agree_to_the_last_bit(whole, things):
    found = kinedepth.estimate_depth(
        things / "clip.mp4", weights=things / "tiny.pth", input_size=28, device="cpu"
    )
    assert np.array_equal(found.depth, load_depth_video(whole).depth)


def test_a_stream_sees_no_later_frame(depth, tmp_path):
    assert depth("--stream", "--frames", ":12").code == 0
    assert depth("--stream", "--frames", ":6", output=tmp_path / "short").code == 0
    whole, start = (load_depth_video(tmp_path / name).depth for name in ("out", "short"))
    assert np.array_equal(whole[:6], start)


def test_two_frames_are_enough(depth, things, tmp_path):
    assert depth(video=things / "two_frames.mp4").code == 0
    assert len(load_depth_video(tmp_path / "out")) == 2


@pytest.mark.parametrize("shape", [(41, 63, 3), (20, 100, 3), (100, 20, 4), (33, 47)])
def test_folders_of_images_of_any_shape_work(depth, tmp_path, shape):
    """Odd sides, 1 to 5 lying and standing, an alpha channel, grey."""
    folder = tmp_path / "frames"
    folder.mkdir()
    rng = np.random.default_rng(0)
    for index in range(3):
        cv2.imwrite(str(folder / f"{index}.png"), rng.integers(0, 255, shape, dtype=np.uint8))
    outcome = depth("--format", "npz,mp4", video=folder)
    assert outcome.code == 0, outcome.err
    stored = load_depth_video(tmp_path / "out").depth
    assert stored.shape == (3, *shape[:2])
    assert np.isfinite(stored).all()


def test_a_log_tells_frames_per_second(depth):
    lines = depth().err.splitlines()
    assert re.fullmatch(r"depth: done in [\d.]+ s, [\d.]+ frames/s", lines[0])
    assert [line.partition(":")[0] for line in lines] == ["depth", "ranges", "writing"]
