"""AbsRel, RMSE and delta1 of depth videos: the published numbers, cases by hand, invariances."""

import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kinedepth.alignment import fit_scale, fit_scale_and_shift
from kinedepth.camera import Intrinsics
from kinedepth.depth import DepthVideo
from kinedepth.errors import KinedepthError
from kinedepth.evaluation.depth_alignment import fit_alignment
from kinedepth.evaluation.depth_truth import CameraPath, Crop, DepthTruth
from kinedepth.evaluation.video_depth import METRICS, evaluate_depth, mean_scores

SHARED = Path(__file__).resolve().parents[2] / "shared" / "parity" / "vda" / "bench.npz"
FIXTURE = Path(__file__).parent / "fixtures" / "depth_bench.npz"

RANDOM = np.random.default_rng(3)
TRUE = RANDOM.uniform(1, 5, (4, 12, 16))


def video(depth, kind="metric"):
    return DepthVideo(np.asarray(depth, dtype=np.float32), kind, 25.0)


def score(prediction, truth, kind="metric", **options):
    truth = truth if isinstance(truth, DepthTruth) else DepthTruth.from_array(truth)
    return evaluate_depth(video(prediction, kind), truth, **options)


@pytest.mark.parametrize(
    "path",
    [
        pytest.param(
            SHARED,
            marks=pytest.mark.skipif(
                not SHARED.is_file(),
                reason="reference outputs of the published code (shared/parity/vda) are not here",
            ),
        ),
        FIXTURE,
    ],
    ids=["published", "fixture"],
)
def test_as_published_gives_the_numbers_of_the_published_code(path):
    with np.load(path) as file:
        case = dict(file)
    frames, height, width = case["gt"].shape
    matrix = case["K"]
    # Published intrinsics count pixel centres from 0.
    camera = Intrinsics(
        matrix[0, 0], matrix[1, 1], matrix[0, 2] + 0.5, matrix[1, 2] + 0.5, width, height
    )
    truth = DepthTruth.from_array(
        case["gt"],
        farthest=float(case["max_depth"]),
        crop=Crop(*case["crop"].tolist()),
        cameras=CameraPath([camera] * frames, case["poses"]),
    )
    found = score(case["disp"], truth, "affine_invariant_disparity", published=True, cropped=True)
    for name in ("abs_rel", "rmse", "delta1", "tae"):
        assert getattr(found, name) == pytest.approx(float(case[name]), abs=1e-6), name


def test_ten_per_cent_too_far_is_an_error_of_ten_per_cent():
    found = score(1.1 * TRUE, TRUE)
    assert found.abs_rel == pytest.approx(0.1, rel=1e-6)
    frames = np.sqrt((TRUE**2).mean(axis=(1, 2)))
    assert found.rmse == pytest.approx(0.1 * frames.mean(), rel=1e-6)
    assert (found.delta1, found.frames, found.alignment) == (1, 4, "none")


def test_delta1_asks_for_a_factor_strictly_below_five_quarters_either_way():
    truth = np.full((1, 1, 4), 2.0)
    assert score([[[2.5, 2.49, 1.59, 1.61]]], truth).delta1 == 0.5


@pytest.mark.parametrize("nothing", [0.0, np.nan, np.inf, -np.inf, -1.0, 1e-3, 80.0])
def test_invalid_truth_does_not_count(nothing):
    truth = TRUE.copy()
    truth[:, :6] = nothing
    found = score(1.1 * np.where(TRUE > 3, TRUE, 3), DepthTruth.from_array(truth, farthest=80.0))
    half = score(1.1 * np.where(TRUE > 3, TRUE, 3)[:, 6:], TRUE[:, 6:])
    assert found.abs_rel == pytest.approx(half.abs_rel, rel=1e-12)
    assert found.valid == 0.5


def test_a_frame_counts_once_however_few_of_its_pixels_are_valid():
    truth = np.full((3, 4, 5), 2.0)
    truth[1].flat[1:] = 0
    truth[2] = 0
    prediction = truth * np.array([1.0, 1.3, 1])[:, None, None] + (truth == 0)
    found = score(prediction, truth)
    assert (found.abs_rel, found.delta1) == (pytest.approx(0.15), 0.5)
    assert found.frames == 2


def test_predictions_are_clipped_to_the_depth_that_can_count():
    truth = DepthTruth.from_array(np.full((1, 2, 2), 8.0), farthest=10.0)
    assert score(np.full((1, 2, 2), 1e6), truth).abs_rel == pytest.approx(2 / 8)
    assert score(np.full((1, 2, 2), -5.0), truth).abs_rel == pytest.approx(1, rel=1e-3)


