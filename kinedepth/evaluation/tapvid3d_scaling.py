"""How a prediction is scaled before TAPVid-3D compares it with the truth.

One camera knows the size of the world at best up to a factor, so predictions are multiplied by
one, or by one for each track or point, depending on the scaling:

======================  ==================================================================
``median``              one factor for the clip: median distance from the camera in the
                        truth over that in the prediction, of points visible in both
``mean``                the same with means
``median_on_queries``   the same with medians of each track's query frame alone
``none``                no factor
``per_trajectory``      a factor for each track, so that its depth z at its query is right
``local_neighborhood``  a track's ``per_trajectory`` factor is given to all tracks that are
                        near it (:data:`NEIGHBORHOOD_RADIUS`), too, and all these are
                        scored: does what lies close together fit together?
``reproduce_2d``        a factor for each point, so that its depth z is right: what is left
                        are the errors of 2D tracking
``affine``              one scale and one shift of depth for the clip by least squares
                        (:func:`fit_affine_depth`), points moving along their viewing rays
======================  ==================================================================
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from kinedepth.errors import KinedepthError
from kinedepth.evaluation.tapvid3d_clips import ClipPrediction, ClipTruth

Scaling = Literal[
    "median",
    "mean",
    "none",
    "per_trajectory",
    "median_on_queries",
    "local_neighborhood",
    "reproduce_2d",
    "affine",
]

SCALINGS: tuple[str, ...] = get_args(Scaling)
"""The names of all scalings, the default first."""

NEIGHBORHOOD_RADIUS = 0.05
"""Metres; a track is near another if it is truly visible and strictly nearer than this in the
other's query frame."""


@dataclass(frozen=True)
class AffineDepth:
    """The map ``scale * z + shift`` from predicted to true depth."""

    scale: float
    shift: float


def scaled_groups(
    truth: ClipTruth, prediction: ClipPrediction, scaling: Scaling
) -> Iterator[tuple[NDArray[np.intp], NDArray[np.float64]]]:
    """The tracks to score and their scaled positions.

    One group of all tracks, except for ``local_neighborhood``, which gives one for each track.

    Yields:
        Indices ``(n,)`` of the tracks of a group, and their predicted positions ``(T, n, 3)``,
        scaled; NaN where a scaling divides by a predicted depth of 0.

    Raises:
        KinedepthError: if the prediction has other frames or points than the truth, no point is
            truly visible, nothing tells the scale, or ``scaling`` is unknown.
    """
    _check_pair(truth, prediction)
    if scaling not in SCALINGS:
        raise KinedepthError(
            f"There is no scaling {scaling!r}; the scalings are {', '.join(SCALINGS)}."
        )
    for points, factor in _FACTORS[scaling](truth, prediction):
        yield points, prediction.xyz[:, points] * factor[..., None]


def fit_affine_depth(truth: ClipTruth, prediction: ClipPrediction) -> AffineDepth:
    """The scale and shift of predicted depth z that fit a whole clip best.

    Least squares over all points and frames that are truly visible, the prediction's own word
    on visibility left aside. A prediction of one constant depth leaves both undetermined and
    gets scale 0, with the mean true depth as its shift.

    Raises:
        KinedepthError: if the prediction has other frames or points than the truth, or no point
            is truly visible.
    """
    _check_pair(truth, prediction)
    predicted, true = prediction.xyz[truth.visible, 2], truth.xyz[truth.visible, 2]
    deviation = predicted - predicted.mean()
    variance = np.mean(deviation**2)
    # Rounding of the mean alone leaves a constant prediction with some variance.
    if np.sqrt(variance) <= 1e-12 * np.abs(predicted).max():
        return AffineDepth(0.0, float(true.mean()))
    scale = np.mean(deviation * (true - true.mean())) / variance
    return AffineDepth(float(scale), float(true.mean() - scale * predicted.mean()))


def _check_pair(truth: ClipTruth, prediction: ClipPrediction) -> None:
    prediction.check_belongs_to(truth)
    if not truth.visible.any():
        raise KinedepthError("No point of the clip is ever visible: there is nothing to score.")


_Group = tuple[NDArray[np.intp], NDArray[np.float64]]
"""Some of the tracks (their indices ``(n,)``) and the factor, broadcastable to ``(T, n)``, that
scales their predicted positions."""


