"""Projective bundle adjustment: Levenberg-Marquardt with the points eliminated.

Unknown are the camera's motion (R_t, tau_t) and for each point a homogeneous place (X_i, q_i),
four numbers whose common factor is fixed by the predicted ratios: with P = R_t X_i + q_i tau_t,

    image position   P_xy / P_z = ray(i, t)
    depth ratio      log P_z    = log_ratio(i, t)

so depth at t is P_z / q_i, a point at infinity has q_i = 0, and a prediction that is off by a
constant factor for a point costs nothing. Every point meets only its own four unknowns and the
cameras, so the normal equations reduce to a dense system of six unknowns a frame (the Schur
complement; Triggs et al., "Bundle Adjustment: A Modern Synthesis", 2000, section 6.1).
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import LinAlgError, cho_factor, cho_solve
from scipy.spatial.transform import Rotation

_CAUCHY_WIDTH = 2.0
"""Residuals, in standard deviations, from which on Cauchy's loss grows slowly."""
_NEAREST = 1e-3
"""Depth, in the point's own reference depths, below which a point counts as behind the camera."""
_BEHIND = 1e6
"""Squared residual of a point that should be seen but lies behind the camera."""
_SETTLED = 1e-6
"""Relative gain below which the adjustment has converged."""
_LARGEST_DAMPING = 1e8


@dataclass(frozen=True)
class Observations:
    """What is known about N points in T frames.

    Attributes:
        ray: ``(T, N, 2)`` x / z and y / z of the rays to the points.
        log_ratio: ``(T, N)`` log of depth, up to a constant for each point.
        ray_weight: ``(T, N)`` inverse variance of ``ray``; 0 where a point is not seen.
        ratio_weight: ``(T, N)`` inverse variance of ``log_ratio``; 0 where it is not known.
    """

    ray: NDArray[np.float64]
    log_ratio: NDArray[np.float64]
    ray_weight: NDArray[np.float64]
    ratio_weight: NDArray[np.float64]

    def at(
        self, frames: NDArray[np.int64] | slice, points: NDArray[np.int64] | slice
    ) -> Observations:
        """Some frames and points only."""
        return Observations(
            *(getattr(self, name)[frames][:, points] for name in self.__dataclass_fields__)
        )

    def trusting(self, rays: float, ratios: float) -> Observations:
        """The same, with the weights of rays and ratios multiplied by these factors."""
        return replace(
            self, ray_weight=rays * self.ray_weight, ratio_weight=ratios * self.ratio_weight
        )


@dataclass(frozen=True)
class Reconstruction:
    """Cameras and points.

    Attributes:
        rotation: ``(T, 3, 3)`` world to camera; translation: ``(T, 3)``.
        point: ``(N, 4)`` homogeneous places (X, q), X in the world.
        focal_factor: the focal length over the one that the rays were made with.
    """

    rotation: NDArray[np.float64]
    translation: NDArray[np.float64]
    point: NDArray[np.float64]
    focal_factor: float = 1.0

    def in_cameras(self) -> NDArray[np.float64]:
        """``(T, N, 3)``: P, each point in each camera in units of its reference depth."""
        place = np.einsum("tij,nj->tni", self.rotation, self.point[:, :3])
        return place + self.point[None, :, 3:] * self.translation[:, None]

    def rescaled(self, length: float) -> Reconstruction:
        """The same scene with another unit of length: ``length`` old ones."""
        point = self.point.copy()
        point[:, 3] *= length
        return replace(self, translation=self.translation / length, point=point)


@dataclass(frozen=True)
class Residuals:
    """How a reconstruction disagrees with observations, in standard deviations.

    Attributes:
        ray: ``(T, N, 2)``; ratio: ``(T, N)``; both 0 where nothing is known.
        behind: ``(T, N)`` bool, seen but behind the camera.
    """

    ray: NDArray[np.float64]
    ratio: NDArray[np.float64]
    behind: NDArray[np.bool_]

    def cost(self) -> NDArray[np.float64]:
        """``(N,)`` Cauchy's loss of each point, summed over frames."""
        ray = np.where(self.behind, _BEHIND, (self.ray**2).sum(-1))
        width = _CAUCHY_WIDTH**2
        return width * (np.log1p(ray / width) + np.log1p(self.ratio**2 / width)).sum(0)


def compare(found: Reconstruction, seen: Observations) -> Residuals:
    """Residuals of ``found``."""
    place = found.in_cameras()
    known = seen.ray_weight > 0
    behind = place[..., 2] < _NEAREST
    z = np.maximum(place[..., 2], _NEAREST)
    off = found.focal_factor * place[..., :2] / z[..., None] - seen.ray
    ahead = known & ~behind
    ray = np.where(ahead[..., None], off, 0.0) * np.sqrt(seen.ray_weight)[..., None]
    ratio = np.where(behind, 0.0, np.log(z) - seen.log_ratio) * np.sqrt(seen.ratio_weight)
    return Residuals(ray, ratio, behind & known)


