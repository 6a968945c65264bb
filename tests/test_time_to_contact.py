"""Time to contact: closed forms, what must not matter, intervals, warnings, films and failures."""

import csv

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kinedepth.camera import Intrinsics
from kinedepth.errors import KinedepthError
from kinedepth.exporting.ttc_table import write_contact_table
from kinedepth.time_to_contact import LEAST_FRAMES, TimeToContact, frame_times, time_to_contact
from kinedepth.tracks import Tracks, Tracks3D
from kinedepth.viewing.ttc_overlay import ContactPainter, contact_scale

FPS = 30.0
CAMERA = Intrinsics(100.0, 100.0, 80.0, 60.0, 160, 120)


def tracks_of(log_ratio, visible=None, std=None):
    log_ratio = np.atleast_2d(np.asarray(log_ratio, np.float64).T).T
    frames, points = log_ratio.shape
    visible = np.ones((frames, points), bool) if visible is None else visible
    xy = np.tile(np.linspace([20.0, 20.0], [140.0, 100.0], points), (frames, 1, 1))
    tracks = Tracks(xy, visible, np.array(0))
    xyz = np.ones((frames, points, 3), np.float32)
    return Tracks3D(xyz, log_ratio, tracks, CAMERA, log_ratio_std=std)


def depth_at_constant_speed(speeds, frames=40, start=10.0):
    """``(T, N)`` depths from ``start`` at closing ``speeds`` in units a second."""
    return start - np.asarray(speeds) * frame_times(frames, FPS)[:, None]


def contact_of(depth, **options):
    return time_to_contact(
        tracks_of(np.log(depth / depth[0])), frame_times(len(depth), FPS), **options
    )


# Closed forms


def test_constant_closing_speed_is_read_exactly():
    depth = depth_at_constant_speed([1.0, 3.0, 6.5])
    found = contact_of(depth)
    np.testing.assert_allclose(found.closing_rate, [1.0, 3.0, 6.5] / depth, rtol=1e-6)
    approaching = found.approaches
    np.testing.assert_allclose(
        found.seconds[approaching], (depth / [1.0, 3.0, 6.5])[approaching], rtol=1e-6
    )
    assert approaching[:, 1:].all()


def test_the_rate_of_frames_and_their_times_set_the_unit():
    depth = depth_at_constant_speed([5.0])
    log_ratio = np.log(depth / depth[0])
    slow = time_to_contact(tracks_of(log_ratio), frame_times(len(depth), FPS / 2), window=0.5)
    np.testing.assert_allclose(slow.seconds, 2 * contact_of(depth).seconds, rtol=1e-6)
    assert (slow.approaches).all()


def test_frames_need_not_come_at_a_constant_rate():
    times = np.cumsum(np.random.default_rng(0).uniform(0.01, 0.06, 40))
    depth = 10 - 4.0 * times[:, None]
    found = time_to_contact(tracks_of(np.log(depth / depth[0])), times)
    np.testing.assert_allclose(found.closing_rate, 4.0 / depth, rtol=1e-6)


@settings(max_examples=12, deadline=None)
@given(scale=st.floats(1e-3, 1e3), speed=st.floats(0.5, 6))
def test_the_scale_of_depth_does_not_matter(scale, speed):
    depth = depth_at_constant_speed([speed], frames=12)
    times = frame_times(12, FPS)
    plain = time_to_contact(tracks_of(np.log(depth)), times)
    scaled = time_to_contact(tracks_of(np.log(scale * depth)), times)
    np.testing.assert_allclose(scaled.closing_rate, plain.closing_rate, rtol=1e-6)
    np.testing.assert_allclose(scaled.margin, plain.margin, rtol=1e-6)


@pytest.mark.parametrize("speed", [0.0, -2.0])
def test_a_point_that_stays_or_recedes_has_no_contact(speed):
    found = contact_of(depth_at_constant_speed([speed]))
    assert np.isinf(found.seconds).all()
    assert np.isinf(found.latest).all()
    assert not found.approaches.any()
    if speed < -1:
        assert np.isinf(found.soonest).all()


def test_a_point_that_is_hardly_seen_says_nothing():
    depth = depth_at_constant_speed([3.0, 3.0])
    visible = np.ones((len(depth), 2), bool)
    visible[10:36, 0] = False
    found = time_to_contact(
        tracks_of(np.log(depth / depth[0]), visible), frame_times(len(depth), FPS)
    )
    assert np.isnan(found.closing_rate[20, 0])
    assert np.isnan(found.soonest[20, 0])
    assert np.isinf(found.seconds[20, 0])
    assert np.isfinite(found.seconds[:, 1]).all()


