"""Projective bundle adjustment: Levenberg-Marquardt with the points eliminated.

Unknown are the camera's motion (R_t, tau_t) and for each point a homogeneous place (X_i, q_i),
four numbers whose common factor is fixed by the predicted ratios: with P = R_t X_i + q_i tau_t,

    image position   P_xy / P_z = ray(i, t)
    depth ratio      log P_z    = log_ratio(i, t)

so depth at t is P_z / q_i, a point at infinity has q_i = 0, and a prediction that is off by a
constant factor for a point costs nothing. Many small problems of one size are adjusted together:
each step of theirs is then a few operations on large arrays.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from kinedepth.geometry._normal_equations import Known, Misfit, NormalEquations, Scenes

_SETTLED = 1e-6
"""Relative change of the cost below which the adjustment has converged."""
_FIRST_DAMPING, _LEAST_DAMPING = 1e-3, 1e-9
_EASE, _STIFFEN = 5, 4
"""The damping is divided by the one after a step that helps, multiplied by the other else."""


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


def compare(found: Reconstruction, seen: Observations) -> Residuals:
    """Residuals of ``found``."""
    misfit = Misfit.of(_scenes([found]), _known([seen]))
    ray = np.stack([misfit.x[0], misfit.y[0]], axis=-1)
    return Residuals(ray, misfit.ratio[0], misfit.behind[0] & (seen.ray_weight > 0))


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
        iterations: at most so many steps, those that make it worse and are taken back included.
        estimate_focal: move the focal length, too.
        cameras_held: move the points only.

    Returns:
        The reconstruction and its cost.
    """
    return adjust_together([seen], [start], iterations, estimate_focal, cameras_held)[0]


def adjust_together(
    seen: Sequence[Observations],
    starts: Sequence[Reconstruction],
    iterations: int = 50,
    estimate_focal: bool = False,
    cameras_held: bool = False,
) -> list[tuple[Reconstruction, float]]:
    """:func:`adjust` for several problems with as many frames and points each.

    Each has a damping of its own and ends when it has converged, so none depends on the others.
    """
    known, scenes = _known(seen), _scenes(starts)
    misfit = Misfit.of(scenes, known)
    damping = np.full(len(seen), _FIRST_DAMPING)
    result = [(start, float(cost)) for start, cost in zip(starts, misfit.cost, strict=True)]
    going = np.arange(len(seen))
    equations = None
    for _ in range(iterations):
        if equations is None:
            equations = NormalEquations.of(scenes, known, misfit, estimate_focal, cameras_held)
        trial = scenes.moved(*equations.solve(damping))
        trial_misfit = Misfit.of(trial, known)
        gain = misfit.cost - trial_misfit.cost
        settled = np.abs(gain) <= _SETTLED * misfit.cost
        better = gain > 0
        if better.any():
            scenes, misfit = scenes.but(better, trial), misfit.but(better, trial_misfit)
            equations = None
        damping = np.where(better, np.maximum(damping / _EASE, _LEAST_DAMPING), damping * _STIFFEN)
        if settled.any():
            for index, problem in enumerate(going):
                if settled[index]:
                    result[problem] = _at(scenes, misfit, index)
            if settled.all():
                return result
            more = ~settled
            going, damping, equations = going[more], damping[more], None
            scenes, known, misfit = scenes.only(more), known.only(more), misfit.only(more)
    for index, problem in enumerate(going):
        result[problem] = _at(scenes, misfit, index)
    return result


def point_information(found: Reconstruction, seen: Observations) -> NDArray[np.float64]:
    """``(N, 4, 4)`` information about each point (X, q) while the cameras are held."""
    known, scenes = _known([seen]), _scenes([found])
    now = Misfit.of(scenes, known)
    return NormalEquations.of(scenes, known, now, cameras_held=True).points[0].transpose(2, 0, 1)


def _known(seen: Sequence[Observations]) -> Known:
    return Known(
        np.stack([each.ray[..., 0] for each in seen]),
        np.stack([each.ray[..., 1] for each in seen]),
        np.stack([each.log_ratio for each in seen]),
        np.sqrt(np.stack([each.ray_weight for each in seen])),
        np.sqrt(np.stack([each.ratio_weight for each in seen])),
    )


def _scenes(found: Sequence[Reconstruction]) -> Scenes:
    camera = [
        np.concatenate([each.rotation, each.translation[..., None]], axis=-1) for each in found
    ]
    return Scenes(
        np.stack(camera),
        np.stack([each.point.T for each in found]),
        np.array([each.focal_factor for each in found]),
    )


def _at(scenes: Scenes, misfit: Misfit, index: int) -> tuple[Reconstruction, float]:
    """One problem's reconstruction and cost."""
    camera = scenes.camera[index]
    found = Reconstruction(
        camera[..., :3].copy(),
        camera[..., 3].copy(),
        np.ascontiguousarray(scenes.point[index].T),
        float(scenes.focal[index]),
    )
    return found, float(misfit.cost[index])
