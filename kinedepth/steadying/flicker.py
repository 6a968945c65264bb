"""What of an error flickers, and what changes slowly.

Depth of a per-frame model disagrees with tracks by ``c_t = e_t + d_t``: e flickers from frame to
frame, and d drifts, because of the model or because ratios along tracks add up small errors. Who
of them is wrong about d cannot be told, so only e may be taken out. With e white, of variance s,
and d a random walk with steps of variance q, the best estimate of d given c minimises

    sum_t k_t (c_t - d_t)^2 + (s / q) sum_t (d_t - d_(t-1))^2

(Whittaker 1923; k_t tells how far c_t is known), and since E (c_t - c_(t-1))^2 = 2 s + q, the
data tell s. Little flicker makes a short-sighted d that follows c and leaves next to nothing of
it: steady depth stays as it is. The mean of e over time is 0.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

_LEAST_KNOWN = 0.2
"""Values known less than this do not count when flicker is measured."""
_LEAST_PAIRS = 4.0
"""Pairs of neighbouring frames, in sum, that tell how much flickers."""


def flicker_of(
    value: NDArray[np.float64], known: NDArray[np.float64], drift_std: float, noise_std: float
) -> NDArray[np.float64]:
    """The part of ``value`` that flickers, ``(T, ...)`` like it.

    Args:
        value: ``(T, ...)`` log error over time at one or more places, of one flicker strength,
            already multiplied by ``known``.
        known: ``(T, ...)``, 0 for not at all, 1 for fully.
        drift_std: square root of q, how far trustworthy ratios may drift in one frame, > 0.
        noise_std: white error of the measurement of c; flicker that is not stronger than this
            stays in.
    """
    error = np.where(known > 0, value / np.maximum(known, 1e-12), 0.0)
    sure = np.where(known >= _LEAST_KNOWN, known, 0.0)
    pairs = sure[1:] * sure[:-1]
    if pairs.sum() < _LEAST_PAIRS:
        return np.zeros_like(value)
    square = float((pairs * np.diff(error, axis=0) ** 2).sum() / pairs.sum())
    white = (square - drift_std**2) / 2
    signal = white - noise_std**2
    if signal <= 0:
        return np.zeros_like(value)
    slow = smoothed(error, known, white / drift_std**2)
    return (signal / white) * (value - known * slow)


def smoothed(
    value: NDArray[np.float64], weight: NDArray[np.float64], stiffness: float
) -> NDArray[np.float64]:
    """The d that minimises ``sum weight (value - d)^2 + stiffness sum (d_t - d_(t-1))^2``.

    Args:
        value, weight: ``(T, ...)``; each column is smoothed on its own. Columns without weight
            give 0.
        stiffness: > 0.
    """
    frames = len(value)
    diagonal = weight + stiffness * np.where(
        (np.arange(frames) == 0) | (np.arange(frames) == frames - 1), 1.0, 2.0
    ).reshape(-1, *(1,) * (value.ndim - 1))
    # A touch of weight keeps columns without any solvable.
    diagonal = diagonal + 1e-9 * stiffness
    right = weight * value
    # Thomas' algorithm, all columns at a time.
    ratio, solved = np.zeros_like(diagonal), np.zeros_like(right)
    for t in range(frames):
        before = stiffness * ratio[t - 1] if t else 0.0
        carried = stiffness * solved[t - 1] if t else 0.0
        pivot = diagonal[t] - before
        ratio[t] = stiffness / pivot
        solved[t] = (right[t] + carried) / pivot
    for t in range(frames - 2, -1, -1):
        solved[t] += ratio[t] * solved[t + 1]
    return solved
