"""Frames pushed one by one, whose depth change is known in closed form."""

import math
from dataclasses import replace

import cv2
import numpy as np
import pytest

from kinedepth.errors import KinedepthError
from kinedepth.live import LiveLifter, LiveSettings
from kinedepth.live.joining import RunningJoin
from kinedepth.seurat.uncertainty import Calibration
from kinedepth.seurat.windows import Window, WindowEstimate, fuse
from kinedepth.tracking.online import EMPTY, PointPool, grid_shape

WIDTH, HEIGHT = 192, 128
ZOOM = 1.01
QUICK = LiveSettings(support=0, side=192)


def texture(seed: int = 0) -> np.ndarray:
    """A smooth random RGB pattern with detail at several scales, three frames wide and high."""
    generator = np.random.default_rng(seed)
    image = np.full((3 * HEIGHT, 3 * WIDTH, 3), 128, np.float32)
    for size, strength in ((3, 18), (7, 25), (20, 30)):
        coarse = generator.normal(size=(3 * HEIGHT // size + 3, 3 * WIDTH // size + 3, 3))
        shape = 3 * WIDTH, 3 * HEIGHT
        large = cv2.resize(coarse.astype(np.float32), shape, interpolation=cv2.INTER_CUBIC)
        image += strength * large
    return image


def filmed(count: int, zoom: float = 1.0, shift: float = 0.0) -> list[np.ndarray]:
    """Frames of a wall at right angles: magnified by ``zoom`` a frame, moved by ``shift`` pixels.

    The wall's depth changes by 1 / zoom a frame.
    """
    image = texture()
    frames = []
    for t in range(count):
        scale = zoom**t
        x = WIDTH / 2 + t * shift - scale * 1.5 * WIDTH
        y = HEIGHT / 2 - scale * 1.5 * HEIGHT
        matrix = np.array([[scale, 0, x], [0, scale, y]])
        frame = cv2.warpAffine(image, matrix, (WIDTH, HEIGHT), flags=cv2.INTER_CUBIC)
        frames.append(np.clip(frame, 0, 255).astype(np.uint8))
    return frames


def pushed(frames, points: int = 40, settings: LiveSettings = QUICK):
    lifter = LiveLifter(points, settings=settings, device="cpu")
    return [lifter.push(frame, index / 10) for index, frame in enumerate(frames)]


@pytest.fixture(scope="module")
def approach():
    return pushed(filmed(24, ZOOM))


# The lifter


def test_a_wall_that_comes_closer_by_one_per_cent_a_frame_is_told_so(approach):
    last = approach[-1]
    old = np.isfinite(last.log_ratio) & last.visible & (last.since == 0)
    assert old.sum() >= 20
    true = -math.log(ZOOM) * (last.frame - last.since[old])
    assert np.median(np.abs(last.log_ratio[old] - true)) < 0.1 * abs(true[0])


def test_every_frame_has_a_ratio_also_those_between_two_windows(approach):
    old = [state.log_ratio[state.since == 0] for state in approach]
    medians = np.array([np.nanmedian(values) for values in old[7:]])
    true = -math.log(ZOOM) * np.arange(7, 24)
    assert np.abs(medians - true).max() < 0.02


def test_ratios_are_told_of_points_older_than_a_window_and_of_no_younger_ones(approach):
    for state in approach:
        age = state.frame - state.since
        assert not np.isfinite(state.log_ratio[age < 7]).any()
        # A short window comes every second frame.
        assert np.isfinite(state.log_ratio[age >= 8]).all()
        assert (np.isfinite(state.log_ratio) == np.isfinite(state.log_ratio_std)).all()
        assert (state.log_ratio_std[np.isfinite(state.log_ratio)] > 0).all()


def test_the_same_frames_give_the_same_states_whatever_comes_later(approach):
    begun = pushed(filmed(24, ZOOM)[:12])
    for one, other in zip(approach[:12], begun, strict=True):
        np.testing.assert_array_equal(one.number, other.number)
        np.testing.assert_array_equal(one.xy, other.xy)
        np.testing.assert_array_equal(one.log_ratio, other.log_ratio)


def test_ratios_of_every_second_frame_are_those_of_all_frames(approach):
    # Dropped frames make steps longer; ratios do not depend on time.
    half = pushed(filmed(32, ZOOM)[::2])[-1]
    known = np.isfinite(half.log_ratio) & half.visible & (half.since == 0)
    assert known.sum() >= 15
    true = -math.log(ZOOM) * 2 * half.frame
    assert abs(np.median(half.log_ratio[known]) - true) < 0.1 * abs(true)


def test_another_frame_size_begins_anew_and_numbers_go_on():
    frames = filmed(6)
    states = pushed([*frames[:3], *(frame[:96] for frame in frames[3:])])
    assert [state.restarted for state in states] == [False, False, False, True, False, False]
    assert states[3].number.min() > states[2].number.max()
    assert (states[3].since == 3).all()
    assert [state.frame for state in states] == list(range(6))
    assert (states[-1].xy[:, 1] <= 96).all()


@pytest.mark.parametrize(
    ("frame", "says"),
    [
        (np.zeros((48, 64), np.uint8), "shape"),
        (np.zeros((48, 64, 3), np.float32), "uint8"),
        (np.zeros((8, 64, 3), np.uint8), "16 pixels"),
        (np.zeros((0, 64, 3), np.uint8), "16 pixels"),
        (
            np.lib.stride_tricks.as_strided(np.zeros(3, np.uint8), (9000, 9000, 3), (0, 0, 1)),
            "9000",
        ),
    ],
)
def test_a_frame_that_cannot_be_followed_is_told(frame, says):
    with pytest.raises(KinedepthError, match=says):
        LiveLifter(10, settings=QUICK, device="cpu").push(frame, 0.0)


@pytest.mark.parametrize("points", [0, -1, 10**6])
def test_a_number_of_points_out_of_range_is_told(points):
    with pytest.raises(KinedepthError, match="points"):
        LiveLifter(points)


@pytest.mark.parametrize("settings", [{"every": 0}, {"steps": ()}, {"steps": (0,)}, {"side": 1}])
def test_settings_out_of_range_are_told(settings):
    with pytest.raises(KinedepthError):
        LiveSettings(**settings)


def test_few_points_are_compared_with_others_that_are_not_shown():
    states = pushed(filmed(9, ZOOM), points=4, settings=LiveSettings(support=40, side=192))
    assert len(states[-1]) <= 6
    assert np.isfinite(states[-1].log_ratio).any()


# The pool of points


def test_points_that_leave_the_frame_are_replaced_where_room_is():
    pool = PointPool(WIDTH, HEIGHT, [24], side=WIDTH)
    for frame in filmed(30, shift=4.0):
        pool.advance(frame)
    alive = pool.number != EMPTY
    assert len(pool) == math.prod(grid_shape(WIDTH, HEIGHT, 24)) == 24
    assert alive.sum() >= 22
    assert pool.next_number > 34
    # By now the first points are gone, and the side they came from is filled again.
    assert (pool.since[alive] > 0).any()
    assert (pool.xy[alive, 0] < WIDTH / 6).any()
    assert ((pool.xy[alive] >= 0) & (pool.xy[alive] <= [WIDTH, HEIGHT])).all()


def test_crowded_points_are_given_up_for_empty_places():
    pool = PointPool(WIDTH, HEIGHT, [24], side=WIDTH)
    for frame in filmed(40, zoom=0.97):
        pool.advance(frame)
    alive = pool.xy[pool.number != EMPTY]
    # Shrunk to a third and never replaced, none would be left in the outer parts.
    assert (alive[:, 0] < WIDTH / 6).sum() >= 2
    assert (alive[:, 0] > 5 * WIDTH / 6).sum() >= 2


def test_points_stay_where_nothing_moves():
    pool = PointPool(WIDTH, HEIGHT, [24], side=WIDTH)
    for frame in filmed(1) * 6:
        pool.advance(frame)
    np.testing.assert_array_equal(pool.number, np.arange(24))
    cells = [(x, y) for y in (16, 48, 80, 112) for x in (16, 48, 80, 112, 144, 176)]
    np.testing.assert_allclose(pool.xy, cells, atol=0.05)


# Joining


def windows_of(signal: np.ndarray, steps=(1, 2, 4), length: int = 8, noise: float = 0.0):
    """Estimates of windows that end in each frame, in turn at each step; ``signal (T, N)``."""
    generator = np.random.default_rng(1)
    for now in range(length - 1, len(signal)):
        window = Window(
            now - steps[now % len(steps)] * (length - 1), steps[now % len(steps)], length
        )
        if window.start < 0:
            window = Window(now - length + 1, 1, length)
        value = signal[list(window.frames)] + noise * generator.normal(
            size=(length, signal.shape[1])
        )
        shape = value.shape
        yield (
            now,
            WindowEstimate(
                window,
                (value - value[0]).astype(np.float32),
                np.full(shape, 0.01, np.float32),
                np.ones(shape, bool),
                np.ones(shape[1], bool),
            ),
        )


def running(signal, noise=0.0, settled=29, reach=58):
    join = RunningJoin(signal.shape[1], settled, reach, Calibration())
    join.begin(np.arange(signal.shape[1]), 0)
    found = []
    for now, estimate in windows_of(signal, noise=noise):
        join.add(estimate)
        found.append(join.solve(now))
    return found


def test_exact_windows_join_to_the_signal_however_long_it_is():
    time = np.arange(130.0)[:, None]
    signal = 0.3 * np.sin(time / 40 + np.arange(3)) + 0.002 * time
    found = np.array([ratios.log_ratio for ratios in running(signal)])
    # What smoothness takes off the bends must not add up over twice the reach.
    assert np.abs(found - (signal[7:] - signal[0])).max() < 0.004


def test_while_nothing_is_settled_the_join_is_that_of_all_windows_at_once():
    signal = np.cumsum(np.random.default_rng(0).normal(0, 0.02, (40, 4)), axis=0)
    last = running(signal, noise=0.01, settled=100, reach=200)[-1]
    at_once = fuse([estimate for _, estimate in windows_of(signal, noise=0.01)], 40)
    np.testing.assert_allclose(last.log_ratio, at_once[-1] - at_once[0], atol=1e-9)


def test_settling_changes_little_of_what_all_windows_at_once_say():
    signal = np.cumsum(np.random.default_rng(0).normal(0, 0.02, (100, 8)), axis=0)
    last = running(signal, noise=0.005)[-1]
    at_once = fuse([estimate for _, estimate in windows_of(signal, noise=0.005)], 100)
    difference = last.log_ratio - (at_once[-1] - at_once[0])
    error = at_once[-1] - at_once[0] - signal[-1] + signal[0]
    assert np.sqrt((difference**2).mean()) < 0.5 * np.sqrt((error**2).mean())


def test_doubt_grows_on_the_way():
    std = np.array([ratios.std for ratios in running(np.zeros((80, 2)), noise=0.003)])
    assert (std[60] > 1.4 * std[3]).all()


def test_a_slot_taken_over_knows_nothing_of_the_track_before():
    signal = 0.01 * np.arange(40.0)[:, None] * np.ones(2)
    join = RunningJoin(2, 29, 58, Calibration())
    join.begin(np.arange(2), 0)
    for now, estimate in windows_of(signal):
        if now == 20:
            join.begin(np.array([1]), 20)
        known = np.array([True, now < 20 or estimate.window.start >= 20])
        join.add(replace(estimate, known=known))
        ratios = join.solve(now)
        assert np.isfinite(ratios.log_ratio[0])
        assert np.isnan(ratios.log_ratio[1]) == (20 <= now < 27)
    np.testing.assert_allclose(ratios.log_ratio, [0.39, 0.19], atol=1e-4)
