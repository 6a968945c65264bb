"""TAPVid-3D metrics: the benchmark's own numbers, closed-form cases, and what must not matter."""

import json
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kinedepth.camera import Intrinsics
from kinedepth.errors import KinedepthError
from kinedepth.evaluation.tapvid3d import (
    METRE_THRESHOLDS,
    PIXEL_THRESHOLDS,
    average_scores,
    score_clip,
    temporal_coherence,
)
from kinedepth.evaluation.tapvid3d_clips import (
    ClipPrediction,
    ClipTruth,
    load_prediction,
    load_truth,
)
from kinedepth.evaluation.tapvid3d_scaling import SCALINGS, fit_affine_depth

PARITY = Path(__file__).resolve().parents[2] / "shared" / "parity" / "tapvid3d"
FIXTURE = Path(__file__).parent / "fixtures"
BENCHMARK_SCALINGS = (
    "median",
    "mean",
    "none",
    "per_trajectory",
    "median_on_queries",
    "reproduce_2d",
)
BENCHMARK_NAMES = {
    "average_jaccard": "average_jaccard",
    "points_within": "average_pts_within_thresh",
    "occlusion_accuracy": "occlusion_accuracy",
    **{f"jaccard_{k}": f"jaccard_{k}" for k in PIXEL_THRESHOLDS},
    **{f"points_within_{k}": f"pts_within_{k}" for k in PIXEL_THRESHOLDS},
}
CAMERA = Intrinsics(300.0, 280.0, 170.0, 130.0, 340, 256)


