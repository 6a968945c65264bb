"""Where the bundle adjustment begins: cameras that only turn, points all equally far."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from kinedepth.geometry._projective_adjustment import Observations, Reconstruction, adjust

_REWEIGHTINGS = 10
_RATIOS_HELD, _RATIOS_IGNORED = (0.01, 1.0), (1.0, 1e-3)
"""Factors on the weights of rays and ratios while a start is made."""


def turning_cameras(seen: Observations) -> NDArray[np.float64]:
    """``(T, 3, 3)`` rotations, the first of them the identity, that explain most of the motion.

    Each is fitted to the points that the frame shares with the one before it, by Kabsch's
    method with weights that forgive points which parallax or their own motion carries away.
    """
    rays = unit_rays(seen.ray)
    rotation = np.tile(np.eye(3), (len(rays), 1, 1))
    for t in range(1, len(rays)):
        both = (seen.ray_weight[t] > 0) & (seen.ray_weight[t - 1] > 0)
        step = robust_rotation(rays[t - 1, both], rays[t, both])
        rotation[t] = step @ rotation[t - 1]
    return rotation


def robust_rotation(before: NDArray[np.float64], after: NDArray[np.float64]) -> NDArray[np.float64]:
    """Rotation ``(3, 3)`` that takes unit rays ``before (n, 3)`` nearest to ``after``.

    Nearest in the sense of Geman and McClure, at the scale of the median residual.
    """
    if len(before) < 2:
        return np.eye(3)
    weight = np.ones(len(before))
    for _ in range(_REWEIGHTINGS):
        left, _, right = np.linalg.svd((after * weight[:, None]).T @ before)
        sign = np.sign(np.linalg.det(left @ right))
        rotation = left @ np.diag([1.0, 1.0, sign]) @ right
        squared = ((after - before @ rotation.T) ** 2).sum(-1)
        scale = np.median(squared) + 1e-16
        weight = 1 / (1 + squared / scale) ** 2
    return rotation


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
    """Reconstructions found with the ratios held, and with the ratios ignored."""
    return [
        adjust(seen.trusting(*factors), begin, iterations)[0]
        for factors in (_RATIOS_HELD, _RATIOS_IGNORED)
    ]
