"""Where the bundle adjustment begins: cameras that only turn, points all equally far."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from kinedepth.geometry._projective_adjustment import (
    Observations,
    Reconstruction,
    adjust_together,
)

_REWEIGHTINGS = 10
_RATIOS_HELD, _RATIOS_IGNORED = (0.01, 1.0), (1.0, 1e-3)
"""Factors on the weights of rays and ratios while a start is made."""


def turning_cameras(seen: Observations) -> NDArray[np.float64]:
    """``(T, 3, 3)`` rotations, the first of them the identity, that explain most of the motion.

    Each is fitted to the points that the frame shares with the one before it, by Kabsch's
    method with weights that forgive points which parallax or their own motion carries away.
    """
    return turning_cameras_together([seen])[0]


def turning_cameras_together(seen: Sequence[Observations]) -> NDArray[np.float64]:
    """``(P, T, 3, 3)``: :func:`turning_cameras` of several with as many frames and points each."""
    rays = unit_rays(np.stack([each.ray for each in seen]))
    known = np.stack([each.ray_weight for each in seen]) > 0
    step = robust_rotations(rays[:, :-1], rays[:, 1:], known[:, :-1] & known[:, 1:])
    rotation = np.tile(np.eye(3), (*known.shape[:2], 1, 1))
    for t in range(1, known.shape[1]):
        rotation[:, t] = step[:, t - 1] @ rotation[:, t - 1]
    return rotation


def robust_rotations(
    before: NDArray[np.float64], after: NDArray[np.float64], known: NDArray[np.bool_]
) -> NDArray[np.float64]:
    """Rotations ``(..., 3, 3)`` that take unit rays ``before (..., n, 3)`` nearest to ``after``.

    Nearest in the sense of Geman and McClure, at the scale of the median residual of those rays
    that are ``known (..., n)``; the identity where fewer than two are.
    """
    count = known.sum(-1, keepdims=True)
    weight = known.astype(np.float64)
    for _ in range(_REWEIGHTINGS):
        left, _, right = np.linalg.svd((after * weight[..., None]).swapaxes(-1, -2) @ before)
        left[..., 2] *= np.sign(np.linalg.det(left @ right))[..., None]
        rotation = left @ right
        squared = ((after - before @ rotation.swapaxes(-1, -2)) ** 2).sum(-1)
        scale = _median(squared, known, count) + 1e-16
        weight = known / (1 + squared / scale) ** 2
    return np.where(count[..., None] > 1, rotation, np.eye(3))


def _median(
    values: NDArray[np.float64], known: NDArray[np.bool_], count: NDArray[np.int64]
) -> NDArray[np.float64]:
    """``(..., 1)`` median of the known among ``values (..., n)``; 0 where none is."""
    ordered = np.sort(np.where(known, values, np.inf), axis=-1)
    middle = [np.maximum(count + odd, 0) // 2 for odd in (-1, 0)]
    pair = [np.take_along_axis(ordered, np.minimum(i, known.shape[-1] - 1), -1) for i in middle]
    return np.where(count > 0, (pair[0] + pair[1]) / 2, 0.0)


def unit_rays(ray: NDArray[np.float64]) -> NDArray[np.float64]:
    """Unit vectors ``(..., 3)`` of rays ``(..., 2)`` at depth 1."""
    full = np.concatenate([ray, np.ones((*ray.shape[:-1], 1))], axis=-1)
    return full / np.linalg.norm(full, axis=-1, keepdims=True)


def equally_far(
    seen: Observations, rotation: NDArray[np.float64], reference: NDArray[np.int64]
) -> Reconstruction:
    """Points at depth 1 along their rays in frames ``reference (N,)``, no camera translated."""
    index = np.arange(seen.ray.shape[1])
    ray = np.concatenate([seen.ray[reference, index], np.ones((len(index), 1))], axis=-1)
    place = np.einsum("nji,nj->ni", rotation[reference], ray)
    # The factor that all four numbers of a point share follows its predicted ratios.
    depth = np.exp(seen.log_ratio[reference, index])
    point = np.concatenate([place, np.ones((len(index), 1))], axis=-1) * depth[:, None]
    return Reconstruction(rotation, np.zeros((len(rotation), 3)), point)


def two_starts(seen: Observations, begin: Reconstruction, iterations: int) -> list[Reconstruction]:
    """Reconstructions reached from where the ratios are held, and from where they are ignored."""
    trusting = [seen.trusting(*factors) for factors in (_RATIOS_HELD, _RATIOS_IGNORED)]
    found = adjust_together(trusting, [begin, begin], iterations)
    return [start for start, _ in adjust_together([seen, seen], [f for f, _ in found], iterations)]
