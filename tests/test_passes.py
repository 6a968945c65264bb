"""Tracking handed out frame by frame, stopped and gone on with."""

import itertools

import cv2
import numpy as np
import pytest

from kinedepth.tracking.base import TrackingJob
from kinedepth.tracking.registry import TRACKERS, make_tracker
from kinedepth.tracks import Queries, grid
from kinedepth.video import Video

WIDTH, HEIGHT, FRAMES = 96, 64, 40


@pytest.fixture(scope="module")
def video() -> Video:
    generator = np.random.default_rng(0)
    texture = generator.integers(0, 255, (HEIGHT, WIDTH + 2 * FRAMES, 3), dtype=np.uint8)
    texture = cv2.GaussianBlur(texture, (7, 7), 0)
    return Video.from_array(np.stack([texture[:, 2 * t : 2 * t + WIDTH] for t in range(FRAMES)]))


@pytest.fixture(scope="module")
def jobs() -> list[TrackingJob]:
    """A long job with queries all over the clip, and windows: forwards and backwards in time."""
    generator = np.random.default_rng(1)
    xy = generator.random((9, 2)) * [WIDTH, HEIGHT]
    long = TrackingJob(Queries(xy, generator.integers(0, FRAMES, 9)), range(FRAMES))
    starts = range(0, FRAMES - 28, 8)
    return [long, *(TrackingJob(grid(3).at(WIDTH, HEIGHT, s), range(s, s + 29, 4)) for s in starts)]


def gather(jobs, frames):
    """``{job: (xy, visible)}`` of all parts; positions are NaN where none has come."""
    found = {
        index: (
            np.full((len(job.frames), len(job.queries), 2), np.nan),
            np.zeros((len(job.frames), len(job.queries)), bool),
        )
        for index, job in enumerate(jobs)
    }
    for parts in frames:
        for part in parts:
            xy, visible = found[part.job]
            xy[part.row, part.columns] = part.xy
            visible[part.row, part.columns] = part.visible
    return found


def assert_equal(found, expected):
    for index in expected:
        np.testing.assert_array_equal(found[index][0], expected[index][0])
        np.testing.assert_array_equal(found[index][1], expected[index][1])


@pytest.mark.parametrize("name", TRACKERS)
def test_frame_by_frame_gives_what_whole_jobs_do(name, video, jobs):
    tracker = make_tracker(name)
    found = gather(jobs, tracker.passes(video, jobs))
    for index, tracks in tracker.track(video, jobs):
        np.testing.assert_array_equal(found[index][0], tracks.xy)
        np.testing.assert_array_equal(found[index][1], tracks.visible)


@pytest.mark.parametrize("name", TRACKERS)
def test_a_tracker_that_is_stopped_anywhere_goes_on_to_the_same_tracks(name, video, jobs):
    tracker = make_tracker(name)
    whole = list(tracker.passes(video, jobs))
    in_all = tracker.passes(video, jobs).frames_in_all
    assert len(whole) == in_all > FRAMES
    for stop in (1, 20, FRAMES, FRAMES + 1, in_all - 1):
        passes = tracker.passes(video, jobs)
        frames = list(itertools.islice(passes, stop))
        # As it lies on disk: nothing in it may change with what the tracker does next.
        state = {name: value.copy() for name, value in passes.state().items()}
        gone_on = tracker.passes(video, jobs, state)
        assert gone_on.frames_done == stop
        assert_equal(gather(jobs, [*frames, *gone_on]), gather(jobs, whole))


def test_a_state_holds_plain_arrays_of_a_size_that_does_not_grow(video):
    job = TrackingJob(grid(3).at(WIDTH, HEIGHT, 0), range(FRAMES))
    passes = make_tracker("flow").passes(video, [job])
    sizes = []
    for _ in passes:
        if passes.frames_done in (33, 39):
            state = passes.state()
            assert all(value.dtype.kind in "biuf" for value in state.values())
            sizes.append(sum(value.nbytes for value in state.values()))
    assert sizes[0] == sizes[1]