def _all_points(truth: ClipTruth, factor: NDArray[np.float64] | float) -> Iterator[_Group]:
    yield np.arange(truth.visible.shape[1]), np.atleast_2d(factor)


def _no_factor(truth: ClipTruth, _: ClipPrediction) -> Iterator[_Group]:
    return _all_points(truth, 1.0)


def _median_factor(truth: ClipTruth, prediction: ClipPrediction) -> Iterator[_Group]:
    chosen = truth.visible & prediction.visible
    return _all_points(truth, _clip_factor(truth, prediction, chosen, np.median))


def _mean_factor(truth: ClipTruth, prediction: ClipPrediction) -> Iterator[_Group]:
    chosen = truth.visible & prediction.visible
    return _all_points(truth, _clip_factor(truth, prediction, chosen, np.mean))


def _median_on_queries_factor(truth: ClipTruth, prediction: ClipPrediction) -> Iterator[_Group]:
    queried = np.arange(len(truth.visible))[:, None] == truth.query_frame
    chosen = truth.visible & prediction.visible & queried
    return _all_points(truth, _clip_factor(truth, prediction, chosen, np.median))


def _per_trajectory_factors(truth: ClipTruth, prediction: ClipPrediction) -> Iterator[_Group]:
    return _all_points(truth, _query_depth_ratio(truth, prediction))


def _local_neighborhood_factors(truth: ClipTruth, prediction: ClipPrediction) -> Iterator[_Group]:
    """A group for each track: itself and those near it in its query frame, scaled as it is.

    The benchmark's own code does not run this scaling on a single clip, so there were no numbers
    to hold this one to.
    """
    factors = _query_depth_ratio(truth, prediction)
    for point, (frame, factor) in enumerate(zip(truth.query_frame, factors, strict=True)):
        distance = np.linalg.norm(truth.xyz[frame] - truth.xyz[frame, point], axis=-1)
        near = truth.visible[frame] & (distance < NEIGHBORHOOD_RADIUS)
        near[point] = True
        yield np.flatnonzero(near), np.atleast_2d(factor)


def _reproduce_2d_factors(truth: ClipTruth, prediction: ClipPrediction) -> Iterator[_Group]:
    return _all_points(truth, _ratio(truth.xyz[..., 2], prediction.xyz[..., 2]))


def _affine_factors(truth: ClipTruth, prediction: ClipPrediction) -> Iterator[_Group]:
    fit = fit_affine_depth(truth, prediction)
    depth = prediction.xyz[..., 2]
    return _all_points(truth, _ratio(fit.scale * depth + fit.shift, depth))


_FACTORS: dict[str, Callable[[ClipTruth, ClipPrediction], Iterator[_Group]]] = {
    "median": _median_factor,
    "mean": _mean_factor,
    "none": _no_factor,
    "per_trajectory": _per_trajectory_factors,
    "median_on_queries": _median_on_queries_factor,
    "local_neighborhood": _local_neighborhood_factors,
    "reproduce_2d": _reproduce_2d_factors,
    "affine": _affine_factors,
}


def _clip_factor(
    truth: ClipTruth,
    prediction: ClipPrediction,
    chosen: NDArray[np.bool_],
    average: Callable[[NDArray[np.float64]], np.floating],
) -> float:
    """Average distance from the camera in the truth over that in the prediction."""
    if not chosen.any():
        raise KinedepthError(
            "No point that tells the scale is visible in both the truth and the prediction; "
            "is the predicted visibility inverted?"
        )
    predicted = average(np.linalg.norm(prediction.xyz[chosen], axis=-1))
    if predicted == 0:
        raise KinedepthError("The prediction lies at the camera centre, so it has no scale.")
    return float(average(np.linalg.norm(truth.xyz[chosen], axis=-1)) / predicted)


def _query_depth_ratio(truth: ClipTruth, prediction: ClipPrediction) -> NDArray[np.float64]:
    """True over predicted depth ``(N,)`` of each track in its query frame."""
    query = (truth.query_frame, np.arange(len(truth.query_frame)))
    return _ratio(truth.xyz[query][:, 2], prediction.xyz[query][:, 2])


def _ratio(true: NDArray[np.float64], predicted: NDArray[np.float64]) -> NDArray[np.float64]:
    """``true / predicted``, NaN where the prediction is 0: such a point is never close."""
    return true / np.where(predicted == 0, np.nan, predicted)
