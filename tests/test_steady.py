"""Flicker taken out of depth: closed-form scenes, what has to stay as it is, and bad input."""

import dataclasses
import functools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from steady_scenes import (
    FRAMES,
    HEIGHT,
    WIDTH,
    abs_rel,
    flicker,
    frame_noise,
    numbered_video,
    regional_noise,
    steadied,
    tracks_over,
    true_depth,
)

from kinedepth.anchoring.readings import DepthReadings
from kinedepth.depth import DepthVideo
from kinedepth.errors import KinedepthError
from kinedepth.steadying.field import FlickerField
from kinedepth.steadying.fit import fit_flicker
from kinedepth.steadying.steadier import Steadier, flicker_of_block, steady_depth
from kinedepth.tracks import Tracks

# What it does


def test_a_scale_that_differs_from_frame_to_frame_is_removed():
    truth = true_depth()
    noisy = truth * np.exp(frame_noise(0.1))
    result = steadied(noisy, tracks_over(truth))
    assert flicker(result, truth) < 0.05 * flicker(noisy, truth)
    assert abs_rel(result, truth) < 0.5 * abs_rel(noisy, truth)


def test_a_scale_that_differs_from_region_to_region_is_mostly_removed():
    truth = true_depth()
    noisy = truth * np.exp(regional_noise(0.08) + frame_noise(0.05))
    result = steadied(noisy, tracks_over(truth))
    assert flicker(result, truth) < 0.25 * flicker(noisy, truth)
    assert abs_rel(result, truth) < 0.5 * abs_rel(noisy, truth)


def test_ratios_that_drift_by_little_do_not_hinder():
    truth = true_depth()
    noisy = truth * np.exp(regional_noise(0.08) + frame_noise(0.05))
    result = steadied(noisy, tracks_over(truth, ratio_noise=0.005))
    assert flicker(result, truth) < 0.35 * flicker(noisy, truth)


def test_a_single_frame_that_is_off_is_put_right_and_others_stay():
    truth = true_depth()
    noisy = truth.copy()
    noisy[11] *= 1.3
    result = steadied(noisy, tracks_over(truth))
    np.testing.assert_allclose(result[11], truth[11], rtol=0.03)
    np.testing.assert_allclose(np.delete(result, 11, 0), np.delete(truth, 11, 0), rtol=0.02)


def test_what_is_near_does_not_take_the_correction_of_what_is_behind():
    truth = true_depth()
    error = np.zeros_like(truth)
    near = truth[0] < 3
    error[:, near] = frame_noise(0.1)[:, :, 0]
    noisy = truth * np.exp(error)
    result = steadied(noisy, tracks_over(truth))
    assert flicker(result[:, near], truth[:, near]) < 0.2 * 0.1 * np.sqrt(2)
    assert flicker(result[:, ~near], truth[:, ~near]) < 0.02


def test_tracks_that_are_wrong_do_not_lead_astray():
    truth = true_depth()
    noisy = truth * np.exp(frame_noise(0.1))
    tracks = tracks_over(truth)
    log_ratio = tracks.log_ratio.copy()
    wrong = np.random.default_rng(3).permutation(log_ratio.shape[1])[::5]
    log_ratio[:, wrong] += np.random.default_rng(4).normal(0, 0.5, log_ratio[:, wrong].shape)
    result = steadied(noisy, dataclasses.replace(tracks, log_ratio=log_ratio))
    assert flicker(result, truth) < 0.15 * flicker(noisy, truth)


# What has to stay as it is


def test_steady_depth_stays_as_it_is():
    truth = true_depth()
    result = steadied(truth, tracks_over(truth, ratio_noise=0.005))
    np.testing.assert_allclose(result, truth, rtol=0.01)


def test_a_slow_error_stays_because_nobody_knows_who_drifts():
    truth = true_depth()
    slow = truth * np.exp(0.2 * np.sin(np.linspace(0, np.pi, FRAMES)))[:, None, None]
    result = steadied(slow, tracks_over(truth, ratio_noise=0.005))
    assert np.abs(np.log(result / slow)).max() < 0.06


def test_what_is_taken_out_has_mean_zero_over_time():
    truth = true_depth()
    noisy = truth * np.exp(frame_noise(0.1) + regional_noise(0.05))
    field = flicker_of_block(tracks_over(truth), noisy.astype(np.float32), "metric")
    assert abs(field.frame.mean()) < 1e-3
    assert np.abs(field.region.mean(axis=0)).max() < 0.01


