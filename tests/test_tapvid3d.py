"""TAPVid-3D metrics: closed-form cases, what must not matter, and what is refused."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tapvid3d_small_clips import CAMERA, clip, exact, still

from kinedepth.errors import KinedepthError
from kinedepth.evaluation.tapvid3d import (
    METRE_THRESHOLDS,
    PIXEL_THRESHOLDS,
    average_scores,
    score_clip,
    temporal_coherence,
)
from kinedepth.evaluation.tapvid3d_clips import ClipPrediction, ClipTruth
from kinedepth.evaluation.tapvid3d_scaling import SCALINGS, fit_affine_depth

# Closed-form cases


@pytest.mark.parametrize("scaling", SCALINGS)
@pytest.mark.parametrize("thresholds", ["adaptive", "fixed"])
def test_a_perfect_prediction_scores_one(scaling, thresholds):
    truth, _ = clip()
    scores = score_clip(truth, exact(truth), scaling, thresholds)
    assert scores.pop("temporal_coherence") == pytest.approx(0, abs=1e-12)
    assert scores == dict.fromkeys(scores, 1.0)


@pytest.mark.parametrize("scaling", SCALINGS)
def test_every_scaling_but_none_undoes_a_factor_of_the_whole_clip(scaling):
    truth, _ = clip()
    scores = score_clip(truth, replace(exact(truth), xyz=truth.xyz * 3), scaling)
    assert scores["average_jaccard"] == (0.0 if scaling == "none" else 1.0)


def test_only_scalings_of_tracks_or_points_undo_a_factor_of_each_track():
    truth, _ = clip()
    factors = np.linspace(0.3, 3, truth.xyz.shape[1])
    # Neighbours get factors of their own, so that one cannot stand in for another.
    prediction = replace(exact(truth), xyz=truth.xyz * factors[:, None])
    jaccard = {s: score_clip(truth, prediction, s)["average_jaccard"] for s in SCALINGS}
    assert {s for s, value in jaccard.items() if value == 1} == {"per_trajectory", "reproduce_2d"}


def test_a_local_neighborhood_has_to_share_one_factor():
    truth, _ = clip()
    group = np.arange(truth.xyz.shape[1]) // 3
    factors = np.linspace(0.3, 3, group.max() + 1)[group]
    prediction = replace(exact(truth), xyz=truth.xyz * factors[:, None])
    assert score_clip(truth, prediction, "local_neighborhood")["average_jaccard"] == 1
    assert score_clip(truth, prediction, "median")["average_jaccard"] < 0.5


def test_where_all_points_are_far_apart_a_neighborhood_is_one_trajectory():
    truth, prediction = clip()
    far = np.arange(0, truth.xyz.shape[1], 3)
    truth = ClipTruth(truth.xyz[:, far], truth.visible[:, far], truth.queries_xyt[far], CAMERA)
    prediction = ClipPrediction(prediction.xyz[:, far], prediction.visible[:, far])
    local = score_clip(truth, prediction, "local_neighborhood")
    assert local == pytest.approx(score_clip(truth, prediction, "per_trajectory"), rel=1e-12)


def test_a_track_that_is_hidden_in_the_query_frame_is_no_neighbour():
    truth = still(points=2)
    xyz = truth.xyz.copy()
    xyz[:, 1] = xyz[:, 0] + 0.01
    queries = np.array([[0.0, 0, 0], [0, 0, 1]])
    visible = truth.visible.copy()
    truth = ClipTruth(xyz, visible, queries, CAMERA)
    prediction = ClipPrediction(xyz * np.array([1.0, 2.0])[:, None], visible)
    # Each track serves itself and spoils the other: four pairs of tracks, two of them right.
    assert score_clip(truth, prediction, "local_neighborhood")["points_within"] == 0.5
    visible[0, 1] = False
    truth = replace(truth, visible=visible)
    # Now three: 4 + 3 frames right of 4 + (3 + 4).
    assert score_clip(truth, prediction, "local_neighborhood")["points_within"] == 7 / 11


@pytest.mark.parametrize("k", PIXEL_THRESHOLDS)
@pytest.mark.parametrize("size", [(340, 256), (680, 512), (256, 340)])
def test_adaptive_thresholds_are_pixels_of_an_image_with_a_shorter_side_of_256(k, size):
    truth = replace(still(depth=3.0), intrinsics=CAMERA.scaled_to(*size))
    camera = truth.intrinsics
    focal = np.sqrt(camera.fx * camera.fy) * 256 / min(size)
    for share, expected in ((0.999, 1.0), (1.001, 0.0)):
        xyz = truth.xyz + np.array([0, share * k * 3.0 / focal, 0])
        scores = score_clip(truth, ClipPrediction(xyz, truth.visible), "none")
        assert scores[f"points_within_{k}"] == scores[f"jaccard_{k}"] == expected


@pytest.mark.parametrize(("k", "metres"), METRE_THRESHOLDS.items())
def test_fixed_thresholds_are_metres_whatever_the_depth(k, metres):
    for depth in (1.0, 50.0):
        truth = still(depth)
        for share, expected in ((0.999, 1.0), (1.001, 0.0)):
            xyz = truth.xyz + np.array([0, 0, share * metres])
            scores = score_clip(truth, ClipPrediction(xyz, truth.visible), "none", "fixed")
            assert scores[f"points_within_{k}"] == scores[f"jaccard_{k}"] == expected


def test_false_positives_lower_the_jaccard_but_not_the_share_within():
    truth = still(frames=4, points=5)
    hidden = truth.visible.copy()
    hidden[3] = False
    truth = replace(truth, visible=hidden)
    scores = score_clip(truth, ClipPrediction(truth.xyz, np.ones((4, 5), bool)))
    assert scores["points_within"] == 1
    assert scores["average_jaccard"] == 15 / 20  # Found: 15. Asked for: 15, and 5 made up.
    assert scores["occlusion_accuracy"] == 15 / 20


def test_a_visible_point_in_the_wrong_place_is_both_missed_and_made_up():
    truth = still(frames=4, points=5)
    xyz = truth.xyz.copy()
    xyz[:, 0] += 10
    scores = score_clip(truth, ClipPrediction(xyz, truth.visible), "none")
    assert scores["points_within"] == 16 / 20
    assert scores["average_jaccard"] == 16 / 24


def test_a_point_said_to_be_hidden_is_missed_but_not_made_up():
    truth = still(frames=4, points=5)
    visible = truth.visible.copy()
    visible[:, 0] = False
    scores = score_clip(truth, ClipPrediction(truth.xyz, visible))
    assert scores["points_within"] == 1
    assert scores["average_jaccard"] == scores["occlusion_accuracy"] == 16 / 20


def test_reproduce_2d_forgives_depth_but_not_the_pixel():
    truth, _ = clip()
    wobble = np.exp(np.random.default_rng(1).normal(size=(*truth.visible.shape, 1)))
    on_the_ray = ClipPrediction(truth.xyz * wobble, truth.visible)
    assert score_clip(truth, on_the_ray, "reproduce_2d")["average_jaccard"] == 1
    beside = ClipPrediction(truth.xyz * wobble + (1.0, 0, 0), truth.visible)
    assert score_clip(truth, beside, "reproduce_2d")["average_jaccard"] < 0.5


def test_median_on_queries_looks_at_query_frames_alone():
    truth, _ = clip()
    xyz = truth.xyz * 5
    query = (truth.query_frame, np.arange(len(truth.query_frame)))
    xyz[query] = truth.xyz[query] * 2
    prediction = ClipPrediction(xyz, truth.visible)
    assert score_clip(truth, prediction, "median")["points_within"] > 0.5
    by_queries = score_clip(truth, prediction, "median_on_queries")["points_within"]
    assert by_queries == pytest.approx(truth.xyz.shape[1] / truth.visible.sum())


def test_affine_undoes_a_scale_and_a_shift_of_depth_along_the_viewing_rays():
    truth, _ = clip()
    depth = truth.xyz[..., 2:]
    predicted = (depth - 0.7) / 2.5
    prediction = ClipPrediction(truth.xyz / depth * predicted, truth.visible)
    fit = fit_affine_depth(truth, prediction)
    assert (fit.scale, fit.shift) == pytest.approx((2.5, 0.7))
    scores = score_clip(truth, prediction, "affine")
    assert scores["average_jaccard"] == 1
    assert scores["temporal_coherence"] == pytest.approx(0, abs=1e-9)
    assert score_clip(truth, prediction, "median")["average_jaccard"] < 0.9


def test_the_affine_fit_is_least_squares_over_truly_visible_points():
    truth, prediction = clip()
    xyz = np.where(truth.visible[..., None], prediction.xyz, 99.0)
    fit = fit_affine_depth(truth, ClipPrediction(xyz, ~truth.visible))
    z = xyz[truth.visible, 2]
    expected = np.linalg.lstsq(
        np.column_stack([z, np.ones_like(z)]), truth.xyz[truth.visible, 2], rcond=None
    )[0]
    assert (fit.scale, fit.shift) == pytest.approx(tuple(expected))


def test_the_affine_fit_of_a_constant_depth_is_the_mean_true_depth():
    truth, _ = clip()
    xyz = truth.xyz / truth.xyz[..., 2:] * 0.1
    fit = fit_affine_depth(truth, ClipPrediction(xyz, truth.visible))
    assert (fit.scale, fit.shift) == (0, pytest.approx(truth.xyz[truth.visible, 2].mean()))


def test_temporal_coherence_is_the_distance_between_accelerations():
    truth = still(frames=6)
    time = np.arange(6.0)[:, None, None]
    steady = ClipPrediction(truth.xyz + time * np.array([0.1, 0, -0.2]), truth.visible)
    assert temporal_coherence(truth, steady, "none") == pytest.approx(0, abs=1e-12)
    falling = ClipPrediction(truth.xyz + 0.5 * time**2 * np.array([0.03, 0.04, 0]), truth.visible)
    assert temporal_coherence(truth, falling, "none") == pytest.approx(0.05)


def test_temporal_coherence_counts_only_points_visible_in_three_frames_in_a_row():
    truth = still(frames=7)
    visible = truth.visible.copy()
    visible[3, 0] = False
    truth = replace(truth, visible=visible)
    xyz = truth.xyz.copy()
    xyz[3, 0] += 100
    prediction = ClipPrediction(xyz, np.ones_like(visible))
    assert temporal_coherence(truth, prediction, "none") == 0


def test_temporal_coherence_is_taken_after_scaling():
    truth, prediction = clip()
    doubled = replace(prediction, xyz=prediction.xyz * 2)
    assert temporal_coherence(truth, doubled) == pytest.approx(
        temporal_coherence(truth, prediction)
    )
    both = score_clip(truth, prediction)["temporal_coherence"]
    assert both == temporal_coherence(truth, prediction)


def test_a_clip_of_two_frames_has_scores_but_no_temporal_coherence():
    truth = still(frames=2)
    assert np.isnan(score_clip(truth, exact(truth))["temporal_coherence"])
    with pytest.raises(KinedepthError, match="three frames in a row"):
        temporal_coherence(truth, exact(truth))


def test_a_track_without_depth_at_its_query_is_never_close():
    truth = still(depth=1.0, frames=4, points=5)
    xyz = truth.xyz.copy()
    xyz[0, 2] = 0
    prediction = ClipPrediction(xyz, truth.visible)
    for scaling in ("per_trajectory", "local_neighborhood"):
        assert score_clip(truth, prediction, scaling, "fixed")["points_within_16"] == 16 / 20
    assert score_clip(truth, prediction, "reproduce_2d", "fixed")["points_within_16"] == 19 / 20


def test_unknown_positions_of_hidden_points_change_nothing():
    truth, prediction = clip()
    xyz = np.where(truth.visible[..., None], truth.xyz, np.nan)
    for scaling in SCALINGS:
        known = score_clip(truth, prediction, scaling)
        assert score_clip(replace(truth, xyz=xyz), prediction, scaling) == known


# What must not matter


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10_000), scaling=st.sampled_from(SCALINGS))
def test_the_order_of_points_does_not_matter(seed, scaling):
    truth, prediction = clip(seed)
    order = np.random.default_rng(seed).permutation(truth.xyz.shape[1])
    shuffled = ClipTruth(
        truth.xyz[:, order], truth.visible[:, order], truth.queries_xyt[order], CAMERA
    )
    predicted = ClipPrediction(prediction.xyz[:, order], prediction.visible[:, order])
    expected = score_clip(truth, prediction, scaling)
    assert score_clip(shuffled, predicted, scaling) == pytest.approx(expected, abs=1e-12)


@settings(max_examples=25, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    factor=st.floats(1e-3, 1e3),
    scaling=st.sampled_from([s for s in SCALINGS if s != "none"]),
    thresholds=st.sampled_from(["adaptive", "fixed"]),
)
def test_the_unit_of_the_prediction_does_not_matter(seed, factor, scaling, thresholds):
    truth, prediction = clip(seed)
    expected = score_clip(truth, prediction, scaling, thresholds)
    scaled = replace(prediction, xyz=prediction.xyz * factor)
    assert score_clip(truth, scaled, scaling, thresholds) == pytest.approx(expected, abs=1e-9)


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10_000), error=st.floats(0, 1), scaling=st.sampled_from(SCALINGS))
def test_shares_lie_between_zero_and_one_and_grow_with_the_threshold(seed, error, scaling):
    scores = score_clip(*clip(seed, error=error), scaling)
    for name in ("jaccard", "points_within"):
        values = [scores[f"{name}_{k}"] for k in PIXEL_THRESHOLDS]
        assert values == sorted(values)
        assert values[0] >= 0
        assert values[-1] <= 1
    assert 0 <= scores["occlusion_accuracy"] <= 1
    assert scores["average_jaccard"] <= scores["points_within"]


# Averages


def test_an_average_weighs_every_clip_the_same_and_skips_missing_coherence():
    scores = [
        {"average_jaccard": 0.2, "temporal_coherence": float("nan")},
        {"average_jaccard": 0.4, "temporal_coherence": 0.1},
    ]
    assert average_scores(scores) == pytest.approx(
        {"average_jaccard": 0.3, "temporal_coherence": 0.1}
    )
    assert np.isnan(average_scores(scores[:1])["temporal_coherence"])


def test_nothing_and_unlike_scores_are_not_averaged():
    with pytest.raises(KinedepthError, match="no scores"):
        average_scores([])
    with pytest.raises(KinedepthError, match="names differ"):
        average_scores([{"a": 1.0}, {"b": 1.0}])


# What is refused


def test_a_clip_in_which_nothing_is_visible_is_refused():
    truth = replace(still(), visible=np.zeros((4, 5), bool))
    for measure in (score_clip, temporal_coherence, fit_affine_depth):
        with pytest.raises(KinedepthError, match="nothing to score"):
            measure(truth, exact(truth))


@pytest.mark.parametrize("scaling", ["median", "mean", "median_on_queries"])
def test_a_prediction_that_gives_no_scale_is_refused(scaling):
    truth = still()
    with pytest.raises(KinedepthError, match="inverted"):
        score_clip(truth, ClipPrediction(truth.xyz, ~truth.visible), scaling)
    with pytest.raises(KinedepthError, match="camera centre"):
        score_clip(truth, ClipPrediction(0 * truth.xyz, truth.visible), scaling)


def test_unknown_scalings_and_thresholds_are_refused():
    truth = still()
    with pytest.raises(KinedepthError, match="There is no scaling 'max'; the scalings are median"):
        score_clip(truth, exact(truth), "max")
    with pytest.raises(KinedepthError, match="adaptive or fixed; got 'metres'"):
        score_clip(truth, exact(truth), thresholds="metres")


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"xyz": np.zeros((4, 5))}, r"needs shape \(T, N, 3\)"),
        ({"xyz": np.zeros((0, 5, 3)), "visible": np.zeros((0, 5))}, "at least 1"),
        ({"visible": np.ones((5, 4))}, r"visibility has shape \(5, 4\)"),
        ({"visible": np.full((4, 5), 0.5)}, "probabilities"),
        ({"queries_xyt": np.zeros((4, 3))}, r"5 tracks ask for \(5, 3\)"),
        ({"queries_xyt": np.full((5, 3), 4)}, "not among 0 to 3"),
        ({"queries_xyt": np.full((5, 3), 0.5)}, "not among 0 to 3"),
        ({"queries_xyt": np.full((5, 3), np.nan)}, "not among 0 to 3"),
        ({"xyz": np.full((4, 5, 3), np.nan)}, "point 0 in frame 0"),
        ({"xyz": np.full((4, 5, 3), "far")}, "numbers are needed"),
    ],
)
def test_a_truth_that_contradicts_itself_is_refused(change, sentence):
    with pytest.raises(KinedepthError, match=sentence):
        replace(still(), **change)


def test_a_prediction_has_to_be_finite_where_it_says_hidden_too():
    truth = still()
    xyz = truth.xyz.copy()
    xyz[2, 3, 1] = np.nan
    with pytest.raises(KinedepthError, match="point 3 in frame 2 is NaN"):
        ClipPrediction(xyz, np.zeros_like(truth.visible))


def test_a_prediction_of_another_size_is_refused():
    prediction = exact(still(frames=4, points=5))
    for other in (still(frames=5, points=5), still(frames=4, points=6)):
        for measure in (score_clip, temporal_coherence, fit_affine_depth):
            with pytest.raises(KinedepthError, match="4 frames and 5 points, but the truth has"):
                measure(other, prediction)
