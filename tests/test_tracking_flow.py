"""The embedded trackers on images whose motion is known in closed form."""

import subprocess
import sys

import cv2
import numpy as np
import pytest

from kinedepth.errors import KinedepthError
from kinedepth.tracking import _dense_flow
from kinedepth.tracking._alignment import Templates
from kinedepth.tracking.base import TrackingJob
from kinedepth.tracking.flow import FlowSettings, FlowTracker
from kinedepth.tracking.registry import TRACKERS, make_tracker
from kinedepth.tracks import Queries, Tracks, grid
from kinedepth.video import Video

WIDTH, HEIGHT = 192, 128


def texture(width: int, height: int, seed: int = 0) -> np.ndarray:
    """A smooth random RGB pattern (height, width, 3) float32, with detail at several scales."""
    generator = np.random.default_rng(seed)
    image = np.zeros((height, width, 3), np.float32)
    for size, strength in ((3, 18), (7, 25), (20, 30)):
        coarse = generator.normal(size=(height // size + 3, width // size + 3, 3))
        image += strength * cv2.resize(
            coarse.astype(np.float32), (width, height), interpolation=cv2.INTER_CUBIC
        )
    return image + 128


def filmed(matrices: list[np.ndarray], seed: int = 0) -> np.ndarray:
    """Frames (T, HEIGHT, WIDTH, 3) of a texture under maps (2, 3) from texture to frame pixels.

    Pixel coordinates are those of the package (centres at +0.5).
    """
    image = texture(3 * WIDTH, 3 * HEIGHT, seed)
    frames = []
    for matrix in matrices:
        shifted = matrix.copy()
        shifted[:, 2] += matrix[:, :2] @ [0.5, 0.5] - 0.5
        frame = cv2.warpAffine(image, shifted, (WIDTH, HEIGHT), flags=cv2.INTER_CUBIC)
        frames.append(np.clip(frame, 0, 255).astype(np.uint8))
    return np.array(frames)


def moving(shift: tuple[float, float], zoom: float, frames: int) -> list[np.ndarray]:
    """Maps of a texture whose middle starts at the frame's: ``shift`` and ``zoom`` per frame."""
    middle, aim = np.array([1.5 * WIDTH, 1.5 * HEIGHT]), np.array([WIDTH / 2, HEIGHT / 2])
    maps = []
    for t in range(frames):
        scale = zoom**t
        maps.append(
            np.column_stack(
                [scale * np.eye(2), aim + t * np.array(shift) - scale * middle],
            )
        )
    return maps


def truth(maps: list[np.ndarray], xy: np.ndarray) -> np.ndarray:
    """Where points ``xy (N, 2)`` of the first frame are in every frame, (T, N, 2)."""
    on_texture = (xy - maps[0][:, 2]) @ np.linalg.inv(maps[0][:, :2]).T
    return np.array([on_texture @ matrix[:, :2].T + matrix[:, 2] for matrix in maps])


def track(frames: np.ndarray, queries: Queries, tracker: str = "flow") -> Tracks:
    job = TrackingJob(queries, range(len(frames)))
    ((_, tracks),) = make_tracker(tracker).track(Video.from_array(frames), [job])
    return tracks


def inner_grid(size: int = 6, frame: int = 0, margin: float = 24.0) -> Queries:
    cells = grid(size).at(1, 1, 0).xy
    return Queries(cells * [WIDTH - 2 * margin, HEIGHT - 2 * margin] + margin, np.int64(frame))


def same(a: Tracks, b: Tracks) -> bool:
    return np.array_equal(a.xy, b.xy) and np.array_equal(a.visible, b.visible)


@pytest.mark.parametrize("tracker", sorted(TRACKERS))
def test_a_still_video_reads_still(tracker):
    frames = np.repeat(filmed(moving((0, 0), 1, 1)), 6, axis=0)
    queries = inner_grid()
    tracks = track(frames, queries, tracker)
    assert np.abs(tracks.xy - queries.xy).max() < 0.02
    assert tracks.visible.all()


def test_a_translating_texture_is_followed_to_a_tenth_of_a_pixel():
    maps = moving((1.37, -0.61), 1, 12)
    queries = inner_grid()
    tracks = track(filmed(maps), queries)
    error = np.hypot(*np.moveaxis(tracks.xy - truth(maps, queries.xy), -1, 0))
    assert tracks.visible.all()
    assert np.median(error) < 0.05
    assert error.max() < 0.2


def test_a_zooming_texture_is_followed_to_a_quarter_of_a_pixel():
    maps = moving((0.4, 0.2), 1.015, 12)
    queries = inner_grid()
    tracks = track(filmed(maps), queries)
    true = truth(maps, queries.xy)
    inside = ((true > 6) & (true < np.array([WIDTH, HEIGHT]) - 6)).all(-1)
    error = np.hypot(*np.moveaxis(tracks.xy - true, -1, 0))[inside]
    assert np.median(error) < 0.1
    assert np.quantile(error, 0.95) < 0.3


@pytest.mark.parametrize("tracker", sorted(TRACKERS))
def test_positions_count_pixel_centres_at_a_half(tracker):
    # Turned by 180 degrees, a pixel's centre (x + 0.5) must land at W - (x + 0.5): a tracker
    # that mixed the two conventions would be one whole pixel off between the two clips.
    frames = filmed(moving((1.5, 0.75), 1, 5))
    queries = inner_grid(4)
    turned = Queries(np.array([WIDTH, HEIGHT]) - queries.xy, queries.frame)
    there = track(frames, queries, tracker).xy
    back = np.array([WIDTH, HEIGHT]) - track(frames[:, ::-1, ::-1].copy(), turned, tracker).xy
    assert np.median(np.abs(there - back)) < 0.05


def occluded_clip() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A still texture behind a patch that passes over it; points (N, 2), hidden (T, N)."""
    count, side, speed = 24, 40, 8
    frames = np.repeat(filmed(moving((0, 0), 1, 1)), count, axis=0)
    patch = np.clip(texture(side, HEIGHT, seed=5) * 0.6 + [70, -40, 10], 0, 255).astype(np.uint8)
    points = inner_grid(5, margin=30).xy
    hidden = np.zeros((count, len(points)), bool)
    for t in range(count):
        left = -side + speed * t
        low, high = max(left, 0), min(left + side, WIDTH)
        if low < high:
            frames[t, :, low:high] = patch[:, low - left : high - left]
        hidden[t] = (points[:, 0] > left) & (points[:, 0] < left + side)
    return frames, points, hidden


def test_a_point_behind_a_passing_patch_is_flagged_hidden_and_found_again():
    frames, points, hidden = occluded_clip()
    tracks = track(frames, Queries(points, np.int64(0)))
    surely_hidden = hidden[:-1] & hidden[1:]
    assert (~tracks.visible[:-1][surely_hidden]).mean() > 0.9
    last_hidden = np.where(hidden.any(0), len(hidden) - 1 - hidden[::-1].argmax(0), -1)
    long_after = np.arange(len(frames))[:, None] > last_hidden + 3
    assert tracks.visible[long_after].mean() > 0.9
    assert (
        np.median(
            np.abs(tracks.xy[long_after] - np.broadcast_to(points, tracks.xy.shape)[long_after])
        )
        < 0.1
    )


def test_frame_to_frame_chaining_never_finds_a_point_again():
    frames, points, _hidden = occluded_clip()
    tracks = track(frames, Queries(points, np.int64(0)), "flow-chained")
    assert not (np.diff(tracks.visible.astype(int), axis=0) > 0).any()
    assert tracks.visible[-1].mean() < tracks.visible[0].mean()


@pytest.mark.parametrize("tracker", sorted(TRACKERS))
def test_a_point_that_leaves_the_frame_is_hidden_and_stays_finite_and_near(tracker):
    maps = moving((-14, 0), 1, 14)
    queries = inner_grid()
    tracks = track(filmed(maps), queries, tracker)
    gone = truth(maps, queries.xy)[..., 0] < -2
    assert not tracks.visible[gone].any()
    assert (tracks.xy >= [-0.5 * WIDTH, -0.5 * HEIGHT]).all()
    assert (tracks.xy <= [1.5 * WIDTH, 1.5 * HEIGHT]).all()


@pytest.mark.parametrize("tracker", sorted(TRACKERS))
def test_backwards_equals_forwards_of_the_reversed_clip(tracker):
    frames = filmed(moving((1.2, 0.4), 1.01, 20))
    backwards = track(frames, inner_grid(frame=19), tracker)
    forwards = track(frames[::-1].copy(), inner_grid(frame=0), tracker)
    np.testing.assert_array_equal(backwards.xy, forwards.xy[::-1])
    np.testing.assert_array_equal(backwards.visible, forwards.visible[::-1])


@pytest.mark.parametrize("tracker", sorted(TRACKERS))
def test_adding_or_removing_queries_leaves_the_others_exactly_as_they_are(tracker):
    frames, points, _ = occluded_clip()
    start = np.arange(len(points)) % 5 * 4
    together = track(frames, Queries(points, start), tracker)
    for some in ([3], [1, 8, 20], range(0, 25, 2)):
        alone = track(frames, Queries(points[some], start[some]), tracker)
        np.testing.assert_array_equal(alone.xy, together.xy[:, some])
        np.testing.assert_array_equal(alone.visible, together.visible[:, some])


def rushing_wall(pace: float) -> tuple[np.ndarray, list[np.ndarray]]:
    """A noisy wall, all but plain above a textured skirting, and the maps that moved it.

    It goes ``pace`` pixels a frame to the left.
    """
    maps = moving((-pace, 0), 1, 6)
    frames = filmed(maps).astype(np.float32)
    above = slice(0, 2 * HEIGHT // 3)
    frames[:, above] = 128 + 0.06 * (frames[:, above] - 128)
    noise = 2 * np.random.default_rng(3).normal(size=frames.shape[:3])
    return np.clip(frames + noise[..., None], 0, 255).astype(np.uint8), maps


def test_what_got_lost_on_a_plain_wall_rushing_by_is_not_claimed_and_the_rest_still_is():
    frames, maps = rushing_wall(pace=20)
    points = grid(12).at(WIDTH, HEIGHT, 0)
    true = truth(maps, points.xy)[1:]
    inside = (true[..., 0] > 0).mean()

    def claims(settings: FlowSettings) -> tuple[float, float]:
        """Share of points claimed visible, and share of those more than 3 pixels off."""
        job = TrackingJob(points, range(len(frames)))
        ((_, tracks),) = FlowTracker(settings).track(Video.from_array(frames), [job])
        visible = tracks.visible[1:]
        off = np.hypot(*np.moveaxis(tracks.xy[1:] - true, -1, 0)) > 3
        return float(visible.mean()), float(off[visible].mean())

    claimed, wrong = claims(FlowSettings())
    _, wrong_without_doubt = claims(FlowSettings(visible_doubt=np.inf))
    assert claimed > 0.85 * inside
    assert wrong < 0.12
    assert wrong < 0.7 * wrong_without_doubt


def test_alignment_vouches_for_texture_but_for_neither_an_edge_nor_a_plain_patch():
    image = np.full((40, 120), 100, np.float32)
    image[:, :40] = texture(40, 40).mean(-1)
    image[:20, 40:80] = 160
    slack = Templates.of(image, np.array([[20.0, 20.0], [60.0, 19.5], [100.0, 20.0]])).slack
    assert slack[0] < 0.1
    assert (slack[1:] > 10).all()


def test_queries_come_back_where_and_when_they_were_asked_in_any_order():
    frames = filmed(moving((0.5, 0.2), 1, 10))
    points = inner_grid(3).xy
    start = np.array([7, 0, 3, 9, 0, 5, 2, 8, 1])
    tracks = track(frames, Queries(points, start))
    np.testing.assert_array_equal(tracks.query_frame, start)
    np.testing.assert_array_equal(tracks.xy[start, np.arange(9)], points)
    assert tracks.visible[start, np.arange(9)].all()


def test_a_clip_shifted_in_time_gives_shifted_tracks():
    frames = filmed(moving((1.1, 0.3), 1.005, 16))
    whole = track(frames, inner_grid(frame=5))
    part = track(frames[5:], inner_grid(frame=0))
    np.testing.assert_array_equal(whole.xy[5:], part.xy)


def test_window_jobs_agree_with_a_long_job_over_the_same_frames():
    frames = filmed(moving((0.9, 0.5), 1.004, 30))
    video = Video.from_array(frames)
    jobs = [
        TrackingJob(inner_grid(frame=0), range(30)),
        TrackingJob(inner_grid(frame=8), range(8, 16)),
        TrackingJob(inner_grid(frame=1), range(1, 30, 4)),
        TrackingJob(inner_grid(frame=16), range(8, 30, 2)),
    ]
    together = dict(make_tracker("flow").track(video, jobs))
    assert sorted(together) == [0, 1, 2, 3]
    for index, job in enumerate(jobs):
        whole = track(frames, job.queries)
        frames_reported = list(job.frames)
        np.testing.assert_array_equal(together[index].xy, whole.xy[frames_reported])
        np.testing.assert_array_equal(together[index].visible, whole.visible[frames_reported])
        start = frames_reported.index(int(job.queries.frame[0]))
        assert (together[index].query_frame == start).all()


def test_every_flow_is_computed_once_for_all_jobs(monkeypatch):
    frames = filmed(moving((0.9, 0.5), 1, 14))
    asked = []

    def noted(self, a, b):
        asked.append((a.tobytes(), b.tobytes()))
        return original(self, a, b)

    original = _dense_flow.DenseFlow._flow
    monkeypatch.setattr(_dense_flow.DenseFlow, "_flow", noted)
    jobs = [TrackingJob(inner_grid(2, frame=s), range(s, s + 8)) for s in (0, 2, 4, 6)]
    list(make_tracker("flow").track(Video.from_array(frames), jobs))
    assert len(asked) == len(set(asked))
    # Two directions; no point is older than 7 frames, so no flow spans more than 4.
    steps_of_one, of_two, of_four = 13, 2 * 4 + 4, 2 * 4 + 2
    assert len(asked) == 2 * (steps_of_one + of_two + of_four)


def test_queries_in_the_first_frame_ask_for_no_backward_pass_and_progress_counts_frames():
    frames = filmed(moving((1, 0), 1, 9))
    reports = []
    job = TrackingJob(inner_grid(2), range(9))
    video = Video.from_array(frames)
    list(make_tracker("flow").track(video, [job], lambda *report: reports.append(report)))
    assert reports == [(done, 9) for done in range(1, 10)]


def test_the_same_input_gives_the_same_tracks():
    frames, points, _ = occluded_clip()
    queries = Queries(points, np.int64(0))
    assert same(track(frames, queries), track(frames, queries))


@pytest.mark.parametrize("size", [(40, 24), (24, 40), (8, 8)])
def test_tiny_frames_are_tracked_too(size):
    frames = filmed(moving((0.5, 0), 1, 3))[:, : size[1], : size[0]].copy()
    tracks = track(frames, grid(2).at(*size, 0))
    assert tracks.xy.shape == (3, 4, 2)


def test_large_frames_are_tracked_at_working_size_and_reported_in_their_own_pixels():
    maps = moving((0.7, 0.3), 1, 4)
    factor = 8
    frames = filmed(maps)
    large = np.array(
        [
            cv2.resize(frame, None, fx=factor, fy=factor, interpolation=cv2.INTER_CUBIC)
            for frame in frames
        ]
    )
    queries = Queries(inner_grid(4).xy * factor, np.int64(0))
    error = track(large, queries).xy / factor - truth(maps, inner_grid(4).xy)
    assert np.abs(error).max() < 0.2


def test_a_query_that_its_job_does_not_report_is_refused():
    video = Video.from_array(filmed(moving((0, 0), 1, 8)))
    for queries, frames, words in (
        (inner_grid(2, frame=3), range(0, 8, 2), "do not report"),
        (inner_grid(2, frame=0), range(9), "0 to 7"),
        (inner_grid(2, frame=9), range(8), "frame 9"),
        (Queries(np.array([[500.0, 3.0]]), np.int64(0)), range(8), "outside"),
    ):
        with pytest.raises(KinedepthError, match=words):
            list(make_tracker("flow").track(video, [TrackingJob(queries, frames)]))


def test_an_unknown_tracker_is_answered_with_the_known_ones():
    for spec in ("cotracker", "file:", "flow:x", ""):
        with pytest.raises(KinedepthError, match="flow, flow-chained, lucas-kanade"):
            make_tracker(spec)


MEMORY_SCRIPT = """
import resource, sys
import numpy as np
from kinedepth.tracking.base import TrackingJob
from kinedepth.tracking.flow import FlowTracker
from kinedepth.tracks import grid

class Endless:
    name, fps, width, height = "endless", 30.0, 320, 180
    def __init__(self, count): self.count = count
    def __len__(self): return self.count
    def blocks(self, size=16, start=0, stop=None):
        noise = np.random.default_rng(0).integers(0, 255, (180, 400, 3), dtype=np.uint8)
        for first in range(start, stop, size):
            turns = range(first, min(first + size, stop))
            yield first, np.stack([noise[:, t % 40 : t % 40 + 320] for t in turns])

video = Endless(int(sys.argv[1]))
jobs = [TrackingJob(grid(8).at(320, 180, int(sys.argv[2]) % len(video)), range(len(video)))]
list(FlowTracker().track(video, jobs))
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


@pytest.mark.parametrize("query_frame", [0, -1])
def test_peak_memory_does_not_grow_with_the_length_of_the_clip(query_frame):
    peaks = [
        int(
            subprocess.run(
                [sys.executable, "-c", MEMORY_SCRIPT, str(frames), str(query_frame)],
                capture_output=True,
                text=True,
                check=True,
            ).stdout
        )
        for frames in (50, 110)
    ]
    assert peaks[1] < 1.1 * peaks[0]
