"""Scales of tracks on surfaces of known depth, anchored to sources that err."""

import weakref

import numpy as np
import pytest
from anchoring_scenes import (
    CAMERA,
    FRAMES,
    HEIGHT,
    SIZE,
    WIDTH,
    depth_of,
    hidden_between,
    plane,
    readings,
    scene,
)
from hypothesis import given, settings
from hypothesis import strategies as st

from kinedepth.anchoring import anchor_tracks, read_depth
from kinedepth.errors import KinedepthError
from kinedepth.tracks import GUESSED_SCALE_STD, Tracks, Tracks3D

both_fits = pytest.mark.parametrize("fit", ["robust", "paper"])


class TestReading:
    def test_depth_is_read_between_pixel_centres(self):
        lifted = scene()
        found = read_depth(map(plane, range(FRAMES)), lifted.tracks, SIZE, "metric")
        assert np.allclose(found.value, depth_of(lifted.tracks), rtol=1e-5)

    @pytest.mark.parametrize(("width", "height"), [(80, 60), (320, 240), (200, 120)])
    def test_depth_of_another_size_is_read_at_the_same_places(self, width, height):
        lifted = scene()
        frames = (plane(t, width, height) for t in range(FRAMES))
        found = read_depth(frames, lifted.tracks, SIZE, "metric")
        assert np.allclose(found.value, depth_of(lifted.tracks), rtol=1e-5)

    @pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf, 0.0, -3.0])
    def test_what_is_no_depth_is_passed_over(self, bad):
        depth = np.full((HEIGHT, WIDTH), 5.0, np.float32)
        depth[:, :80] = bad
        xy = np.array([[[20.0, 50.0], [80.2, 50.0], [120.0, 50.0]]])
        tracks = Tracks(xy, np.ones((1, 3), bool), np.array(0))
        value = read_depth([depth], tracks, SIZE, "metric").value[0]
        assert np.isnan(value[0])
        assert value[1] == value[2] == pytest.approx(5.0)

    def test_zero_and_below_are_values_where_a_shift_is_unknown(self):
        depth = np.full((HEIGHT, WIDTH), -3.0, np.float32)
        tracks = Tracks(np.full((1, 1, 2), 40.0), np.ones((1, 1), bool), np.array(0))
        found = read_depth([depth], tracks, SIZE, "affine_invariant_disparity")
        assert found.value[0, 0] == -3.0

    def test_hidden_points_are_not_read(self):
        lifted = scene(visible=hidden_between(5, 9, 3))
        found = read_depth(map(plane, range(FRAMES)), lifted.tracks, SIZE, "metric")
        assert np.array_equal(np.isfinite(found.value), lifted.tracks.visible)

    def test_a_frame_in_which_no_point_is_seen_has_no_reading(self):
        visible = np.ones((FRAMES, 49), bool)
        visible[2] = False
        found = read_depth(map(plane, range(FRAMES)), scene(visible=visible).tracks, SIZE, "metric")
        assert np.isnan(found.value[2]).all()
        assert np.isfinite(found.value[3]).all()

    def test_points_at_the_very_border_are_read(self):
        xy = np.array([[[0.0, 0.0], [WIDTH, HEIGHT], [WIDTH, 0.0]]])
        tracks = Tracks(xy, np.ones((1, 3), bool), np.array(0))
        depth = np.full((HEIGHT, WIDTH), 2.0, np.float32)
        assert np.array_equal(read_depth([depth], tracks, SIZE, "metric").value, [[2.0] * 3])

    def test_an_edge_makes_a_reading_uncertain(self):
        depth = np.full((HEIGHT, WIDTH), 2.0, np.float32)
        depth[:, 80:] = 6.0
        xy = np.array([[[40.0, 50.0], [79.0, 50.0]]])
        tracks = Tracks(xy, np.ones((1, 2), bool), np.array(0))
        assert read_depth([depth], tracks, SIZE, "metric").spread[0].tolist() == [0.0, 2.0]

    @pytest.mark.parametrize("frames", [FRAMES - 1, FRAMES + 1])
    def test_depth_of_another_length_is_told(self, frames):
        with pytest.raises(KinedepthError, match="same frames"):
            read_depth(map(plane, range(frames)), scene().tracks, SIZE, "metric")

    def test_frames_are_let_go_of_as_they_stream(self):
        alive: list[weakref.ref] = []
        most = 0

        def stream():
            nonlocal most
            for t in range(FRAMES):
                frame = plane(t)
                alive.append(weakref.ref(frame))
                yield frame
                del frame
                most = max(most, sum(reference() is not None for reference in alive))

        read_depth(stream(), scene().tracks, SIZE, "metric")
        assert most <= 2


