"""TAPVid-3D scores beside the benchmark's own numbers, and beside those of the last comparison."""

import json
from pathlib import Path

import numpy as np
import pytest
from tapvid3d_small_clips import CAMERA, clip

from kinedepth.camera import Intrinsics
from kinedepth.evaluation.tapvid3d import PIXEL_THRESHOLDS, score_clip
from kinedepth.evaluation.tapvid3d_clips import ClipPrediction, ClipTruth
from kinedepth.evaluation.tapvid3d_scaling import SCALINGS

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
    """Make the files anew (``python tests/test_tapvid3d_parity.py``), if the benchmark agrees."""
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


if __name__ == "__main__":
    write_fixture()