def test_what_is_said_while_hidden_does_not_count():
    depth = depth_at_constant_speed([3.0])
    visible = np.ones((len(depth), 1), bool)
    visible[[8, 20, 21], 0] = False
    guessed = np.log(depth / depth[0])
    guessed[[8, 20, 21]] = 5.0
    found = time_to_contact(tracks_of(guessed, visible), frame_times(len(depth), FPS))
    np.testing.assert_allclose(found.closing_rate, 3.0 / depth, rtol=1e-6)


def test_a_single_wrong_ratio_hardly_matters():
    depth = depth_at_constant_speed([3.0])
    log_ratio = np.log(depth / depth[0]) + np.random.default_rng(0).normal(0, 1e-3, depth.shape)
    wrong = log_ratio.copy()
    wrong[15] += 0.2
    times = frame_times(len(depth), FPS)
    clean, glitch = (time_to_contact(tracks_of(each), times) for each in (log_ratio, wrong))
    # Unweighted, the glitch would tilt the line by more than half of the rate.
    assert np.abs(glitch.closing_rate - clean.closing_rate).max() < 0.08


# Intervals


@pytest.mark.parametrize("confidence", [0.68, 0.9])
def test_intervals_cover_the_truth_about_as_often_as_they_say(confidence):
    depth = np.repeat(depth_at_constant_speed([2.0]), 800, axis=1)
    noise = np.random.default_rng(0).normal(0, 0.02, depth.shape)
    found = contact_of(depth * np.exp(noise), confidence=confidence, systematic_error=0.0)
    inside = np.abs(found.closing_rate - 2.0 / depth) <= found.margin
    # In the middle of the clip, where windows are not shared by several frames. More than asked
    # for is no fault: residuals of few frames are also taken for correlated ones.
    assert confidence - 0.02 < inside[10:30].mean() < confidence + 0.09


def test_more_noise_makes_wider_intervals_and_steadiness_narrower_ones():
    depth = depth_at_constant_speed(np.full(60, 3.0))
    rng = np.random.default_rng(0)
    margins = [
        np.median(contact_of(depth * np.exp(rng.normal(0, sigma, depth.shape))).margin)
        for sigma in (0.0, 0.01, 0.03)
    ]
    assert margins == sorted(margins)
    assert margins[2] > 2 * margins[1]
    times = frame_times(60, FPS)[:, None]
    jerky = 10 - 3 * times + 0.3 * np.sin(2 * np.pi * times / 0.5)
    steady = 10 - 3 * times
    assert np.median(contact_of(jerky).margin) > 2 * np.median(contact_of(steady).margin)


def test_uncertainty_that_the_tracks_carry_widens_the_interval():
    depth = depth_at_constant_speed([3.0])
    log_ratio = np.log(depth / depth[0])
    times = frame_times(len(depth), FPS)
    growing = np.linspace(0, 0.5, len(depth), dtype=np.float32)[:, None]
    plain = time_to_contact(tracks_of(log_ratio), times)
    told = time_to_contact(tracks_of(log_ratio, std=growing), times)
    np.testing.assert_array_equal(told.closing_rate, plain.closing_rate)
    assert (told.margin > 2 * plain.margin).all()
    sure = time_to_contact(tracks_of(log_ratio, std=0 * growing), times)
    np.testing.assert_array_equal(sure.margin, plain.margin)


def test_the_interval_encloses_the_estimate_and_may_reach_infinity():
    rate = np.array([[0.5, 0.1, -0.3, np.nan]])
    contact = TimeToContact(np.zeros(1), rate, np.full((1, 4), 0.1), np.full((1, 4), 0.2), 0.9)
    np.testing.assert_allclose(contact.soonest, [[1 / 0.7, 1 / 0.3, np.inf, np.nan]])
    np.testing.assert_allclose(contact.seconds, [[2.0, np.inf, np.inf, np.inf]])
    np.testing.assert_allclose(contact.latest, [[1 / 0.3, np.inf, np.inf, np.inf]])


# Warnings


def made_up(latest):
    """Contact whose latest time is ``latest (T, N)``."""
    rate = 1 / np.asarray(latest, np.float64)
    return TimeToContact(np.arange(len(rate)) / FPS, 2 * rate, rate, rate, 0.9)


def test_a_warning_needs_the_whole_interval_and_several_frames_in_a_row():
    latest = np.array([[9, 9], [1, 1], [1, 9], [1, 1], [1, 1], [9, 1], [1, 1]])
    warned = made_up(latest).warnings(2.0, np.ones(latest.shape, bool), persistence=3)
    np.testing.assert_array_equal(warned[:, 0], [0, 0, 0, 1, 1, 0, 0])
    np.testing.assert_array_equal(warned[:, 1], [0, 0, 0, 0, 0, 1, 1])


def test_hidden_points_do_not_warn():
    latest = np.ones((6, 1))
    visible = np.array([[1], [1], [1], [0], [1], [1]], bool)
    warned = made_up(latest).warnings(2.0, visible, persistence=3)
    np.testing.assert_array_equal(warned[:, 0], [0, 0, 1, 0, 0, 0])