positive, any_shift = st.floats(0.1, 20), st.floats(-3, 3)


@settings(deadline=None, max_examples=20)
@given(positive, any_shift)
def test_what_a_kind_leaves_open_does_not_matter(scale, shift):
    noisy = TRUE * (1 + 0.1 * np.random.default_rng(4).standard_normal(TRUE.shape))
    cases = {
        "affine_invariant_disparity": (1 / noisy, lambda value: scale * value + shift),
        "affine_invariant": (noisy, lambda value: scale * value + shift),
        "scale_invariant": (noisy, lambda value: scale * value),
    }
    for kind, (value, changed) in cases.items():
        plain, other = score(value, TRUE, kind), score(changed(value), TRUE, kind)
        assert other.abs_rel == pytest.approx(plain.abs_rel, rel=1e-3), kind
        assert plain.abs_rel > 0.05


@settings(deadline=None, max_examples=20)
@given(positive, any_shift, st.integers(1, 9))
def test_the_fit_over_frames_is_that_over_all_pixels(scale, shift, frames):
    stream = np.random.default_rng(frames)
    prediction = stream.uniform(0.1, 2, (frames, 7))
    target = scale * prediction + shift + stream.standard_normal((frames, 7)) + 100

    def values():
        return zip(prediction, target, strict=True)

    both = fit_alignment(values, "scale-shift", "depth")
    assert (both.scale, both.shift) == pytest.approx(fit_scale_and_shift(prediction, target))
    one = fit_alignment(values, "scale", "depth")
    assert (one.scale, one.shift) == pytest.approx((fit_scale(prediction, target), 0))


@pytest.mark.parametrize("frames", [1, 2, 5])
@pytest.mark.parametrize("pixels", [1, 6, 7])
def test_the_median_scale_is_the_median_of_all_ratios(frames, pixels):
    prediction = RANDOM.uniform(0.1, 2, (frames, pixels))
    target = RANDOM.uniform(1, 50, (frames, pixels))
    found = fit_alignment(lambda: zip(prediction, target, strict=True), "median", "depth")
    ratios = (target / prediction).astype(np.float32).astype(np.float64)
    assert found.scale == np.median(ratios)


def test_alignment_can_be_chosen():
    assert score(2 * TRUE, TRUE, alignment="none").abs_rel == pytest.approx(1, rel=1e-6)
    for method in ("scale", "median", "scale-shift"):
        found = score(2 * TRUE, TRUE, alignment=method)
        assert found.abs_rel < 1e-6
        assert (found.alignment, found.scale) == (f"{method} in depth", pytest.approx(0.5))
    with pytest.raises(KinedepthError, match=r"Unknown alignment 'mean'; known are auto"):
        score(TRUE, TRUE, alignment="mean")


def test_a_constant_prediction_is_taken_for_the_mean_disparity():
    found = score(np.ones_like(TRUE), TRUE, "affine_invariant_disparity")
    assert (found.scale, found.shift) == (0, pytest.approx((1 / TRUE).mean()))


def test_near_and_far_exchanged_shows_as_a_negative_scale():
    assert score(-1 / TRUE, TRUE, "affine_invariant_disparity").scale == pytest.approx(-1, rel=1e-4)


def test_a_crop_is_cut_from_predictions_of_the_whole_frame_and_from_no_other():
    crop = Crop(2, -1, 3, 15)
    truth = DepthTruth.from_array(TRUE, crop=crop)
    whole = score(TRUE, truth)
    part = score(np.stack([crop.cut(frame) for frame in TRUE]), truth)
    assert whole.abs_rel == part.abs_rel < 1e-6
    bent = TRUE.copy()
    bent[:, :2] = 1e3
    assert score(bent, truth).abs_rel == whole.abs_rel


def test_predictions_of_another_size_are_resized():
    ramp = np.broadcast_to(np.linspace(1, 2, 40)[None, None], (2, 30, 40))
    truth = DepthTruth.from_array(ramp, crop=Crop(2, -2, 4, -4))
    small = np.broadcast_to(ramp.reshape(2, 30, 20, 2).mean(-1)[:, :15], (2, 15, 20))
    assert score(small, truth).abs_rel < 1e-6
    # The same numbers, said to show the part only, stretch over less of the frame.
    assert score(small, truth, cropped=True).abs_rel > 0.01


def test_predictions_of_all_the_footage_are_scored_where_the_truth_selects():
    frames = np.broadcast_to(np.arange(1.0, 11)[:, None, None], (10, 3, 4))
    chosen = range(2, 8, 2)
    truth = DepthTruth("clip", 3, 3, 4, lambda: iter(frames[chosen]), selected=chosen, footage=10)
    assert score(frames, truth).abs_rel == score(frames[chosen], truth).abs_rel == 0
    with pytest.raises(
        KinedepthError, match=r"clip: the prediction has 9 frames of the 3 \(or 10, all"
    ):
        score(frames[:9], truth)


