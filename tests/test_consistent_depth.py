"""Per-frame depth made consistent along tracks."""

from itertools import pairwise

import numpy as np
import pytest
import torch

from kinedepth.consistent_depth import STRIDE, WINDOW, follow_points, make_consistent
from kinedepth.dense.consistent import ConsistentDepth, find_corrections
from kinedepth.dense.registry import DEPTH_MODELS, DepthModelEntry, DepthOptions, check_options
from kinedepth.depth_estimation import estimate_depth
from kinedepth.depth_files import load_depth_video
from kinedepth.depth_run import DepthRun, OutputChoice
from kinedepth.errors import KinedepthError
from kinedepth.tracking.base import TrackingJob
from kinedepth.tracks import Tracks
from kinedepth.video import Video

HEIGHT, WIDTH = 30, 40


def wall(frames):
    """``(T, H, W)`` a slanted, wavy surface that stands still before a camera that does, too."""
    x, y = np.meshgrid(np.arange(WIDTH) / WIDTH, np.arange(HEIGHT) / HEIGHT)
    surface = 2 + 1.5 * y + 0.5 * np.sin(6 * x)
    return np.repeat(surface[None], frames, axis=0).astype(np.float32)


def windows(frames, length=8, stride=4, motion=0.0):
    """Points that move to the right by so many pixels a frame."""
    x, y = np.meshgrid(np.arange(2.5, WIDTH - 8, 3), np.arange(2.5, HEIGHT, 3))
    for start in range(0, max(frames - length, 0) + 1, stride):
        steps = np.arange(min(length, frames - start))[:, None]
        xy = np.stack([x.ravel() + motion * steps, y.ravel() + 0 * steps], axis=-1)
        visible = np.ones(xy.shape[:2], bool)
        window = range(start, start + len(steps))
        yield window, Tracks(xy.astype(np.float32), visible, np.array(0))


def noise(frames, seed=0):
    random = np.random.default_rng(seed)
    scale = np.exp(0.1 * random.standard_normal((frames, 1, 1)))
    return scale.astype(np.float32), random.normal(0, 0.1, (frames, 1, 1)).astype(np.float32)


def corrected(depth, followed, kind):
    found = find_corrections(depth, followed, kind)
    return np.stack([found.applied(index, frame) for index, frame in enumerate(depth)])


def flicker(depth):
    """Mean relative change from frame to frame."""
    return float((np.abs(np.diff(depth, axis=0)) / np.abs(depth[1:])).mean())


@pytest.mark.parametrize("kind", ["scale_invariant", "affine_invariant_disparity"])
def test_scale_and_shift_noise_is_taken_out(kind):
    scale, shift = noise(32)
    depth = scale * wall(32) + shift
    after = corrected(depth, windows(32), kind)
    assert flicker(after) < flicker(depth) / 4


def test_depth_of_any_unit_is_corrected_alike():
    scale, shift = noise(24)
    depth = scale * wall(24) + shift
    near, far = (corrected(unit * depth, windows(24), "metric") / unit for unit in (1e-3, 1e3))
    assert np.allclose(near, far, rtol=2e-3)


def test_consistent_depth_stays_as_it_is():
    depth = wall(20)
    assert np.allclose(corrected(depth, windows(20), "metric"), depth, rtol=1e-5)


def test_a_camera_that_approaches_steadily_is_not_taken_for_flicker():
    depth = wall(40) - 0.02 * np.arange(40, dtype=np.float32)[:, None, None]
    after = corrected(depth, windows(40), "metric")
    assert np.abs(after / depth - 1).max() < 0.01


def test_a_body_that_moves_by_itself_does_not_pull_the_frame():
    scale, shift = noise(32)
    moving = wall(32)
    moving[:, :10, :12] -= 0.03 * np.arange(32, dtype=np.float32)[:, None, None]
    after = corrected(scale * moving + shift, windows(32), "metric")
    assert flicker(after[:, 12:]) < flicker((scale * moving + shift)[:, 12:]) / 4


def test_hidden_points_and_unreadable_depth_have_no_say():
    scale, shift = noise(24)
    depth = scale * wall(24) + shift
    broken = depth.copy()
    broken[:, :, -6:] = np.nan
    partly = []
    for window, tracks in windows(24):
        visible = tracks.visible.copy()
        visible[:, ::3] = False
        xy = tracks.xy.copy()
        xy[:, ::3] = 1.0
        partly.append((window, Tracks(xy, visible, np.array(0))))
    after = corrected(broken, partly, "metric")[:, :, :-6]
    assert flicker(after) < flicker(depth) / 4


def test_depth_without_points_stays_as_it_is():
    depth = noise(6)[0] * wall(6)
    assert np.array_equal(corrected(depth, [], "metric"), depth)