@pytest.mark.parametrize("seconds", [0, -1, np.nan, np.inf])
def test_a_warning_needs_a_positive_number_of_seconds(seconds):
    with pytest.raises(KinedepthError, match="positive number of seconds"):
        made_up(np.ones((6, 1))).warnings(seconds, np.ones((6, 1), bool))


# What is refused


@pytest.mark.parametrize("fps", [0, -5, np.nan, np.inf])
def test_a_frame_rate_is_positive(fps):
    with pytest.raises(KinedepthError, match="frame rate has to be a positive number"):
        frame_times(10, fps)


def test_too_few_frames_are_told():
    depth = depth_at_constant_speed([1.0], frames=LEAST_FRAMES - 1)
    with pytest.raises(KinedepthError, match="at least 5 frames; the clip has 4"):
        contact_of(depth)
    assert contact_of(depth_at_constant_speed([5.0], frames=LEAST_FRAMES)).approaches.all()


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"window": 0}, "window has to be"),
        ({"window": np.nan}, "window has to be"),
        ({"confidence": 1.0}, "between 0 and 1"),
        ({"times": np.zeros(10)}, "increasing"),
        ({"times": np.arange(9)}, "have 10 frames"),
    ],
)
def test_wrong_windows_confidences_and_times_are_told(options, sentence):
    arguments = {"times": np.arange(10) / FPS, **options}
    with pytest.raises(KinedepthError, match=sentence):
        time_to_contact(tracks_of(np.zeros((10, 2))), **arguments)


# Table and film


def test_the_table_has_a_row_for_each_frame_of_each_track(tmp_path):
    depth = depth_at_constant_speed([5.0, -1.0], frames=8)
    visible = np.ones((8, 2), bool)
    visible[3:, 1] = False
    tracks = tracks_of(np.log(depth / depth[0]), visible)
    found = time_to_contact(tracks, frame_times(8, FPS))
    warned = found.warnings(3.0, visible)
    write_contact_table(tmp_path / "ttc.csv", tracks.tracks, found, warned)
    with open(tmp_path / "ttc.csv") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 16
    last = rows[14]
    assert (last["frame"], last["track"], last["visible"], last["warn"]) == ("7", "0", "1", "1")
    assert float(last["time"]) == pytest.approx(7 / FPS, rel=1e-5)
    assert float(last["ttc"]) == pytest.approx(depth[7, 0] / 5, rel=1e-4)
    assert float(last["low"]) < float(last["ttc"]) < float(last["high"])
    assert rows[15]["closing_rate"] == rows[15]["ttc"] == rows[15]["high"] == ""


def paint(speeds, warn=None, index=20):
    depth = depth_at_constant_speed(speeds, frames=index + 5)
    tracks = tracks_of(np.log(depth / depth[0]))
    found = time_to_contact(tracks, frame_times(len(depth), FPS))
    warned = None if warn is None else found.warnings(warn, tracks.tracks.visible)
    painter = ContactPainter(tracks.tracks, found, 160, 120, warned)
    frame = np.full((120, 160, 3), 90, np.uint8)
    return painter.paint(frame, index), frame


def test_soon_is_red_and_late_is_blue():
    soon, late = contact_scale().colours(np.log([0.5, 20.0]))
    assert soon[0] > 2 * soon[2]
    assert late[2] > late[0]
    picture, _ = paint([11.0, 0.0])  # contact in 0.24 s; never
    red, grey = picture[20, 20].astype(int), picture[100, 140].astype(int)
    assert red[0] - red[2] > 100
    assert np.ptp(grey) < 30


def test_the_banner_shows_only_while_there_is_a_warning():
    quiet, frame = paint([10.0, 0.0])
    loud, _ = paint([10.0, 0.0], warn=2.0)
    np.testing.assert_array_equal(quiet[0, 0], frame[0, 0])
    assert loud[0, 0, 0] > 150
    assert loud[0, 0, 1] < 60
    np.testing.assert_array_equal(paint([0.0, 0.0], warn=2.0)[0][0, 0], frame[0, 0])


def test_painting_leaves_the_frame_alone_and_fits_tiny_frames():
    picture, frame = paint([6.0, 3.0], warn=5.0)
    assert (frame == 90).all()
    assert picture.shape == frame.shape
    depth = depth_at_constant_speed([6.0])
    tracks = tracks_of(np.log(depth / depth[0]))
    found = time_to_contact(tracks, frame_times(len(depth), FPS))
    warned = found.warnings(5.0, tracks.tracks.visible)
    tiny = ContactPainter(tracks.tracks, found, 24, 16, warned)
    assert tiny.paint(np.zeros((16, 24, 3), np.uint8), 30).shape == (16, 24, 3)
