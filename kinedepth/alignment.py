"""Robust solvers that bring overlapping pieces of a signal, each off by a constant, together.

Windows of Seurat know depth along a track up to an offset in the logarithm; the same problem
returns wherever overlapping predictions share frames. Where predictions differ by a factor as
well, one least-squares scale and shift brings each to the next.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import solveh_banded

_RIDGE = 1e-9
"""Pull of every value towards zero, relative to a data term; it fixes the free constant. Larger, it
would flatten long signals whose data have little weight: 1e-6 took 2 % off within 600 frames."""


@dataclass(frozen=True)
class Pieces:
    """Pieces of N signals that all have the same length F and the same frame step.

    Attributes:
        frames: ``(P, F)`` int64, the frames each piece covers, ascending by ``step``; starts
            differ from piece to piece.
        value: ``(P, F, N)`` the signals, up to a free offset for each piece and signal.
        weight: ``(P, F, N)`` >= 0, inverse variance relative to the others.
    """

    frames: NDArray[np.int64]
    value: NDArray[np.float64]
    weight: NDArray[np.float64]


def join_pieces(
    groups: Sequence[Pieces],
    frames: int,
    sigma: float = 0.01,
    smoothness: float = 1.0,
    robust_iterations: int = 4,
) -> NDArray[np.float64]:
    """Signals ``(frames, N)`` that agree best with all pieces, each given a free offset.

    Minimises, for each signal x on its own, the sum over pieces w and their frames f of
    ``weight * rho((x_f - o_w - value_wf) / sigma)`` plus ``smoothness`` times the sum of squared
    second differences of ``x / sigma``, with Cauchy's rho (2 sigma wide) by iteratively
    reweighted least squares. Offsets are eliminated, so each solve is banded with the width of
    the longest piece. The result is known up to a constant for each signal; its mean is near
    the pieces' own.

    Args:
        groups: pieces of like length and step (one group for each dilation, say).
        frames: length of the joined signals; every frame should be in some piece.
        sigma: typical error of a value.
        smoothness: weight of the second differences relative to one datum.
        robust_iterations: reweightings; 0 is plain least squares.
    """
    signals = groups[0].value.shape[2]
    band = max(2, *(int(group.frames[0, -1] - group.frames[0, 0]) for group in groups))
    band = min(band, frames - 1)
    joined = np.zeros((frames, signals))
    robust = [np.ones_like(group.value) for group in groups]
    for iteration in range(robust_iterations + 1):
        matrix, right = _smoothness_matrix(frames, band, smoothness, signals)
        for group, factor in zip(groups, robust, strict=True):
            _add_pieces(matrix, right, group, group.weight * factor)
        for n in range(signals):
            joined[:, n] = solveh_banded(
                matrix[:, :, n], right[:, n], lower=True, check_finite=False
            )
        if iteration < robust_iterations:
            robust = [_cauchy(group, joined, sigma) for group in groups]
    return joined


def _smoothness_matrix(
    frames: int, band: int, smoothness: float, signals: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Lower banded normal matrix ``(band + 1, frames, N)`` and right side ``(frames, N)``."""
    matrix = np.zeros((band + 1, frames, 1))
    matrix[0] += _RIDGE
    stencil = np.array([1.0, -2.0, 1.0])
    count = frames - 2  # second differences; two frames have none
    for i in range(3 if count > 0 else 0):
        for j in range(i + 1):
            # Row of the lower band: distance between the two columns; column: the earlier one.
            matrix[i - j, j : j + count] += smoothness * stencil[i] * stencil[j]
    return np.repeat(matrix, signals, axis=2), np.zeros((frames, signals))


def _add_pieces(
    matrix: NDArray[np.float64],
    right: NDArray[np.float64],
    group: Pieces,
    weight: NDArray[np.float64],
) -> None:
    """Add the normal equations of one group with its offsets eliminated.

    For one piece with weights w the term is (x - v)^T (diag(w) - w w^T / sum(w)) (x - v).
    """
    total = np.maximum(weight.sum(axis=1), 1e-12)
    centred = group.value - (weight * group.value).sum(axis=1, keepdims=True) / total[:, None]
    length = group.frames.shape[1]
    for i in range(length):
        # Pieces of a group start at different frames, so no index repeats within one add.
        at = group.frames[:, i]
        right[at] += weight[:, i] * centred[:, i]
        matrix[0, at] += weight[:, i]
        for j in range(i + 1):
            earlier = group.frames[:, j]
            distance = int(group.frames[0, i] - group.frames[0, j])
            matrix[distance, earlier] -= weight[:, i] * weight[:, j] / total


def _cauchy(group: Pieces, joined: NDArray[np.float64], sigma: float) -> NDArray[np.float64]:
    """Weights of Cauchy's loss for what each piece disagrees by, its offset taken out."""
    difference = joined[group.frames] - group.value
    weight = group.weight
    total = np.maximum(weight.sum(axis=1, keepdims=True), 1e-12)
    difference = difference - (weight * difference).sum(axis=1, keepdims=True) / total
    return 1 / (1 + (difference / (2 * sigma)) ** 2)


def fit_scale_and_shift(
    prediction: NDArray[np.floating],
    target: NDArray[np.floating],
    mask: NDArray[np.bool_] | None = None,
) -> tuple[float, float]:
    """Scale a and shift b that minimise the sum of ``(a * prediction + b - target)**2``.

    Args:
        prediction, target: of one shape, any number of dimensions.
        mask: of that shape, the values that count; None for all.

    Returns:
        ``(a, b)``; ``(1, 0)`` where the prediction is constant and does not determine them.
    """
    prediction, target = _counted(prediction, target, mask)
    if prediction.size == 0:
        return 1.0, 0.0
    mean, target_mean = float(prediction.mean()), float(target.mean())
    centred = prediction - mean
    variance = float(centred @ centred)
    # What rounding leaves of a constant is no variance.
    if variance <= 1e-12 * float(prediction @ prediction):
        return 1.0, 0.0
    scale = float(centred @ target) / variance
    return scale, target_mean - scale * mean


def fit_scale(
    prediction: NDArray[np.floating],
    target: NDArray[np.floating],
    mask: NDArray[np.bool_] | None = None,
) -> float:
    """Scale a that minimises the sum of ``(a * prediction - target)**2``; 1 if all are 0.

    Args: as for :func:`fit_scale_and_shift`.
    """
    prediction, target = _counted(prediction, target, mask)
    power = float(prediction @ prediction)
    return float(prediction @ target) / power if power > 0 else 1.0


def crossfade_weights(frames: int) -> NDArray[np.float32]:
    """``(frames,)`` weights of the later of two overlapping pieces: 0 at first, 1 at last."""
    return np.linspace(0, 1, frames, dtype=np.float32)


def _counted(
    prediction: NDArray[np.floating],
    target: NDArray[np.floating],
    mask: NDArray[np.bool_] | None,
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The values that count, flat, in double precision: sums over millions of pixels follow."""
    if mask is not None:
        prediction, target = prediction[mask], target[mask]
    return prediction.ravel().astype(np.float64), target.ravel().astype(np.float64)