@pytest.mark.parametrize("frames", [2, 3, 5])
def test_short_clips_are_corrected(frames):
    scale, shift = noise(frames)
    depth = scale * wall(frames) + shift
    after = corrected(depth, windows(frames), "metric")
    assert np.isfinite(after).all()
    assert flicker(after) < flicker(depth)


class Noised:
    """A model that gives what it is told."""

    name, kind, per_frame = "noised", "metric", True

    def __init__(self, depth):
        self.depth = depth

    def predict(self, video, progress=None):
        for index, frame in enumerate(self.depth):
            if progress:
                progress(index + 1, len(video))
            yield frame


def film(frames):
    return Video.from_array(np.zeros((frames, HEIGHT, WIDTH, 3), np.uint8))


def test_as_a_model_it_gives_every_frame_with_the_kind_of_the_model_inside():
    scale, shift = noise(16)
    depth = scale * wall(16) + shift
    model = ConsistentDepth(Noised(depth), lambda video: windows(len(video)))
    told = []
    found = np.stack(list(model.predict(film(16), lambda *done: told.append(done))))
    assert found.shape == depth.shape
    assert found.dtype == np.float32
    assert flicker(found) < flicker(depth) / 4
    assert (model.name, model.kind, model.per_frame) == ("noised", "metric", True)
    assert told[-1] == (16, 16)


@pytest.mark.parametrize("change", [lambda depth: depth[:-1], lambda depth: depth[:, 1:]])
def test_a_model_that_gives_other_frames_than_asked_is_told(change):
    model = ConsistentDepth(Noised(change(wall(6))), lambda video: windows(len(video)))
    with pytest.raises(KinedepthError, match="noised gave depth"):
        list(model.predict(film(6)))


def test_points_beyond_the_depth_are_told():
    with pytest.raises(KinedepthError, match="followed to frame 11"):
        find_corrections(wall(8), windows(12), "metric")


class Recorder:
    """A tracker that stands still and remembers what it was asked."""

    name = "recorder"

    def track(self, video, jobs, progress=None):
        self.jobs: list[TrackingJob] = list(jobs)
        for index, job in enumerate(jobs):
            xy = np.repeat(job.queries.xy[None], len(job.frames), axis=0)
            yield index, Tracks(xy, np.ones(xy.shape[:2], bool), np.array(0))


@pytest.mark.parametrize("frames", [2, WINDOW, WINDOW + 1, 3 * WINDOW + STRIDE - 1])
def test_windows_overlap_and_cover_the_video(frames):
    tracker = Recorder()
    covered = [window for window, _ in follow_points(film(frames), tracker)]
    assert set().union(*covered) == set(range(frames))
    for earlier, later in pairwise(covered):
        assert len(set(earlier) & set(later)) >= WINDOW - STRIDE


def test_a_tracker_of_choice_follows_the_points():
    scale, shift = noise(16)
    model = make_consistent(Noised(scale * wall(16) + shift), Recorder())
    found = np.stack(list(model.predict(film(16))))
    assert flicker(found) < flicker(scale * wall(16) + shift) / 4


def load_noised(name, weights, options, device):
    scale, shift = noise(16)
    return Noised(scale * wall(16) + shift)


@pytest.fixture
def flickering(monkeypatch, tmp_path):
    """A model of the registry that flickers; the tracker stands still. Its weights."""
    entry = DepthModelEntry(
        f"{__name__}:load_noised", "metric", options=("consistent",), per_frame=True
    )
    monkeypatch.setitem(DEPTH_MODELS, "flickering", entry)
    monkeypatch.setattr("kinedepth.consistent_depth.make_tracker", lambda name: Recorder())
    weights = tmp_path / "weights"
    weights.write_bytes(b"")
    return weights


def test_it_is_an_option_of_a_per_frame_model(flickering):
    plain, consistent = (
        estimate_depth(film(16), "flickering", device="cpu", weights=flickering, **asked).depth
        for asked in ({}, {"consistent": True})
    )
    assert flicker(consistent) < flicker(plain) / 4


def test_a_run_into_a_folder_can_be_made_consistent(flickering, tmp_path):
    options = DepthOptions(weights=flickering, consistent=True)
    run = DepthRun(
        film(16),
        tmp_path / "out",
        "flickering",
        options,
        torch.device("cpu"),
        OutputChoice(formats=("npz",)),
    )
    assert run.run()["options"] == {"consistent": True}
    stored = load_depth_video(tmp_path / "out")
    scale, shift = noise(16)
    assert flicker(stored.depth) < flicker(scale * wall(16) + shift) / 4


def test_a_model_that_sees_the_whole_video_does_not_take_it():
    with pytest.raises(KinedepthError, match="vda-small does not take the option consistent"):
        check_options("vda-small", DepthOptions(consistent=True))
    assert all(
        ("consistent" in entry.options) == entry.per_frame for entry in DEPTH_MODELS.values()
    )
