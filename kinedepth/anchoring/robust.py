"""One scale for each track and one error for each frame of a flickering source, fitted jointly.

``log depth(i, t) = log scale_i + log ratio(i, t) + flicker_t + noise``: depth that a source gives
is off by a factor that changes from frame to frame and is the same everywhere in a frame. Tracks
that are seen in the same frames share its estimate. Everything is robust: a source is wrong by
far in some places.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.sparse.linalg import LinearOperator, cg

_READING_STD = 0.02
"""Typical error of log depth in a clean reading, beside what its surroundings and its ratio add."""
_FLICKER_STD = 0.3
"""How far a frame's scale strays (log), before it is known better; wide on purpose."""
_MEDIAN_ROUNDS = 5
_REWEIGHTINGS = 12
_LEAST_STD = 0.003
"""Standard errors are never taken for smaller: what all frames share does not average out."""


@dataclass(frozen=True)
class ScaleFit:
    """The joint fit of scales and flicker.

    Attributes:
        log_scale: ``(N,)``; NaN for tracks without a reading.
        std: ``(N,)`` standard error of ``log_scale``; infinite without a reading.
        flicker: ``(T,)`` log of the source's factor in each frame; the median, weighted by how
            much each frame tells, is 0. Frames without a reading have 0.
        residual: ``(T, N)`` what remains of log depth; NaN where there is no reading.
        weight: ``(T, N)`` the part of each reading that counted: inverse variance, less where
            it is an outlier; 0 without a reading.
        noise: size of the errors relative to what their variances say.
        worth: how many independent readings one reading of a track amounts to, at most 1:
            errors of neighbouring frames resemble each other.
    """

    log_scale: NDArray[np.float64]
    std: NDArray[np.float64]
    flicker: NDArray[np.float64]
    residual: NDArray[np.float64]
    weight: NDArray[np.float64]
    noise: float
    worth: float


def fit_scales(
    log_depth: NDArray[np.floating],
    log_ratio: NDArray[np.floating],
    log_spread: NDArray[np.floating] | None = None,
    log_ratio_std: NDArray[np.floating] | None = None,
) -> ScaleFit:
    """Fit the scale of every track and the flicker of every frame.

    Medians by turns start it off; then least squares, reweighted with Cauchy's loss. Scales are
    eliminated, and the flicker solved for by conjugate gradients, which takes time and memory
    proportional to the number of readings however long the video.

    Args:
        log_depth: ``(T, N)`` log of the source's depth; NaN where there is no reading.
        log_ratio: ``(T, N)`` log of depth over depth at each track's query frame.
        log_spread: ``(T, N)`` how uncertain a reading is because of its surroundings (log); none
            by default.
        log_ratio_std: ``(T, N)`` standard deviation of ``log_ratio``; none by default.
    """
    known = np.isfinite(log_depth)
    target = np.where(known, log_depth.astype(np.float64) - log_ratio, 0.0)
    variance = np.full(target.shape, _READING_STD**2)
    for extra in (log_spread, log_ratio_std):
        if extra is not None:
            variance += np.square(extra, dtype=np.float64)
    base = known / variance
    scale, flicker = _by_medians(target, base)
    weight, noise = base, 1.0
    for _ in range(_REWEIGHTINGS):
        residual = np.where(known, target - scale - flicker[:, None], 0.0)
        noise = _spread_of((residual / np.sqrt(variance))[known])
        weight = base / (1 + np.square(residual) / (variance * (2 * noise) ** 2))
        prior = 1 / (_FLICKER_STD**2 * (1 + (flicker / (2 * _FLICKER_STD)) ** 2))
        scale, flicker = _least_squares(target, weight, noise**2 * prior, flicker)
    # What all tracks share of their ratios' error looks like flicker, too; frames in which ratios
    # are uncertain shall not decide where its middle is.
    middle = _weighted_medians(flicker[:, None], base.sum(axis=1, keepdims=True))[0]
    flicker, scale = np.where(known.any(axis=1), flicker - middle, 0.0), scale + middle
    scale = np.where(known.any(axis=0), scale, np.nan)
    residual = np.where(known, target - scale - flicker[:, None], np.nan)
    correlation = _lag_one_correlation(residual)
    worth = (1 - correlation) / (1 + correlation)
    std = _standard_errors(residual, weight, variance, noise, worth)
    return ScaleFit(scale, std, flicker, residual, weight, noise, worth)