def test_metric_depth_enters_the_published_protocol_as_disparity():
    found = score(3 * TRUE, TRUE, published=True)
    assert found.abs_rel < 1e-5
    assert found.alignment == "scale-shift in disparity"


@pytest.mark.parametrize(
    ("prediction", "truth", "options", "message"),
    [
        (np.where(TRUE > 4, np.nan, TRUE), TRUE, {}, "frame 0 of the prediction holds NaN"),
        (TRUE, np.zeros_like(TRUE), {}, "no valid pixel of truth"),
        (TRUE, np.zeros_like(TRUE), {"alignment": "scale"}, "No pixel of the truth is valid"),
        (TRUE, np.zeros_like(TRUE), {"alignment": "median"}, "positive prediction"),
        (TRUE, TRUE, {"kind": "affine_invariant", "published": True}, "--as-published"),
    ],
)
def test_what_cannot_be_scored_is_told(prediction, truth, options, message):
    with pytest.raises(KinedepthError, match=message):
        score(prediction, truth, **options)


def test_truth_that_ends_early_is_told():
    truth = DepthTruth("clip", 4, 12, 16, lambda: iter(TRUE[:3]))
    with pytest.raises(KinedepthError, match="ends after 3 of 4 frames"):
        score(TRUE, truth)


@pytest.mark.parametrize("alignment", ["scale-shift", "median"])
def test_memory_does_not_grow_with_the_video(alignment):
    frame = np.ones((60, 80), dtype=np.float32) + RANDOM.random((60, 80), dtype=np.float32)

    def peak(frames):
        path = CameraPath(
            [Intrinsics(60, 60, 40, 30, 80, 60)] * frames, np.tile(np.eye(4), (frames, 1, 1))
        )
        truth = DepthTruth(
            "clip", frames, 60, 80, lambda: (frame + 0.5 for _ in range(frames)), cameras=path
        )
        prediction = DepthVideo(np.broadcast_to(frame, (frames, 60, 80)), "metric", 25.0)
        evaluate_depth(prediction, truth, alignment)
        tracemalloc.start()
        evaluate_depth(prediction, truth, alignment)
        most = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return most

    # Sixty frames more would be 2.3 MB in double precision; bookkeeping a frame is below 1 kB.
    assert peak(80) - peak(20) < 60 * 1024


def test_clips_weigh_the_same_in_the_mean_and_missing_figures_do_not():
    first, second = score(1.1 * TRUE, TRUE), score(1.3 * TRUE[:1], TRUE[:1])
    means = mean_scores([first, second])
    assert set(means) == set(METRICS)
    assert means["abs_rel"] == pytest.approx(0.2, rel=1e-5)
    assert means["tae"] is None
    with pytest.raises(KinedepthError, match="no scores"):
        mean_scores([])


def test_tae_is_there_where_cameras_are_and_leaves_out_clipped_depth():
    camera = Intrinsics(20.0, 20.0, 8.0, 6.0, 16, 12)
    path = CameraPath([camera] * 4, np.tile(np.eye(4), (4, 1, 1)))
    still = np.repeat(TRUE[:1], 4, axis=0)
    truth = DepthTruth.from_array(still, farthest=4.5, cameras=path)
    found = score(still * 1.01 ** np.arange(4)[:, None, None], truth)
    assert found.tae == pytest.approx(1, rel=0.02)
    assert found.tae_of_truth == 0
    assert 0.05 < found.tae_coverage < 0.9
    assert score(still, still).tae is None


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"frames": 0}, "nothing to score"),
        ({"crop": Crop(12, None)}, "nothing to score"),
        ({"farthest": 1e-4}, "farthest depth that counts"),
        ({"selected": range(3)}, "selects 3 frames but has 4"),
        (
            {"cameras": CameraPath([Intrinsics(9, 9, 8, 6, 16, 12)], np.eye(4)[None])},
            "4 frames but 1 cameras",
        ),
    ],
)
def test_truth_that_makes_no_sense_is_refused(change, message):
    facts = {"name": "clip", "frames": 4, "height": 12, "width": 16, "read": lambda: iter(TRUE)}
    with pytest.raises(KinedepthError, match=message):
        DepthTruth(**(facts | change))
    with pytest.raises(KinedepthError, match="Poses need shape"):
        CameraPath([], np.eye(4))
    with pytest.raises(KinedepthError, match="True depth needs shape"):
        DepthTruth.from_array(TRUE[0])
