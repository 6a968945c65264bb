"""Tracks that no tracker should give: the shipped model stays finite and says how unsure it is."""

import numpy as np
import pytest

from kinedepth.lifting import lift
from kinedepth.tracking.base import TrackingJob
from kinedepth.tracks import Queries, Tracks, grid_points
from kinedepth.video import Video

WIDTH, HEIGHT = 160, 120


def blank_video(frames: int) -> Video:
    return Video.from_array(np.zeros((frames, HEIGHT, WIDTH, 3), np.uint8), fps=10.0)


class Given:
    """A tracker that gives the tracks it was made with, whatever it is asked for."""

    name = "given"
    seeds_own_points = True

    def __init__(self, xy: np.ndarray, visible: np.ndarray | None = None) -> None:
        self.xy = xy.astype(np.float32)
        self.visible = np.ones(xy.shape[:2], bool) if visible is None else visible

    def track(self, video: Video, jobs: list[TrackingJob], progress=None):
        yield 0, Tracks(self.xy, self.visible, np.array(0))


class Zooming:
    """A tracker of a plane that comes nearer; what ``hide`` names is never seen."""

    name = "zooming"

    def __init__(self, hide: slice = slice(0)) -> None:
        self.hide = hide

    def track(self, video: Video, jobs: list[TrackingJob], progress=None):
        centre = np.array([WIDTH / 2, HEIGHT / 2])
        for index, job in enumerate(jobs):
            grown = 1.01 ** (np.array(job.frames)[:, None] - job.queries.frame)
            xy = centre + (job.queries.xy - centre) * grown[..., None]
            visible = np.ones(xy.shape[:2], bool)
            if index == 0:
                visible[:, self.hide] = False
            yield index, Tracks(xy, visible, job.queries.frame - job.frames.start)


def grid_tracks(frames: int, growth: float = 1.01, side: int = 9) -> np.ndarray:
    points = grid_points(WIDTH, HEIGHT, side, side)
    centre = np.array([WIDTH / 2, HEIGHT / 2])
    return centre + (points - centre) * growth ** np.arange(frames)[:, None, None]


def check_sane(lifted) -> None:
    tracks = lifted.tracks
    assert np.isfinite(tracks.xyz).all()
    assert np.isfinite(tracks.log_ratio).all()
    assert np.isfinite(tracks.log_ratio_std).all()
    assert (tracks.log_ratio_std >= 0).all()
    assert (tracks.depth > 0).all()


def test_tracks_that_are_never_seen_are_far_less_sure_than_seen_ones():
    points = Queries(grid_points(WIDTH, HEIGHT, 6, 6), np.array(0))
    lifted = lift(blank_video(24), points, tracker=Zooming(hide=slice(0, 18)))
    check_sane(lifted)
    std = lifted.tracks.log_ratio_std
    assert np.median(std[12:, :18]) > 2 * np.median(std[12:, 18:])


def test_a_clip_whose_tracks_are_all_hidden_is_unsure_of_everything():
    xy = grid_tracks(24)
    hidden = lift(blank_video(24), tracker=Given(xy, np.zeros(xy.shape[:2], bool)))
    seen = lift(blank_video(24), tracker=Given(xy))
    check_sane(hidden)
    assert np.median(hidden.tracks.log_ratio_std[12:]) > 2 * np.median(
        seen.tracks.log_ratio_std[12:]
    )


def test_points_on_one_spot_know_nothing_of_depth():
    xy = np.full((16, 12, 2), 50.0) + np.arange(16)[:, None, None]
    lifted = lift(blank_video(16), tracker=Given(xy))
    check_sane(lifted)
    spread = lift(blank_video(16), tracker=Given(grid_tracks(16)))
    assert lifted.tracks.log_ratio_std[1:].mean() > 2 * spread.tracks.log_ratio_std[1:].mean()


def test_a_single_track_is_lifted_and_unsure():
    xy = np.cumsum(np.random.default_rng(0).normal(0, 2, (16, 1, 2)), axis=0) + 60
    lifted = lift(blank_video(16), tracker=Given(xy))
    check_sane(lifted)
    spread = lift(blank_video(16), tracker=Given(grid_tracks(16)))
    assert lifted.tracks.log_ratio_std[1:].mean() > 2 * spread.tracks.log_ratio_std[1:].mean()


def test_a_single_query_among_good_supporting_tracks_is_as_good_as_many():
    one = lift(blank_video(16), np.array([[40.0, 30.0]]), tracker=Zooming())
    expected = -np.log(1.01) * np.arange(16)
    assert np.abs(one.tracks.log_ratio[:, 0] - expected).max() < 0.02


@pytest.mark.parametrize("frames", [2, 3, 5, 7])
def test_clips_shorter_than_a_window_are_lifted(frames):
    lifted = lift(blank_video(frames), grid_points(WIDTH, HEIGHT, 4, 4), tracker=Zooming())
    check_sane(lifted)
    assert lifted.tracks.tracks.frames == frames


def test_frames_that_repeat_are_times_at_which_nothing_changes():
    """A film shown at twice its rate: every second frame is the one before."""
    twice = np.repeat(grid_tracks(16, growth=1.02), 2, axis=0)
    lifted = lift(blank_video(32), tracker=Given(twice))
    check_sane(lifted)
    expected = -np.log(1.02) * 15
    assert abs(np.median(lifted.tracks.log_ratio[-1]) / expected - 1) < 0.1


def test_coordinates_far_outside_the_frame_do_no_harm_to_the_others():
    clean = lift(blank_video(16), tracker=Given(grid_tracks(16)))
    wild = grid_tracks(16)
    wild[5:, :8] = 1e6 * np.random.default_rng(0).normal(size=(11, 8, 2))
    lifted = lift(blank_video(16), tracker=Given(wild))
    check_sane(lifted)
    far = np.abs(lifted.tracks.log_ratio[:, 40:] - clean.tracks.log_ratio[:, 40:])
    assert np.median(far) < 0.02


def test_ten_thousand_tracks_are_lifted():
    queries = grid_points(WIDTH, HEIGHT, 100, 100)
    lifted = lift(blank_video(3), queries, tracker=Zooming())
    check_sane(lifted)
    assert len(lifted.tracks.tracks) == 10_000
    expected = -2 * np.log(1.01)
    assert np.median(np.abs(lifted.tracks.log_ratio[-1] - expected)) < 0.01
