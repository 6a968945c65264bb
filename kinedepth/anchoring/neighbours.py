"""What the tracks around a track, where they move as it does, say about its depth.

Planes are linear in disparity over the image, so around each track a plane is fitted, robustly,
to the disparities of its neighbours. Only neighbours that move like the track count: two points
of one surface keep their distance in the image, and their depth changes by like factors.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

_COUNT = 12
"""Neighbours asked."""
_STRAIN = 0.25
"""Change of distance over distance at which two points begin to count as moving apart."""
_RATIO_DIFFERENCE = 0.05
"""Difference of log ratios at which two points begin to count as moving in depth apart."""
_LEAST_STD = 0.01
"""No neighbourhood is taken for a plane more exactly than this (log depth)."""
_LEAST_SUPPORT = 2.0
"""Sum of neighbours' likenesses below which they say nothing."""
_SLOPE_RIDGE = 0.05
"""Pull of the plane towards facing the camera, relative to its data: for too few neighbours."""
_REWEIGHTINGS = 4
_CAUTION = 4.0
"""Factor on the error that residuals suggest. Neighbours across an edge can move alike for the
whole of a clip; on rendered clips this is how far the tail of the errors reaches."""


def predict_from_neighbours(
    log_depth: NDArray[np.floating],
    std: NDArray[np.floating],
    log_ratio: NDArray[np.floating],
    xy: NDArray[np.floating],
    visible: NDArray[np.bool_],
    query_frame: NDArray[np.integer],
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Log depth of each track in its query frame as its neighbours there have it.

    Args:
        log_depth: ``(T, N)`` of the tracks; NaN in all frames where it is not known.
        std: ``(N,)`` standard errors of it; infinite where it is not known.
        log_ratio: ``(T, N)`` log of depth over depth at the query frame.
        xy: ``(T, N, 2)`` pixels.
        visible: ``(T, N)`` bool.
        query_frame: ``(N,)``.

    Returns:
        The prediction ``(N,)``, NaN where neighbours say nothing, and its standard error
        ``(N,)``, infinite there.
    """
    predicted = np.full(len(query_frame), np.nan)
    error = np.full(len(query_frame), np.inf)
    for frame in np.unique(query_frame):
        around = np.flatnonzero(visible[frame] & np.isfinite(std))
        asking = np.flatnonzero(query_frame == frame)
        if len(around) < 3:
            continue
        # Itself, and one more, at whose distance the say of a neighbour has come down to none.
        count = min(_COUNT + 2, len(around))
        distance, found = cKDTree(xy[frame, around]).query(xy[frame, asking], k=count)
        index = around[found]
        alike = _likeness(asking, index, int(frame), log_ratio, xy, visible)
        alike *= 1 - (distance / np.maximum(distance[:, -1:], 1e-6)) ** 2
        alike[index == asking[:, None]] = 0.0
        away = (xy[frame, index] - xy[frame, asking][:, None]).astype(np.float64)
        values = _plane_at_centre(away, log_depth[frame, index], std[index], alike)
        predicted[asking], error[asking] = values
    return predicted, error


def combine(
    log_depth: NDArray[np.floating],
    std: NDArray[np.floating],
    predicted: NDArray[np.floating],
    predicted_std: NDArray[np.floating],
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Two estimates ``(N,)`` and their standard errors as one, each weighing by its precision.

    An estimate with an infinite error does not count; where both have one, the result is NaN
    with an infinite error.
    """
    first, second = 1 / np.square(std), 1 / np.square(predicted_std)
    total = first + second
    value = np.where(first > 0, first * np.nan_to_num(log_depth), 0.0)
    value = value + np.where(second > 0, second * np.nan_to_num(predicted), 0.0)
    known = total > 0
    total = np.where(known, total, 1.0)
    return np.where(known, value / total, np.nan), np.where(known, 1 / np.sqrt(total), np.inf)


def _likeness(
    asking: NDArray[np.integer],
    index: NDArray[np.integer],
    frame: int,
    log_ratio: NDArray[np.floating],
    xy: NDArray[np.floating],
    visible: NDArray[np.bool_],
) -> NDArray[np.float64]:
    """``(n, k)`` from 0 to 1: do a track and its neighbour move like one surface?"""
    alike = np.empty(index.shape)
    for column in range(index.shape[1]):
        other = index[:, column]
        both = visible[:, asking] & visible[:, other]
        seen = both.sum(axis=0)
        gap = (xy[:, other] - xy[:, asking]).astype(np.float64)
        distance = np.maximum(np.linalg.norm(gap[frame], axis=-1), 1.0)
        strain = np.linalg.norm(gap - gap[frame], axis=-1) / distance
        ratio = log_ratio[:, other] - log_ratio[:, asking]
        ratio = ratio - ratio[frame]
        apart = both * ((strain / _STRAIN) ** 2 + (ratio / _RATIO_DIFFERENCE) ** 2)
        # Nothing is known of two points that are never seen together.
        alike[:, column] = (seen > 0) / (1 + apart.sum(axis=0) / np.maximum(seen, 1))
    return alike


def _plane_at_centre(
    away: NDArray[np.float64],
    log_depth: NDArray[np.floating],
    std: NDArray[np.floating],
    alike: NDArray[np.float64],
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Log depth ``(n,)`` at the centre of planes through ``k`` neighbours, and its error.

    Args:
        away: ``(n, k, 2)`` pixels from the centre.
        log_depth, std, alike: ``(n, k)`` of the neighbours.
    """
    support = alike.sum(axis=1)
    useful = support >= _LEAST_SUPPORT
    # In units of the middle disparity, residuals are errors of log depth.
    middle = _weighted_median(log_depth.astype(np.float64), alike)
    disparity = np.exp(middle[:, None] - log_depth)
    reach = np.maximum(np.sqrt((away**2).sum(-1).mean(axis=1)), 1.0)
    design = np.concatenate(
        [np.ones((*alike.shape, 1)), away / reach[:, None, None]], axis=-1
    )  # (n, k, 3)
    base = alike / (np.square(std) + _LEAST_STD**2)
    weight = base
    size = np.full(len(middle), 0.1)
    ridge = np.zeros((len(middle), 3, 3))
    for _ in range(_REWEIGHTINGS):
        ridge[:, 1, 1] = ridge[:, 2, 2] = _SLOPE_RIDGE * weight.sum(axis=1) + 1e-9
        ridge[:, 0, 0] = 1e-9
        weighted = design * weight[..., None]
        matrix = weighted.transpose(0, 2, 1) @ design + ridge
        right = weighted.transpose(0, 2, 1) @ disparity[..., None]
        plane = np.linalg.solve(matrix, right)[..., 0]
        residual = disparity - (design @ plane[..., None])[..., 0]
        size = 1.4826 * _weighted_median(np.abs(residual), alike) + _LEAST_STD
        weight = base / (1 + (residual / (2 * size[:, None])) ** 2)
    # A plane that ran through the camera is none.
    useful &= plane[:, 0] > 0.1
    counted = np.maximum(weight.sum(axis=1) ** 2 / np.maximum((weight**2).sum(axis=1), 1e-12), 1)
    error = _CAUTION * size * np.sqrt(1 + 3 / counted)
    value = middle - np.log(np.where(useful, plane[:, 0], 1.0))
    return np.where(useful, value, np.nan), np.where(useful, error, np.inf)


def _weighted_median(
    values: NDArray[np.float64], weight: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Weighted medians ``(n,)`` of rows ``(n, k)``."""
    order = np.argsort(values, axis=1)
    ordered = np.take_along_axis(values, order, axis=1)
    share = np.cumsum(np.take_along_axis(weight, order, axis=1), axis=1)
    middle = (share >= 0.5 * share[:, -1:]).argmax(axis=1)
    return ordered[np.arange(len(values)), middle]
