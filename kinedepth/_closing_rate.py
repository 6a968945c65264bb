"""A robust line through depth ratios over time, and the closing rate that it says."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

LEAST_FRAMES = 5
"""Frames that a fit needs at least: two for the line, the rest to see how well it fits."""

_REWEIGHTINGS = 4
_OUTLIER = 2.5
"""In robust standard deviations: where a residual begins to count less."""
_MOST_LIKENESS = 0.8
"""Of residuals in neighbouring frames; so few frames tell no more."""
_LEAST_NOISE = 1e-4
"""Residuals below this (log ratio) are never called outliers."""


def fit_closing_rate(
    log_ratio: NDArray[np.float64],
    visible: NDArray[np.bool_],
    time: NDArray[np.float64],
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Closing rate at time 0, its standard deviation and the degrees of freedom, each ``(N,)``.

    Args:
        log_ratio, visible: ``(W, N)`` in the window.
        time: ``(W,)`` seconds.
    """
    known = (visible & np.isfinite(log_ratio)).sum(axis=0) >= LEAST_FRAMES
    # Tracks that are not seen enough go along as a constant and are taken out at the end.
    counted = np.where(known, visible & np.isfinite(log_ratio), True)
    value = np.where(counted & known, log_ratio, np.where(known, np.nan, 0.0))
    # Relative to the middle of the window, so that noise in the logarithm is noise in the ratio.
    ratio = np.exp(np.clip(value - _median(value), -5, 5))
    x, seen = time[:, None], counted.astype(np.float64)
    slope = _median_slope(ratio, time)
    offset = _median(ratio - slope * x)
    for _ in range(_REWEIGHTINGS):
        away = np.abs(ratio - offset - slope * x)
        limit = _OUTLIER * np.maximum(1.4826 * _median(away), _LEAST_NOISE)
        weight = seen * np.minimum(1.0, limit / np.maximum(np.nan_to_num(away), 1e-12))
        offset, slope, inverse = _line(np.nan_to_num(ratio), x, weight)
    residual = np.nan_to_num(ratio - offset - slope * x)
    freedom = np.maximum(weight.sum(axis=0) - 2, 1.0)
    variance = (weight * residual**2).sum(axis=0) / freedom * _inflation(residual, weight)
    a, b, c = inverse  # var(offset), cov, var(slope), for unit noise
    offset = np.maximum(offset, 1e-6)
    rate = -slope / offset
    # d(rate) = -(d(slope) + rate * d(offset)) / offset
    random = variance * (c + 2 * rate * b + rate**2 * a) / offset**2
    std = np.sqrt(np.maximum(random, 0.0))
    found = np.where(known, np.stack([rate, std, freedom]), np.nan)
    return found[0], found[1], found[2]


def _median_slope(y: NDArray[np.float64], time: NDArray[np.float64]) -> NDArray[np.float64]:
    """Median ``(N,)`` of the slopes between pairs of frames; NaN in ``y (W, N)`` is left out.

    A start that one wrong frame cannot tilt (Theil and Sen); of many frames, pairs that lie far
    apart are enough.
    """
    first, second = np.triu_indices(len(time), k=1 if len(time) <= 12 else len(time) // 2)
    slopes = (y[second] - y[first]) / (time[second] - time[first])[:, None]
    return _median(slopes)


def _median(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Median ``(N,)`` of what is not NaN in ``values (W, N)``; each column holds something.

    As ``np.nanmedian``, which takes many times as long on columns as short as these.
    """
    ordered = np.sort(values, axis=0)  # NaN goes last
    count = np.isfinite(values).sum(axis=0)
    column = np.arange(values.shape[1])
    return np.asarray((ordered[(count - 1) // 2, column] + ordered[count // 2, column]) / 2)


def _inflation(residual: NDArray[np.float64], weight: NDArray[np.float64]) -> NDArray[np.float64]:
    """``(N,)`` >= 1: by how much variance grows because neighbouring frames err alike.

    That of a mean of first-order autoregressive noise, (1 + rho) / (1 - rho). Ratios come
    smoothed, and a speed that changes leaves a bend: both show as residuals of one sign in a row.
    """
    scaled = np.sqrt(weight) * residual
    power = np.maximum((scaled**2).sum(axis=0), 1e-30)
    likeness = np.clip((scaled[1:] * scaled[:-1]).sum(axis=0) / power, 0, _MOST_LIKENESS)
    return np.asarray((1 + likeness) / (1 - likeness))


def _line(
    y: NDArray[np.float64], x: NDArray[np.float64], weight: NDArray[np.float64]
) -> tuple[
    NDArray[np.float64],
    NDArray[np.float64],
    tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]],
]:
    """Weighted least-squares offset and slope ``(N,)``, and the inverse of the normal matrix."""
    total = np.maximum(weight.sum(axis=0), 1e-12)
    mean_x = (weight * x).sum(axis=0) / total
    mean_y = (weight * y).sum(axis=0) / total
    spread = np.maximum((weight * (x - mean_x) ** 2).sum(axis=0), 1e-12)
    slope = (weight * (x - mean_x) * (y - mean_y)).sum(axis=0) / spread
    offset = mean_y - slope * mean_x
    return offset, slope, (1 / total + mean_x**2 / spread, -mean_x / spread, 1 / spread)
