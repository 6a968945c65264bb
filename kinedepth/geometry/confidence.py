"""Is there parallax at all, and how well does it tell depth?"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from kinedepth.geometry._projective_adjustment import (
    Observations,
    Reconstruction,
    point_information,
)
from kinedepth.geometry._starts import unit_rays

_ALTERNATIONS = 8


def parallax_to_noise(found: Reconstruction, seen: Observations, rigid: NDArray[np.bool_]) -> float:
    """Parallax over noise: what the best turning camera cannot explain, over what none explains.

    Both are root mean squares along a track, of the typical (median) rigid track: of the
    *reconstructed* rays, what is left after the rotations and directions that fit them best;
    and of the observed rays, what the reconstruction leaves. Noise fitted as if it were parallax
    gives about 1, since noise is as large across the epipolar lines as along them.
    """
    place = found.in_cameras()[:, rigid]
    ray = found.focal_factor * place[..., :2] / np.maximum(place[..., 2:], 1e-3)
    known = (seen.ray_weight[:, rigid] > 0) & (place[..., 2] > 1e-3)
    parallax = _without_rotation(ray, known, found.rotation)
    noise = ((seen.ray[:, rigid] - ray) ** 2).sum(-1)
    count = known.sum(0)
    enough = count > 1
    if not enough.any():
        return 0.0
    signal, rest = (
        np.median(np.where(known, each, 0.0).sum(0)[enough] / count[enough])
        for each in (parallax, noise)
    )
    return float(np.sqrt(signal / max(rest, 1e-18)))


def _without_rotation(
    ray: NDArray[np.float64], known: NDArray[np.bool_], rotation: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Squared distance ``(T, N)`` of unit rays to fixed directions seen by turning cameras."""
    rays = unit_rays(ray) * known[..., None]
    for _ in range(_ALTERNATIONS):
        direction = np.einsum("tji,tnj->ni", rotation, rays)
        direction /= np.maximum(np.linalg.norm(direction, axis=-1, keepdims=True), 1e-12)
        left, _, right = np.linalg.svd(np.einsum("tni,nj->tij", rays, direction))
        sign = np.ones((len(rays), 1, 3))
        sign[:, 0, 2] = np.linalg.det(left @ right)
        rotation = (left * sign) @ right
    turned = np.einsum("tij,nj->tni", rotation, direction)
    return ((rays - turned) ** 2).sum(-1)


def depth_uncertainty(
    found: Reconstruction, seen: Observations
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Inverse depths and how well they are known, the cameras held where they are.

    Returns:
        ``(N,)`` the fourth numbers of the points, none below its own standard error: a point
        that lies "beyond infinity" is only known to be far; and ``(N,)`` the standard error of
        the logarithm of depth, from the inverse of each point's information.
    """
    information = point_information(found, seen)
    scale = np.trace(information, axis1=-2, axis2=-1)[:, None, None]
    covariance = np.linalg.inv(information + 1e-12 * np.maximum(scale, 1e-12) * np.eye(4))
    size = np.maximum(np.linalg.norm(found.point[:, :3], axis=-1), 1e-12)
    # Of q while the common factor of a point's four numbers, which means nothing, stays.
    direction = np.empty_like(found.point)
    direction[:, :3] = -found.point[:, :3] * (found.point[:, 3] / size**2)[:, None]
    direction[:, 3] = 1
    variance = np.einsum("ni,nij,nj->n", direction, covariance, direction)
    error = np.sqrt(np.maximum(variance, 0))
    inverse = np.maximum(found.point[:, 3], np.maximum(np.minimum(error, size), 1e-6 * size))
    return inverse, error / inverse