def _by_medians(
    target: NDArray[np.float64], weight: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Scales ``(N,)`` and flicker ``(T,)`` that up to half of the readings cannot lead astray."""
    flicker = np.zeros(len(target))
    scale = np.zeros(target.shape[1])
    for _ in range(_MEDIAN_ROUNDS):
        scale = _weighted_medians(target - flicker[:, None], weight)
        flicker = _weighted_medians((target - scale).T, weight.T)
        flicker -= np.median(flicker)
    return scale, flicker


def _least_squares(
    target: NDArray[np.float64],
    weight: NDArray[np.float64],
    prior: NDArray[np.float64],
    start: NDArray[np.float64],
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Scales and flicker of least weighted squares, the flicker held by ``prior (T,)``."""
    by_track = np.maximum(weight.sum(axis=0), 1e-12)
    mean = (weight * target).sum(axis=0) / by_track
    diagonal = weight.sum(axis=1) + prior

    def normal(flicker: NDArray[np.float64]) -> NDArray[np.float64]:
        return diagonal * flicker - weight @ ((weight.T @ flicker) / by_track)

    frames = len(target)
    operator = LinearOperator((frames, frames), matvec=normal, dtype=np.float64)
    inverse = LinearOperator((frames, frames), matvec=lambda v: v / diagonal, dtype=np.float64)
    right = (weight * (target - mean)).sum(axis=1)
    # What does not converge in so many steps is what the readings hardly tell; it stays near 0.
    flicker, _ = cg(operator, right, x0=start, rtol=1e-9, maxiter=300, M=inverse)
    return mean - (weight.T @ flicker) / by_track, flicker


def _standard_errors(
    residual: NDArray[np.float64],
    weight: NDArray[np.float64],
    variance: NDArray[np.float64],
    noise: float,
    worth: float,
) -> NDArray[np.float64]:
    """Standard errors ``(N,)`` of the scales."""
    normalised = residual / np.sqrt(variance)
    std = np.full(residual.shape[1], np.inf)
    for n in np.flatnonzero(np.isfinite(residual).any(axis=0)):
        own = normalised[np.isfinite(normalised[:, n]), n]
        # A single reading has no residual to speak of: no track is trusted beyond the others.
        size = max(noise, _spread_of(own))
        independent = max(worth, 1 / len(own))
        std[n] = size / np.sqrt(max(weight[:, n].sum() * independent, 1e-12))
    return np.hypot(std, _LEAST_STD)


def _lag_one_correlation(residual: NDArray[np.float64]) -> float:
    """Correlation between residuals of neighbouring frames, at least 0."""
    before, after = residual[:-1], residual[1:]
    both = np.isfinite(before) & np.isfinite(after)
    if both.sum() < 10:
        return 0.0
    first, second = before[both], after[both]
    # Clipped, so that outliers, which last for many frames, do not speak for the rest.
    limit = 3 * _spread_of(np.concatenate([first, second]))
    first, second = np.clip(first, -limit, limit), np.clip(second, -limit, limit)
    power = float(np.sqrt((first @ first) * (second @ second)))
    return float(np.clip((first @ second) / power if power > 0 else 0.0, 0.0, 0.95))


def _spread_of(values: NDArray[np.float64]) -> float:
    """Standard deviation of the bulk of ``values`` about 0, from their median size."""
    if len(values) == 0:
        return 1.0
    return float(max(1.4826 * np.median(np.abs(values)), 1e-6))


def _weighted_medians(
    values: NDArray[np.float64], weight: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Weighted median of each column of ``(m, n)``; 0 where a column has no weight."""
    order = np.argsort(values, axis=0)
    share = np.cumsum(np.take_along_axis(weight, order, axis=0), axis=0)
    middle = (share >= 0.5 * share[-1]).argmax(axis=0)[None]
    median = np.take_along_axis(np.take_along_axis(values, order, axis=0), middle, axis=0)[0]
    return np.where(share[-1] > 0, median, 0.0)