def adjust(
    seen: Observations,
    start: Reconstruction,
    iterations: int = 50,
    estimate_focal: bool = False,
    cameras_held: bool = False,
) -> tuple[Reconstruction, float]:
    """The reconstruction near ``start`` that fits best in the sense of Cauchy's loss.

    Args:
        seen: rays and ratios with their weights.
        start: where to begin; its first camera stays as it is.
        iterations: at most so many steps.
        estimate_focal: move the focal length, too.
        cameras_held: move the points only.

    Returns:
        The reconstruction and its cost.
    """
    found = start
    residuals = compare(found, seen)
    cost = float(residuals.cost().sum())
    damping = 1e-3
    for _ in range(iterations):
        equations = _NormalEquations.of(found, seen, residuals, estimate_focal)
        gain = 0.0
        while damping < _LARGEST_DAMPING:
            step = equations.solve(damping, cameras_held)
            if step is not None:
                trial = _moved(found, *step)
                trial_residuals = compare(trial, seen)
                trial_cost = float(trial_residuals.cost().sum())
                if trial_cost < cost:
                    gain = cost - trial_cost
                    found, residuals, cost = trial, trial_residuals, trial_cost
                    damping = max(damping / 5, 1e-9)
                    break
            damping *= 4
        if gain <= _SETTLED * cost:
            break
    return found, cost


def point_information(found: Reconstruction, seen: Observations) -> NDArray[np.float64]:
    """``(N, 4, 4)`` information about each point (X, q) while the cameras are held."""
    factors = _robust_factors(compare(found, seen), seen)
    by_point = _jacobians(found, *factors)[1]
    return np.einsum("tnri,tnrj->nij", by_point, by_point)


@dataclass(frozen=True)
class _NormalEquations:
    """Gauss-Newton's normal equations, reweighted, in blocks.

    C = 6 T (+ 1 for the focal length) unknowns of cameras, 4 for each of N points.
    """

    cameras: NDArray[np.float64]  # (C, C)
    points: NDArray[np.float64]  # (N, 4, 4)
    mixed: NDArray[np.float64]  # (C, N, 4)
    camera_side: NDArray[np.float64]  # (C,)
    point_side: NDArray[np.float64]  # (N, 4)

    @classmethod
    def of(
        cls, found: Reconstruction, seen: Observations, now: Residuals, estimate_focal: bool
    ) -> _NormalEquations:
        ray_factor, ratio_factor = _robust_factors(now, seen)
        by_camera, by_point = _jacobians(found, ray_factor, ratio_factor)
        width = _CAUCHY_WIDTH**2
        residual = np.concatenate([now.ray, now.ratio[..., None]], axis=-1)
        residual[..., :2] /= np.sqrt(1 + (now.ray**2).sum(-1) / width)[..., None]
        residual[..., 2] /= np.sqrt(1 + now.ratio**2 / width)

        frames, count = ray_factor.shape
        mixed = np.zeros((frames, 6, count, 4))
        for row in range(3):
            mixed += (
                by_camera[:, :, row].transpose(0, 2, 1)[..., None] * by_point[:, None, :, row, :]
            )
        own = by_camera.reshape(frames, count * 3, 6)
        blocks = own.transpose(0, 2, 1) @ own
        size = 6 * frames + estimate_focal
        cameras = np.zeros((size, size))
        for t in range(frames):
            cameras[6 * t : 6 * t + 6, 6 * t : 6 * t + 6] = blocks[t]
        camera_side = np.zeros(size)
        camera_side[: 6 * frames] = -np.einsum("tnri,tnr->ti", by_camera, residual).ravel()
        mine = by_point.transpose(1, 0, 2, 3).reshape(count, frames * 3, 4)
        turned = residual.transpose(1, 0, 2).reshape(count, frames * 3, 1)
        points = mine.transpose(0, 2, 1) @ mine
        point_side = -(mine.transpose(0, 2, 1) @ turned)[..., 0]
        all_mixed = mixed.reshape(6 * frames, count, 4)
        if estimate_focal:
            place = found.in_cameras()
            z = np.maximum(place[..., 2:], _NEAREST)
            by_focal = found.focal_factor * place[..., :2] / z * ray_factor[..., None]
            cross = np.einsum("tnri,tnr->ti", by_camera[:, :, :2], by_focal).ravel()
            cameras[-1, :-1] = cameras[:-1, -1] = cross
            cameras[-1, -1] = (by_focal**2).sum()
            camera_side[-1] = -(by_focal * residual[..., :2]).sum()
            with_points = np.einsum("tnri,tnr->ni", by_point[:, :, :2], by_focal)
            all_mixed = np.concatenate([all_mixed, with_points[None]])
        return cls(cameras, points, all_mixed, camera_side, point_side)

    def solve(
        self, damping: float, cameras_held: bool
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]] | None:
        """Steps of the cameras ``(C,)`` and points ``(N, 4)``; None if no step is defined."""
        points = _damped(self.points, damping)
        try:
            inverse = np.linalg.inv(points)
        except np.linalg.LinAlgError:
            return None
        step = np.zeros(len(self.cameras))
        if not cameras_held:
            weighted = np.matmul(self.mixed.transpose(1, 0, 2), inverse)  # (N, C, 4)
            flat = weighted.transpose(1, 0, 2).reshape(len(self.cameras), -1)
            reduced = (
                _damped(self.cameras, damping) - flat @ self.mixed.reshape(len(self.cameras), -1).T
            )
            side = self.camera_side - flat @ self.point_side.ravel()
            # The first camera is where the world is.
            try:
                factor = cho_factor(reduced[6:, 6:], lower=True, check_finite=False)
            except LinAlgError:
                return None
            step[6:] = cho_solve(factor, side[6:], check_finite=False)
        rest = self.point_side - np.einsum("cnj,c->nj", self.mixed, step)
        move = (inverse @ rest[..., None])[..., 0]
        if not (np.isfinite(step).all() and np.isfinite(move).all()):
            return None
        return step, move