class TestBothFits:
    @both_fits
    @pytest.mark.parametrize("query_frame", [0, 11])
    def test_exact_depth_makes_exact_tracks(self, fit, query_frame):
        lifted = scene(query_frame=query_frame)
        found = read_depth(map(plane, range(FRAMES)), lifted.tracks, SIZE, "metric")
        anchored = anchor_tracks(lifted, found, fit)
        expected = CAMERA.unproject(lifted.tracks.xy, depth_of(lifted.tracks))
        assert np.allclose(anchored.tracks.xyz, expected, rtol=1e-4)
        assert np.allclose(anchored.tracks.log_ratio, lifted.log_ratio, atol=1e-5)
        assert anchored.tracks.metric
        assert not anchored.reason

    @both_fits
    @given(factor=st.floats(1e-3, 1e3), seed=st.integers(0, 100))
    @settings(max_examples=15, deadline=None)
    def test_a_source_in_another_unit_gives_the_same_tracks_in_that_unit(self, fit, factor, seed):
        lifted = scene(5)
        noise = np.random.default_rng(seed).normal(0, 0.1, lifted.log_ratio.shape)
        value = depth_of(lifted.tracks) * np.exp(noise)
        one = anchor_tracks(lifted, readings(lifted, value), fit).tracks
        other = anchor_tracks(lifted, readings(lifted, value * factor), fit).tracks
        assert np.allclose(other.depth, factor * one.depth, rtol=1e-4)

    @both_fits
    def test_the_order_of_the_points_does_not_matter(self, fit):
        lifted = scene(visible=hidden_between(5, 9, 3))
        rng = np.random.default_rng(1)
        value = depth_of(lifted.tracks) * np.exp(rng.normal(0, 0.1, lifted.log_ratio.shape))
        order = rng.permutation(49)
        tracks = lifted.tracks
        shuffled = Tracks3D(
            lifted.xyz[:, order],
            lifted.log_ratio[:, order],
            Tracks(tracks.xy[:, order], tracks.visible[:, order], tracks.query_frame[order]),
            CAMERA,
        )
        one = anchor_tracks(lifted, readings(lifted, value), fit).tracks
        other = anchor_tracks(shuffled, readings(shuffled, value[:, order]), fit).tracks
        assert np.allclose(other.depth, one.depth[:, order], rtol=1e-4)

    @both_fits
    def test_a_track_that_is_never_seen_gets_a_guess_and_says_so(self, fit):
        lifted = scene(visible=hidden_between(0, FRAMES, 24))
        anchored = anchor_tracks(lifted, readings(lifted, depth_of(lifted.tracks)), fit)
        std = anchored.tracks.log_scale_std
        assert std[24] == GUESSED_SCALE_STD
        assert (np.delete(std, 24) < 0.1).all()
        assert anchored.facts["tracks_without_depth"] == 1
        expected = depth_of(lifted.tracks)[:, 24]
        assert np.allclose(anchored.tracks.depth[:, 24], expected, rtol=0.2)

    @both_fits
    def test_a_track_that_is_seen_once_has_the_depth_it_is_seen_at(self, fit):
        visible = hidden_between(1, FRAMES, 10)
        lifted = scene(visible=visible)
        anchored = anchor_tracks(lifted, readings(lifted, depth_of(lifted.tracks)), fit)
        assert np.allclose(anchored.tracks.depth, depth_of(lifted.tracks), rtol=1e-3)

    @both_fits
    def test_a_single_track_can_be_anchored(self, fit):
        lifted = scene(1)
        anchored = anchor_tracks(lifted, readings(lifted, depth_of(lifted.tracks)), fit)
        assert np.allclose(anchored.tracks.depth, depth_of(lifted.tracks), rtol=1e-4)

    @both_fits
    def test_frames_without_any_reading_are_bridged(self, fit):
        lifted = scene()
        value = depth_of(lifted.tracks)
        value[6:9] = np.nan
        anchored = anchor_tracks(lifted, readings(lifted, value), fit)
        assert np.allclose(anchored.tracks.depth, depth_of(lifted.tracks), rtol=1e-4)


class TestPaper:
    def test_the_scale_is_the_median_of_depth_over_the_median_of_ratios(self):
        lifted = scene(1)
        value = depth_of(lifted.tracks) * np.exp(
            np.random.default_rng(0).normal(0, 0.3, (FRAMES, 1))
        )
        anchored = anchor_tracks(lifted, readings(lifted, value), "paper")
        ratio = np.exp(lifted.log_ratio)
        expected = np.median(value) / np.median(ratio) * ratio
        assert np.allclose(anchored.tracks.depth, expected, rtol=1e-5)

    def test_each_visible_run_has_its_own_scale_and_hidden_frames_hold_the_last(self):
        lifted = scene(visible=hidden_between(10, 14, 5))
        value = depth_of(lifted.tracks)
        value[14:, 5] *= 1.5
        depth = anchor_tracks(lifted, readings(lifted, value), "paper").tracks.depth[:, 5]
        factor = depth / depth_of(lifted.tracks)[:, 5]
        assert np.allclose(factor[:14], 1.0, rtol=1e-4)
        assert np.allclose(factor[14:], 1.5, rtol=1e-4)


