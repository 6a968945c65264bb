"""The unknown shift of affine-invariant depth, from how points move.

A source that is right up to a scale and a shift gives ``value + shift`` proportional to disparity
(or to depth). Along a track disparity changes by ``x(t) = exp(-log ratio)`` (depth by
``exp(log ratio)``), so

    value(i, t) + shift = q_i * g_t * x(i, t)

with one unknown ``q_i`` for each track and one gain ``g_t``, median 1, for each frame. Where
depth does not change, any shift fits; where it does, along enough tracks, only one does. A source
that looks at each frame alone has a shift for each; these stay near each other.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

_ROUNDS = 25
_LEAST_READINGS = 4
"""Readings that a track needs to have a say."""
_SHIFT_RIDGE = 1e-3
"""Pull of a frame's own shift towards the common one, relative to its readings."""
_LEAST_PRECISION = 0.15
"""Standard error that the shift may leave in the depth of near points relative to far ones."""


@dataclass(frozen=True)
class ShiftFit:
    """The shift, and whether motion tells it.

    Attributes:
        shift: ``(T,)`` to add to the source's values in each frame, in their unit.
        precision: standard error that it leaves in the log depth of the nearer tenth of the
            readings relative to the farther tenth.
        observable: whether that is good enough to call it known.
    """

    shift: NDArray[np.float64]
    precision: float
    observable: bool


def fit_shift(
    value: NDArray[np.floating],
    log_ratio: NDArray[np.floating],
    larger_is_nearer: bool,
    per_frame: bool = False,
) -> ShiftFit:
    """Fit the shift of a source's values, robustly.

    Args:
        value: ``(T, N)`` readings of the source; NaN where there is none.
        log_ratio: ``(T, N)`` log of depth over depth at each track's query frame.
        larger_is_nearer: whether values are disparity; otherwise depth.
        per_frame: whether shifts differ from frame to frame.
    """
    known = np.isfinite(value)
    known &= known.sum(axis=0) >= _LEAST_READINGS
    if not known.any():
        return ShiftFit(np.zeros(len(value)), np.inf, False)
    # In units of the values' own spread, centred, so that no tolerance depends on their unit.
    centre = float(np.median(value[known]))
    unit = max(float(np.quantile(value[known], 0.9) - np.quantile(value[known], 0.1)), 1e-30)
    v = np.where(known, (value.astype(np.float64) - centre) / unit, 0.0)
    x = np.exp(-log_ratio if larger_is_nearer else log_ratio).astype(np.float64)
    gain, own = np.ones((len(v), 1)), np.zeros((len(v), 1))
    weight = known.astype(np.float64)
    residual = np.zeros_like(v)
    shift, information = 0.0, 0.0
    for _ in range(_ROUNDS):
        shift, q, information = _shift_and_slopes(v + own, gain * x, weight)
        model = q * x
        gain, own = _gains_and_shifts(v + shift, model, weight, per_frame)
        residual = np.where(known, v + shift + own - gain * model, 0.0)
        size = 1.4826 * float(np.median(np.abs(residual[known]))) + 1e-9
        weight = known / (1 + np.square(residual / (2 * size)))
    std = _standard_error(residual, weight, known, information)
    absolute = unit * (shift + own) - centre
    precision = _effect((value + absolute)[known], unit * std)
    return ShiftFit(absolute[:, 0], precision, precision < _LEAST_PRECISION)


def _shift_and_slopes(
    v: NDArray[np.float64], x: NDArray[np.float64], weight: NDArray[np.float64]
) -> tuple[float, NDArray[np.float64], float]:
    """Shift, slopes ``(N,)`` and information on the shift of least squares, gains being known.

    For a given shift the best slope of a track is a projection; what the projections leave of
    ``v`` and of a constant determines the shift.
    """
    power = np.maximum((weight * x * x).sum(axis=0), 1e-12)
    of_value = (weight * x * v).sum(axis=0) / power
    of_constant = (weight * x).sum(axis=0) / power
    left = 1 - of_constant * x
    information = float((weight * left * left).sum())
    if information <= 1e-12:
        return 0.0, of_value, 0.0
    shift = -float((weight * left * (v - of_value * x)).sum()) / information
    return shift, of_value + shift * of_constant, information


def _gains_and_shifts(
    disparity: NDArray[np.float64],
    model: NDArray[np.float64],
    weight: NDArray[np.float64],
    per_frame: bool,
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Gains ``(T, 1)``, median 1, and shifts ``(T, 1)``, median 0, of the frames.

    A line through each frame's values over what the model says of them; without ``per_frame``
    one through the origin.
    """
    count = weight.sum(axis=1, keepdims=True)
    sums = (weight * model).sum(axis=1, keepdims=True)
    power = (weight * model * model).sum(axis=1, keepdims=True)
    product = (weight * model * disparity).sum(axis=1, keepdims=True)
    own = np.zeros_like(count)
    if per_frame:
        totals = (weight * disparity).sum(axis=1, keepdims=True)
        held = count * (1 + _SHIFT_RIDGE)
        determinant = np.maximum(power * held - sums**2, 1e-12)
        intercept = (power * totals - sums * product) / determinant
        own = np.where(count > 2, -intercept, 0.0)
        own -= np.median(own)
    gain = (product + own * sums) / np.maximum(power, 1e-12)
    seen = (power > 1e-12) & (gain > 0)
    gain = np.where(seen, gain, 1.0)
    middle = float(np.median(gain[seen])) if seen.any() else 1.0
    return gain / middle, own


def _standard_error(
    residual: NDArray[np.float64],
    weight: NDArray[np.float64],
    known: NDArray[np.bool_],
    information: float,
) -> float:
    """Of the shift. Errors along a track last, so that a track counts as few readings."""
    if information <= 0:
        return np.inf
    variance = float((weight * residual**2).sum() / max(weight.sum(), 1e-12))
    both = known[:-1] & known[1:]
    first, second = (weight * residual)[:-1][both], (weight * residual)[1:][both]
    power = float(np.sqrt((first @ first) * (second @ second)))
    correlation = float(np.clip((first @ second) / power, 0, 0.98)) if power > 0 else 0.0
    return float(np.sqrt(variance / information * (1 + correlation) / (1 - correlation)))


def _effect(disparity: NDArray[np.floating], std: float) -> float:
    """What an error of the shift does to log depth between near and far readings."""
    positive = disparity[disparity > 0]
    if len(positive) < 0.5 * len(disparity) or not np.isfinite(std):
        return np.inf
    low, high = np.quantile(positive, [0.1, 0.9])
    return float(std * (1 / low - 1 / high))
