"""The 3D tracking metrics of TAPVid-3D (Koppula et al., "TAPVid-3D: A Benchmark for Tracking Any
Point in 3D", NeurIPS 2024), and temporal coherence as Seurat reports it, all in float64.

Predictions are scaled first (:mod:`kinedepth.evaluation.tapvid3d_scaling`). Rankings of methods
differ from one scaling to the next: a figure without its scaling says nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from kinedepth.errors import KinedepthError
from kinedepth.evaluation.tapvid3d_clips import ClipPrediction, ClipTruth
from kinedepth.evaluation.tapvid3d_scaling import Scaling, scaled_groups

Thresholds = Literal["adaptive", "fixed"]

METRE_THRESHOLDS = {1: 0.01, 2: 0.04, 4: 0.16, 8: 0.64, 16: 2.56}
"""The fixed thresholds in metres, by the threshold in pixels whose place each takes."""

PIXEL_THRESHOLDS = tuple(METRE_THRESHOLDS)
"""The adaptive thresholds: pixels of an image whose shorter side is :data:`METRIC_SIDE`."""

METRIC_SIDE = 256
"""Shorter side in pixels of the image that adaptive thresholds refer to."""


def score_clip(
    truth: ClipTruth,
    prediction: ClipPrediction,
    scaling: Scaling = "median",
    thresholds: Thresholds = "adaptive",
) -> dict[str, float]:
    """Score a prediction for one clip.

    A point is close if its 3D distance to the truth is strictly below the threshold. Adaptive
    thresholds are what k pixels span at the true depth z, ``k * z / sqrt(fx * fy)`` with the
    focal lengths of the image resized to a shorter side of 256, for k of 1, 2, 4, 8 and 16;
    fixed ones are :data:`METRE_THRESHOLDS`. A point that cannot be scaled, having predicted
    depth 0 where a scaling divides by it, is not close at any threshold.

    Returns:
        Shares between 0 and 1: ``jaccard_k``, true positives (truly visible, predicted visible,
        close) over truly visible plus false positives (predicted visible, but truly hidden or
        not close); ``points_within_k``, the share of truly visible points that are close,
        whatever the prediction says about their visibility; ``average_jaccard`` (3D-AJ) and
        ``points_within`` (APD), their means over k; ``occlusion_accuracy`` (OA), the share of
        all points whose predicted visibility is the true one. And, in the truth's unit of
        length per frame squared, ``temporal_coherence`` (TC; lower is better; NaN where
        :func:`temporal_coherence` would raise).

    Raises:
        KinedepthError: if the prediction has other frames or points than the truth, no point is
            truly visible, nothing tells the scale, or ``scaling`` or ``thresholds`` is unknown.
    """
    limits = _limits(truth, thresholds)
    visible = 0
    within, hits, false_alarms = np.zeros((3, len(limits)), dtype=np.int64)
    for points, xyz in scaled_groups(truth, prediction, scaling):
        seen, said = truth.visible[:, points], prediction.visible[:, points]
        distance = np.linalg.norm(xyz - truth.xyz[:, points], axis=-1)
        visible += seen.sum()
        for i, limit in enumerate(limits):
            close = distance < limit[:, points]
            within[i] += (seen & close).sum()
            hits[i] += (seen & said & close).sum()
            false_alarms[i] += (said & ~(seen & close)).sum()
    share, jaccard = within / visible, hits / (visible + false_alarms)
    scores = {
        "average_jaccard": float(jaccard.mean()),
        "points_within": float(share.mean()),
        "occlusion_accuracy": float((truth.visible == prediction.visible).mean()),
        "temporal_coherence": _mean_acceleration_error(truth, prediction, scaling),
    }
    for i, k in enumerate(PIXEL_THRESHOLDS):
        scores[f"jaccard_{k}"] = float(jaccard[i])
        scores[f"points_within_{k}"] = float(share[i])
    return scores


def temporal_coherence(
    truth: ClipTruth, prediction: ClipPrediction, scaling: Scaling = "median"
) -> float:
    """TC: mean distance between true and predicted acceleration; 0 is best.

    Acceleration is the second difference of 3D positions over frames, so the unit is the
    truth's unit of length per frame squared. The mean is over all points and frames in which
    the point is truly visible in the frame itself, the one before and the one after; triples
    with a point that cannot be scaled (:func:`score_clip`) are left out.

    Raises:
        KinedepthError: as :func:`score_clip`, or if no point is visible in three frames in a
            row.
    """
    error = _mean_acceleration_error(truth, prediction, scaling)
    if np.isnan(error):
        raise KinedepthError(
            "No point is visible in three frames in a row: there is no acceleration to compare."
        )
    return error


def average_scores(scores: Sequence[dict[str, float]]) -> dict[str, float]:
    """The mean of every score, each item weighing the same.

    Subsets of the benchmark are means over clips, the benchmark is the mean over its subsets;
    this does either. A clip without temporal coherence (NaN) does not take part in its mean.

    Raises:
        KinedepthError: if there are no scores, or not the same ones in every item.
    """
    if not scores:
        raise KinedepthError("There are no scores to average.")
    if any(item.keys() != scores[0].keys() for item in scores):
        raise KinedepthError("Scores to average have to be of the same kind; their names differ.")
    means = {}
    for name in scores[0]:
        known = [item[name] for item in scores if not np.isnan(item[name])]
        means[name] = float(np.mean(known)) if known else float("nan")
    return means


def _limits(truth: ClipTruth, thresholds: Thresholds) -> NDArray[np.float64]:
    """Distances ``(5, T, N)`` below which points are close."""
    if thresholds == "fixed":
        metres = np.array(list(METRE_THRESHOLDS.values()))
        return np.broadcast_to(metres[:, None, None], (len(metres), *truth.visible.shape))
    if thresholds != "adaptive":
        raise KinedepthError(f"Thresholds are adaptive or fixed; got {thresholds!r}.")
    camera = truth.intrinsics
    # Not Intrinsics.scaled_to: the longer side need not come out as a whole number of pixels.
    resized = METRIC_SIDE / min(camera.width, camera.height)
    focal = np.sqrt(camera.fx * resized * camera.fy * resized)
    return np.array(PIXEL_THRESHOLDS)[:, None, None] * truth.xyz[..., 2] / focal


def _mean_acceleration_error(
    truth: ClipTruth, prediction: ClipPrediction, scaling: Scaling
) -> float:
    """Temporal coherence; NaN where no point is visible in three frames in a row."""
    total, count = 0.0, 0
    for points, xyz in scaled_groups(truth, prediction, scaling):
        difference = np.diff(xyz - truth.xyz[:, points], n=2, axis=0)
        error = np.linalg.norm(difference, axis=-1)
        seen = truth.visible[:, points]
        counted = seen[:-2] & seen[1:-1] & seen[2:] & np.isfinite(error)
        total += float(error[counted].sum())
        count += int(counted.sum())
    return total / count if count else float("nan")