class TestRobust:
    def test_flicker_of_the_source_is_taken_out(self):
        # Tracks are seen in different frames, so that no median over time takes it out alone.
        rng = np.random.default_rng(3)
        visible = np.ones((FRAMES, 49), bool)
        for n in range(49):
            start = rng.integers(0, FRAMES - 8)
            visible[:, n] = False
            visible[start : start + 8, n] = True
        lifted = scene(visible=visible, query_frame=visible.argmax(0))
        flicker = np.exp(rng.normal(0, 0.1, (FRAMES, 1)))
        source = readings(lifted, depth_of(lifted.tracks) * flicker)

        def spread(fit):
            tracks = anchor_tracks(lifted, source, fit).tracks
            error = np.log(tracks.depth / depth_of(lifted.tracks))[0]
            return error.std()

        assert spread("robust") < 0.005
        assert spread("paper") > 0.02

    def test_flicker_is_told(self):
        lifted = scene()
        flicker = np.exp(np.random.default_rng(0).normal(0, 0.1, (FRAMES, 1)))
        found = anchor_tracks(lifted, readings(lifted, depth_of(lifted.tracks) * flicker))
        assert found.facts["flicker"] == pytest.approx(np.log(flicker).std(), rel=0.5)

    def test_depth_does_not_jump_where_a_point_is_hidden_for_a_moment(self):
        lifted = scene(visible=hidden_between(18, 20, 5))
        value = depth_of(lifted.tracks)
        value[20:, 5] *= 1.25  # The source is off for the few frames that remain.

        def jump(fit):
            depth = anchor_tracks(lifted, readings(lifted, value), fit).tracks.depth[:, 5]
            factor = np.log(depth / depth_of(lifted.tracks)[:, 5])
            return abs(factor[20] - factor[17])

        assert jump("robust") < 1e-4
        assert jump("paper") > 0.2

    def test_a_track_that_comes_back_on_another_surface_changes_its_scale(self):
        lifted = scene(visible=hidden_between(10, 14, 5))
        value = depth_of(lifted.tracks)
        value[14:, 5] *= 2.0
        anchored = anchor_tracks(lifted, readings(lifted, value))
        factor = anchored.tracks.depth[:, 5] / depth_of(lifted.tracks)[:, 5]
        assert anchored.facts["changes_of_scale"] == 1
        assert factor[14:] / factor[:10].mean() == pytest.approx(2.0, rel=0.01)
        assert (np.diff(factor[9:15]) > 0).all()  # It goes over while the point is hidden.
        ratio = anchored.tracks.depth[:, 5] / anchored.tracks.depth[0, 5]
        assert np.allclose(np.log(ratio), anchored.tracks.log_ratio[:, 5], atol=1e-5)

    def test_a_third_of_wild_readings_does_no_harm(self):
        lifted = scene()
        rng = np.random.default_rng(2)
        value = depth_of(lifted.tracks)
        value[rng.random(value.shape) < 0.3] *= 3.0
        depth = anchor_tracks(lifted, readings(lifted, value)).tracks.depth
        assert np.abs(np.log(depth / depth_of(lifted.tracks))).max() < 0.02

    def test_neighbours_that_move_alike_put_a_badly_read_track_right(self):
        lifted = scene(visible=hidden_between(2, FRAMES, 24))
        value = depth_of(lifted.tracks)
        value[:2, 24] *= np.array([2.5, 0.9])
        depth = anchor_tracks(lifted, readings(lifted, value)).tracks.depth[0, 24]
        own = np.log(value[:2, 24] / depth_of(lifted.tracks)[:2, 24]).mean()
        assert abs(np.log(depth / depth_of(lifted.tracks)[0, 24])) < 0.5 * abs(own)

    def test_uncertain_ratios_count_less(self):
        lifted = scene()
        wrong = lifted.log_ratio.copy()
        wrong[8:] += 0.3  # Ratios drift once and say so.
        std = np.where(np.arange(FRAMES)[:, None] < 8, 0.01, 0.3) * np.ones_like(wrong)
        # A flicker that all tracks share would take the drift up; only some tracks drift.
        wrong[:, ::3] = lifted.log_ratio[:, ::3]
        drifted = Tracks3D(lifted.xyz, wrong, lifted.tracks, CAMERA)
        knowing = Tracks3D(
            lifted.xyz, wrong, lifted.tracks, CAMERA, log_ratio_std=std.astype(np.float32)
        )
        source = readings(lifted, depth_of(lifted.tracks))

        def error(tracks):
            depth = anchor_tracks(tracks, source).tracks.depth[0]
            return np.abs(np.log(depth / depth_of(lifted.tracks)[0])).max()

        assert error(knowing) < 0.5 * error(drifted)