def clip(
    seed: int = 0, frames: int = 10, points: int = 14, error: float = 0.03
) -> tuple[ClipTruth, ClipPrediction]:
    """A made-up clip and a prediction 1.7 times too small, with errors of ``error`` at depth 1.

    Points come in threes that lie within the radius of a local neighbourhood of each other.
    """
    rng = np.random.default_rng(seed)
    centres = rng.uniform((-1.5, -1.2, 2.0), (1.5, 1.2, 6.0), (-(-points // 3), 3))
    start = np.repeat(centres, 3, axis=0)[:points] + rng.uniform(-0.02, 0.02, (points, 3))
    drift = np.repeat(rng.normal(0, 0.05, (frames, len(centres), 3)).cumsum(0), 3, axis=1)
    xyz = start + drift[:, :points] + rng.normal(0, 0.002, (frames, points, 3))
    visible = rng.random((frames, points)) < 0.75
    query_frame = rng.integers(0, frames, points)
    visible[query_frame, np.arange(points)] = True
    pixels = CAMERA.project(xyz[query_frame, np.arange(points)])
    queries = np.column_stack([pixels, query_frame])
    predicted = xyz * (1 + rng.normal(0, error, xyz.shape)) / 1.7
    said = visible ^ (rng.random(visible.shape) < 0.1)
    return ClipTruth(xyz, visible, queries, CAMERA), ClipPrediction(predicted, said)


def exact(truth: ClipTruth) -> ClipPrediction:
    return ClipPrediction(np.nan_to_num(truth.xyz), truth.visible)


def still(depth: float = 3.0, frames: int = 4, points: int = 5) -> ClipTruth:
    """Points that stand still and are always visible, all at one depth and queried at once."""
    x = np.arange(points) - points / 2
    xyz = np.broadcast_to(
        np.column_stack([x, 0 * x + 0.2, 0 * x + depth]), (frames, points, 3)
    ).copy()
    queries = np.zeros((points, 3))
    return ClipTruth(xyz, np.ones((frames, points), bool), queries, CAMERA)


# The benchmark's own numbers


def parity_clip() -> tuple[ClipTruth, ClipPrediction]:
    data = np.load(PARITY / "metrics.npz")
    fx, fy, cx, cy = data["intrinsics_256"]
    # These intrinsics are already those of the resized image, so its shorter side is 256.
    camera = Intrinsics(fx, fy, cx, cy, width=int(np.ceil(2 * cx)), height=256)
    truth = ClipTruth(data["gt_tracks"], ~data["gt_occluded"], data["queries_xyt"], camera)
    return truth, ClipPrediction(data["pred_tracks"], ~data["pred_occluded"])


def assert_parity(scaling: str, thresholds: str) -> None:
    expected = json.loads((PARITY / "expected.json").read_text())[f"{scaling}|{thresholds}"]
    scores = score_clip(*parity_clip(), scaling, thresholds)
    ours = {name: scores[key] for key, name in BENCHMARK_NAMES.items()}
    assert ours == pytest.approx(expected, abs=1e-9, rel=0)


needs_parity = pytest.mark.skipif(
    not (PARITY / "expected.json").is_file(),
    reason="the reference numbers of the benchmark (../shared/parity/tapvid3d) are not here",
)


@needs_parity
@pytest.mark.parametrize("thresholds", ["adaptive", "fixed"])
@pytest.mark.parametrize("scaling", BENCHMARK_SCALINGS)
def test_scores_equal_those_of_the_benchmark(scaling, thresholds):
    assert_parity(scaling, thresholds)


@needs_parity
def test_every_reference_number_is_compared():
    expected = json.loads((PARITY / "expected.json").read_text())
    assert set(expected) == {f"{s}|{t}" for s in BENCHMARK_SCALINGS for t in ("adaptive", "fixed")}


# Numbers of our own that strangers can check, too


def fixture_clip() -> tuple[ClipTruth, ClipPrediction]:
    data = np.load(FIXTURE / "tapvid3d_clip.npz")
    truth = ClipTruth(data["true_xyz"], data["true_visible"], data["queries_xyt"], CAMERA)
    return truth, ClipPrediction(data["xyz"], data["visible"])


def fixture_scores() -> dict[str, dict[str, float]]:
    return {
        f"{scaling}|{thresholds}": score_clip(*fixture_clip(), scaling, thresholds)
        for scaling in SCALINGS
        for thresholds in ("adaptive", "fixed")
    }


def write_fixture() -> None:
    """Make the files anew (``python tests/test_tapvid3d.py``), if the benchmark agrees."""
    for scaling in BENCHMARK_SCALINGS:
        for thresholds in ("adaptive", "fixed"):
            assert_parity(scaling, thresholds)
    truth, prediction = clip(seed=20, frames=8, points=12)
    np.savez_compressed(
        FIXTURE / "tapvid3d_clip.npz",
        true_xyz=truth.xyz.astype(np.float32),
        true_visible=truth.visible,
        queries_xyt=truth.queries_xyt.astype(np.float32),
        xyz=prediction.xyz.astype(np.float32),
        visible=prediction.visible,
    )
    text = json.dumps(fixture_scores(), indent=1)
    (FIXTURE / "tapvid3d_scores.json").write_text(text + "\n")


def test_scores_are_those_found_when_the_benchmark_was_last_compared_with():
    expected = json.loads((FIXTURE / "tapvid3d_scores.json").read_text())
    scores = fixture_scores()
    assert scores.keys() == expected.keys()
    for key, values in scores.items():
        assert values == pytest.approx(expected[key], abs=1e-9, rel=0), key


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


# Files


def jpeg(width: int = 340, height: int = 256) -> bytes:
    done, data = cv2.imencode(".jpg", np.zeros((height, width, 3), np.uint8))
    assert done
    return data.tobytes()


def save_truth(path: Path, truth: ClipTruth, **changes) -> Path:
    """A clip as the benchmark saves it, images in an array of objects; None leaves one out."""
    images = np.empty(len(truth.visible), object)
    images[:] = [jpeg()] * len(images)
    arrays = {
        "images_jpeg_bytes": images,
        "queries_xyt": truth.queries_xyt,
        "tracks_XYZ": truth.xyz,
        "visibility": truth.visible,
        "fx_fy_cx_cy": truth.intrinsics.as_vector(),
    } | changes
    np.savez(path, **{key: value for key, value in arrays.items() if value is not None})
    return path


def test_a_truth_comes_back_from_its_file_with_the_size_of_its_images(tmp_path):
    truth, _ = clip()
    loaded = load_truth(save_truth(tmp_path / "clip.npz", truth))
    assert loaded.intrinsics == truth.intrinsics
    for name in ("xyz", "visible", "queries_xyt"):
        np.testing.assert_array_equal(getattr(loaded, name), getattr(truth, name))


def test_a_truth_file_is_refused_by_name_and_with_a_reason(tmp_path):
    truth, path = still(), tmp_path / "clip.npz"
    pieces = np.array([b"no image"] * 4)
    for change, sentence in (
        ({"visibility": None}, "lacks visibility"),
        ({"images_jpeg_bytes": pieces}, "not an image that can be decoded"),
        ({"tracks_XYZ": truth.xyz[:3]}, r"tracks_XYZ has shape \(3, 5, 3\)"),
        ({"tracks_XYZ": truth.xyz * np.nan}, "NaN or infinite"),
        ({"fx_fy_cx_cy": np.array([0.0, 1, 1, 1])}, "positive, finite focal lengths"),
        ({"queries_xyt": np.full((5, 3), 9)}, "not among 0 to 3"),
    ):
        with pytest.raises(KinedepthError, match=f"clip.npz.*{sentence}"):
            load_truth(save_truth(path, truth, **change))


def test_a_prediction_comes_back_from_its_file(tmp_path):
    truth, prediction = clip()
    np.savez(tmp_path / "p.npz", tracks_XYZ=prediction.xyz, visibility=prediction.visible)
    loaded = load_prediction(tmp_path / "p.npz", truth)
    np.testing.assert_array_equal(loaded.xyz, prediction.xyz)
    np.testing.assert_array_equal(loaded.visible, prediction.visible)


def test_a_prediction_file_is_refused_by_name_and_with_a_reason(tmp_path):
    truth, path = still(), tmp_path / "p.npz"
    for arrays, sentence in (
        ({"tracks_XYZ": truth.xyz}, "lacks visibility"),
        ({"other": truth.xyz}, "lacks tracks_XYZ and visibility"),
        ({"tracks_XYZ": truth.xyz[..., :2], "visibility": truth.visible}, "needs shape"),
        ({"tracks_XYZ": truth.xyz * np.nan, "visibility": truth.visible}, "NaN"),
        ({"tracks_XYZ": truth.xyz[:3], "visibility": truth.visible[:3]}, "3 frames and 5 points"),
        ({"tracks_XYZ": truth.xyz[:, :4], "visibility": truth.visible[:, :4]}, "and 4 points"),
    ):
        np.savez(path, **arrays)
        with pytest.raises(KinedepthError, match=f"p.npz.*{sentence}"):
            load_prediction(path, truth)


def test_truncated_and_missing_files_are_refused(tmp_path):
    truth, _ = clip()
    path = save_truth(tmp_path / "clip.npz", truth)
    path.write_bytes(path.read_bytes()[:-500])
    for load in (load_truth, load_prediction):
        with pytest.raises(KinedepthError, match="damaged"):
            load(path)
        with pytest.raises(KinedepthError, match="There is no file"):
            load(tmp_path / "none.npz")


if __name__ == "__main__":
    write_fixture()
