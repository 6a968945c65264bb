"""The 2D tracking metrics of TAP-Vid (Doersch et al., "TAP-Vid: A Benchmark for Tracking Any
Point in a Video", NeurIPS 2022, section 3), in the "first" query mode.

Positions are scaled to a frame of 256x256 pixels, whatever its shape was, and compared there in
float64. Of each track only the frames *after* its query frame count: before it nothing is
asked, and in it the answer is given.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from kinedepth.errors import KinedepthError

THRESHOLDS = (1.0, 2.0, 4.0, 8.0, 16.0)
"""Pixels of the 256x256 frame; a point is close if strictly nearer than this."""

METRIC_SIDE = 256
"""Side of the square frame that distances are measured in."""


@dataclass(frozen=True)
class TrackingScores:
    """Shares between 0 and 1, each the mean over :data:`THRESHOLDS` where it has a threshold.

    Attributes:
        average_jaccard: true positives (truly visible, predicted visible, close) over truly
            visible plus false positives (predicted visible, but truly hidden or not close).
        points_within: share of truly visible points whose position is close, whatever the
            prediction says about their visibility.
        occlusion_accuracy: share of points whose predicted visibility is the true one.
        jaccard_at, within_at: the same for each threshold, ``(5,)`` float64.
    """

    average_jaccard: float
    points_within: float
    occlusion_accuracy: float
    jaccard_at: NDArray[np.float64]
    within_at: NDArray[np.float64]


def score_tracks(
    xy: NDArray[np.floating],
    visible: NDArray[np.bool_],
    true_xy: NDArray[np.floating],
    true_visible: NDArray[np.bool_],
    query_frame: NDArray[np.integer],
    size: tuple[int, int],
) -> TrackingScores:
    """Score tracks of one clip against the truth.

    Args:
        xy, true_xy: ``(T, N, 2)`` pixels of a frame of ``size``.
        visible, true_visible: ``(T, N)`` bool.
        query_frame: ``(N,)`` frame each track starts from.
        size: (width, height) in pixels of the frames that positions refer to.

    Raises:
        KinedepthError: shapes disagree, or no frame after a query shows a point.
    """
    shape = true_xy.shape[:2]
    for name, array, wanted in (
        ("positions", xy, (*shape, 2)),
        ("visibility", visible, shape),
        ("true visibility", true_visible, shape),
        ("query frames", query_frame, shape[1:]),
    ):
        if np.shape(array) != wanted:
            raise KinedepthError(
                f"The {name} to score have shape {np.shape(array)}; the truth asks for {wanted}."
            )
    visible, true_visible = np.asarray(visible, bool), np.asarray(true_visible, bool)
    scale = METRIC_SIDE / np.array(size, np.float64)
    distance = np.hypot(*np.moveaxis((np.float64(xy) - np.float64(true_xy)) * scale, -1, 0))
    counted = np.arange(shape[0])[:, None] > np.asarray(query_frame)[None, :]
    seen = counted & true_visible
    if not seen.any():
        raise KinedepthError(
            "No point is visible after its query frame: there is nothing to score."
        )
    jaccard, within = [], []
    for threshold in THRESHOLDS:
        close = distance < threshold
        hits = (seen & visible & close).sum()
        false_alarms = (counted & visible & ~(true_visible & close)).sum()
        jaccard.append(hits / (seen.sum() + false_alarms))
        within.append((seen & close).sum() / seen.sum())
    return TrackingScores(
        average_jaccard=float(np.mean(jaccard)),
        points_within=float(np.mean(within)),
        occlusion_accuracy=float((visible == true_visible)[counted].mean()),
        jaccard_at=np.array(jaccard),
        within_at=np.array(within),
    )


def mean_scores(scores: Sequence[TrackingScores]) -> TrackingScores:
    """The mean over clips of every score: each clip weighs the same."""
    if not scores:
        raise KinedepthError("There are no scores to average.")
    return TrackingScores(
        average_jaccard=float(np.mean([s.average_jaccard for s in scores])),
        points_within=float(np.mean([s.points_within for s in scores])),
        occlusion_accuracy=float(np.mean([s.occlusion_accuracy for s in scores])),
        jaccard_at=np.mean([s.jaccard_at for s in scores], axis=0),
        within_at=np.mean([s.within_at for s in scores], axis=0),
    )