def _damped(blocks: NDArray[np.float64], damping: float) -> NDArray[np.float64]:
    """Square blocks ``(..., k, k)`` with Marquardt's damping, and a floor for what is not seen."""
    size = blocks.shape[-1]
    diagonal = np.diagonal(blocks, axis1=-2, axis2=-1)
    floor = 1e-9 * np.max(diagonal, initial=1e-9)
    result = blocks.copy()
    index = np.arange(size)
    result[..., index, index] += damping * diagonal + floor
    return result


def _robust_factors(
    now: Residuals, seen: Observations
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Square roots ``(T, N)`` of the weights of rays and ratios, Cauchy's loss included."""
    width = _CAUCHY_WIDTH**2
    ray = seen.ray_weight / (1 + (now.ray**2).sum(-1) / width)
    ratio = seen.ratio_weight / (1 + now.ratio**2 / width)
    return np.sqrt(np.where(now.behind, 0.0, ray)), np.sqrt(np.where(now.behind, 0.0, ratio))


def _jacobians(
    found: Reconstruction, ray_factor: NDArray[np.float64], ratio_factor: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Derivatives of the weighted residuals, ``(T, N, 3, 6)`` and ``(T, N, 3, 4)``.

    Rows: x, y, log ratio. By a turn of the camera (left of R), a shift of tau; by (X, q).
    """
    turned = np.einsum("tij,nj->tni", found.rotation, found.point[:, :3])
    place = turned + found.point[None, :, 3:] * found.translation[:, None]
    z = np.maximum(place[..., 2], _NEAREST)
    by_place = np.zeros((*z.shape, 3, 3))
    by_place[..., 0, 0] = by_place[..., 1, 1] = found.focal_factor * ray_factor / z
    scale = -found.focal_factor * ray_factor / z**2
    by_place[..., 0, 2] = scale * place[..., 0]
    by_place[..., 1, 2] = scale * place[..., 1]
    by_place[..., 2, 2] = ratio_factor / z

    by_camera = np.empty((*z.shape, 3, 6))
    # d(w x p)/dw = -[p]x, so each row a of the chain becomes p x a.
    by_camera[..., :3] = np.cross(turned[:, :, None, :], by_place)
    by_camera[..., 3:] = by_place * found.point[None, :, 3, None, None]
    by_point = np.empty((*z.shape, 3, 4))
    by_point[..., :3] = by_place @ found.rotation[:, None]
    by_point[..., 3] = (by_place @ found.translation[:, None, :, None])[..., 0]
    return by_camera, by_point


def _moved(
    found: Reconstruction, cameras: NDArray[np.float64], points: NDArray[np.float64]
) -> Reconstruction:
    """``found`` after a step of cameras ``(C,)`` and points ``(N, 4)``."""
    frames = len(found.rotation)
    step = cameras[: 6 * frames].reshape(frames, 6)
    turn = Rotation.from_rotvec(step[:, :3]).as_matrix()
    factor = found.focal_factor
    if len(cameras) > 6 * frames:
        factor *= float(np.exp(np.clip(cameras[-1], -0.2, 0.2)))
    return Reconstruction(
        turn @ found.rotation, found.translation + step[:, 3:], found.point + points, factor
    )