def test_without_a_visible_point_depth_stays_as_it_is():
    truth = true_depth()
    noisy = (truth * np.exp(frame_noise(0.1))).astype(np.float32)
    tracks = tracks_over(truth)
    hidden = np.zeros_like(tracks.tracks.visible)
    hidden_tracks = dataclasses.replace(
        tracks, tracks=Tracks(tracks.tracks.xy, hidden, tracks.tracks.query_frame)
    )
    np.testing.assert_array_equal(steadied(noisy, hidden_tracks), noisy)


def test_where_only_one_corner_has_points_the_rest_is_corrected_as_a_whole():
    truth = true_depth()
    noisy = truth * np.exp(frame_noise(0.1))
    tracks = tracks_over(truth)
    corner = (tracks.tracks.xy[0] < (60, 40)).all(axis=1)
    visible = np.broadcast_to(corner, tracks.tracks.visible.shape)
    few = dataclasses.replace(
        tracks, tracks=Tracks(tracks.tracks.xy, visible, tracks.tracks.query_frame)
    )
    result = steadied(noisy, few)
    assert flicker(result, truth) < 0.1 * flicker(noisy, truth)
    changes = np.log(result / noisy)[:, 80:, 120:]
    np.testing.assert_allclose(changes, changes[:, :1, :1] + 0 * changes, atol=0.01)


def test_pixels_without_depth_stay_without():
    truth = true_depth()
    noisy = truth * np.exp(frame_noise(0.1))
    noisy[:, :20, :20] = 0
    noisy[:, 50, 50] = np.nan
    result = steadied(noisy, tracks_over(truth))
    assert (result[:, :20, :20] == 0).all()
    assert np.isnan(result[:, 50, 50]).all()
    assert np.isfinite(np.delete(result.reshape(FRAMES, -1), 50 * WIDTH + 50, axis=1)).all()


@functools.cache
def noisy_example():
    truth = true_depth(12)
    noisy = truth * np.exp(frame_noise(0.1, 12) + regional_noise(0.05, 12))
    tracks = tracks_over(truth, spacing=12)
    return noisy, tracks, steadied(noisy, tracks)


@settings(max_examples=4, deadline=None)
@given(st.floats(1e-3, 1e3))
def test_depth_in_another_unit_gives_the_same_in_that_unit(unit):
    noisy, tracks, plain = noisy_example()
    np.testing.assert_allclose(steadied(unit * noisy, tracks), unit * plain, rtol=1e-3)


# Bad input


@pytest.mark.parametrize("kind", ["affine_invariant", "affine_invariant_disparity"])
def test_depth_known_up_to_a_shift_is_refused(kind):
    depth = DepthVideo(np.ones((4, HEIGHT, WIDTH), np.float32), kind, 25.0, True)
    with pytest.raises(KinedepthError, match="known up to a shift, so"):
        steady_depth(numbered_video(4), depth)
    readings = DepthReadings(np.ones((4, 3), np.float32), np.zeros((4, 3), np.float32), kind)
    with pytest.raises(KinedepthError, match="no ratios"):
        fit_flicker(tracks_over(true_depth(4)), readings)


def test_depth_of_other_frames_is_told():
    depth = DepthVideo(np.ones((5, HEIGHT, WIDTH), np.float32), "metric", 25.0)
    with pytest.raises(KinedepthError, match="depth of 5 frames, but the video has 4"):
        steady_depth(numbered_video(4), depth)


def test_readings_of_other_tracks_are_told():
    readings = DepthReadings(np.ones((4, 3), np.float32), np.zeros((4, 3), np.float32), "metric")
    with pytest.raises(KinedepthError, match="do not belong"):
        fit_flicker(tracks_over(true_depth(4)), readings)


def test_a_frame_that_is_not_there_is_told(tmp_path):
    truth = true_depth(4).astype(np.float32)
    steadier = Steadier(numbered_video(4), lambda a, b: truth[a:b], "metric", tmp_path)
    with pytest.raises(KinedepthError, match="Frame 4 was asked for"):
        steadier.log_factor(4, truth[0])


def test_a_file_that_is_no_field_is_told(tmp_path):
    np.savez(tmp_path / "field.npz", start=np.array(0))
    with pytest.raises(KinedepthError, match="holds no flicker"):
        FlickerField.load(tmp_path / "field.npz")
