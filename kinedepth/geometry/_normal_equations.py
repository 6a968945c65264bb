"""Gauss-Newton's equations of many small bundle adjustments at once, the points eliminated.

Every point meets only its own four unknowns and the cameras, so the normal equations reduce to a
dense system of six unknowns a frame (the Schur complement; Triggs et al., "Bundle Adjustment: A
Modern Synthesis", 2000, section 6.1).

Arrays are led by the problem, P of them, and end in the point, so that each operation runs over
long rows: small problems cost the calls and not the arithmetic. A residual depends on a point's
place in the camera only, by a Jacobian of the shape

    x      a 0 u
    y      0 a v         so that J^T J = a^2 (E00 + E11) + au (E02 + E20) + av (E12 + E21)
    ratio  0 0 d                         + (u^2 + v^2 + d^2) E22

where a, u, v, d are numbers: four of them tell all second derivatives of an observation.
"""

from __future__ import annotations

from dataclasses import Field, dataclass
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray
from scipy.linalg.lapack import dposv
from scipy.spatial.transform import Rotation

_CAUCHY_WIDTH = 2.0
"""Residuals, in standard deviations, from which on Cauchy's loss grows slowly."""
_NEAREST = 1e-3
"""Depth, in the point's own reference depths, below which a point counts as behind the camera."""
_BEHIND = 1e6
"""Squared residual of a point that should be seen but lies behind the camera."""
_LARGEST_ZOOM = 0.2
"""Change of the focal length's logarithm in one step."""

Array = NDArray[np.float64]


class _OfProblems:
    """Arrays led by the problem."""

    __dataclass_fields__: ClassVar[dict[str, Field[Any]]]

    def only(self, problems: NDArray[np.bool_]) -> Self:
        """Some problems only."""
        return type(self)(*(getattr(self, name)[problems] for name in self.__dataclass_fields__))

    def but(self, problems: NDArray[np.bool_], other: Self) -> Self:
        """The same, but for some problems those of another."""
        if problems.all():
            return other
        result = []
        for name in self.__dataclass_fields__:
            mine = getattr(self, name).copy()
            mine[problems] = getattr(other, name)[problems]
            result.append(mine)
        return type(self)(*result)


@dataclass(frozen=True)
class Known(_OfProblems):
    """Observations of P problems, all ``(P, T, N)``: positions, and roots of inverse variances."""

    x: Array
    y: Array
    log_ratio: Array
    ray_root: Array
    ratio_root: Array


@dataclass(frozen=True)
class Scenes(_OfProblems):
    """Cameras and points of P problems.

    Attributes:
        camera: ``(P, T, 3, 4)``, R and tau side by side.
        point: ``(P, 4, N)``; focal: ``(P,)``, the focal length's factor.
    """

    camera: Array
    point: Array
    focal: Array

    def moved(self, cameras: Array | None, points: Array) -> Scenes:
        """After steps of the cameras ``(P, C)``, if any, and of the points ``(P, 4, N)``."""
        if cameras is None:
            return Scenes(self.camera, self.point + points, self.focal)
        problems, frames = self.camera.shape[:2]
        step = cameras[:, : 6 * frames].reshape(problems, frames, 6)
        turn = Rotation.from_rotvec(step[..., :3].reshape(-1, 3)).as_matrix()
        turn = turn.reshape(problems, frames, 3, 3)
        camera = np.concatenate(
            [turn @ self.camera[..., :3], self.camera[..., 3:] + step[..., 3:, None]], axis=-1
        )
        zoom = cameras[:, 6 * frames :].sum(1)
        focal = self.focal * np.exp(np.clip(zoom, -_LARGEST_ZOOM, _LARGEST_ZOOM))
        return Scenes(camera, self.point + points, focal)


@dataclass(frozen=True)
class Misfit(_OfProblems):
    """Residuals in standard deviations.

    Attributes:
        place: ``(P, T, 3, N)`` of the points in the cameras.
        x, y, ratio: ``(P, T, N)``; 0 where nothing is known or the point is behind the camera.
        ray_loss, ratio_loss: ``(P, T, N)`` 1 + (residual / width)^2, whose logarithm is Cauchy's
            loss.
        behind: ``(P, T, N)`` bool.
        cost: ``(P,)``.
    """

    place: Array
    x: Array
    y: Array
    ratio: Array
    ray_loss: Array
    ratio_loss: Array
    behind: NDArray[np.bool_]
    cost: Array

    @classmethod
    def of(cls, scenes: Scenes, known: Known) -> Misfit:
        place = scenes.camera @ scenes.point[:, None]
        behind = place[..., 2, :] < _NEAREST
        z = np.maximum(place[..., 2, :], _NEAREST)
        ahead = ~behind
        scale = scenes.focal[:, None, None] / z
        root = known.ray_root * ahead
        x = (place[..., 0, :] * scale - known.x) * root
        y = (place[..., 1, :] * scale - known.y) * root
        ratio = (np.log(z) - known.log_ratio) * (known.ratio_root * ahead)
        width = _CAUCHY_WIDTH**2
        ray_loss = 1 + (x**2 + y**2) / width
        ratio_loss = 1 + ratio**2 / width
        lost = (behind & (known.ray_root > 0)).sum((1, 2)) * np.log1p(_BEHIND / width)
        cost = width * (np.log(ray_loss * ratio_loss).sum((1, 2)) + lost)
        return cls(place, x, y, ratio, ray_loss, ratio_loss, behind, cost)


@dataclass(frozen=True)
class _Slopes:
    """The numbers of J and the residuals, reweighted for Cauchy's loss.

    Attributes:
        a, u, v, d: ``(P, T, N)``, see the top of this file; 0 behind the camera.
        residual: ``(3, P, T, N)``, x, y and ratio.
    """

    a: Array
    u: Array
    v: Array
    d: Array
    residual: Array

    @classmethod
    def of(cls, scenes: Scenes, known: Known, now: Misfit) -> _Slopes:
        ray_robust, ratio_robust = 1 / np.sqrt(now.ray_loss), 1 / np.sqrt(now.ratio_loss)
        nearness = np.where(now.behind, 0.0, 1 / np.maximum(now.place[..., 2, :], _NEAREST))
        a = scenes.focal[:, None, None] * known.ray_root * ray_robust * nearness
        u, v = (-a * now.place[..., axis, :] * nearness for axis in (0, 1))
        residual = np.stack([now.x * ray_robust, now.y * ray_robust, now.ratio * ratio_robust])
        return cls(a, u, v, known.ratio_root * ratio_robust * nearness, residual)

    def second(self) -> Array:
        """``(P, T, 4, N)``: the four numbers of J^T J."""
        a, u, v, d = self.a, self.u, self.v, self.d
        return np.stack([a * a, a * u, a * v, u * u + v * v + d * d], axis=2)

    def transposed(self, x: Array, y: Array, ratio: Array) -> Array:
        """``(P, T, 3, N)``: J^T times a vector of three residuals."""
        last = self.u * x + self.v * y + self.d * ratio
        return np.stack([self.a * x, self.a * y, last], axis=2)

    def camera_rows(self, place: Array, q: Array) -> Array:
        """Derivatives ``(P, T, 6, 3, N)`` of the residuals by a turn left of R and by tau.

        Args:
            place: ``(P, T, 3, N)``, R X.
            q: ``(P, 1, N)``.
        """
        a, u, v, d = self.a, self.u, self.v, self.d
        first, second, third = place[:, :, 0], place[:, :, 1], place[:, :, 2]
        rows = np.zeros((*a.shape[:2], 6, 3, a.shape[2]))
        # d(w x p)/dw = -[p]x, so the turn has p x (each row of J).
        rows[:, :, 0, 0] = second * u
        rows[:, :, 1, 0] = third * a - first * u
        rows[:, :, 2, 0] = -second * a
        rows[:, :, 0, 1] = second * v - third * a
        rows[:, :, 1, 1] = -first * v
        rows[:, :, 2, 1] = first * a
        rows[:, :, 0, 2] = second * d
        rows[:, :, 1, 2] = -first * d
        rows[:, :, 3, 0] = rows[:, :, 4, 1] = q * a
        rows[:, :, 5, 0], rows[:, :, 5, 1], rows[:, :, 5, 2] = q * u, q * v, q * d
        return rows


@dataclass(frozen=True)
class NormalEquations:
    """Gauss-Newton's normal equations, reweighted, in blocks.

    C = 6 T (+ 1 for the focal length) unknowns of cameras, 4 for each of N points. What concerns
    the cameras is None where they are held.
    """

    points: Array  # (P, 4, 4, N)
    point_side: Array  # (P, 4, N)
    cameras: Array | None  # (P, C, C)
    camera_side: Array | None  # (P, C)
    mixed: Array | None  # (P, C, 4, N)

    @classmethod
    def of(
        cls,
        scenes: Scenes,
        known: Known,
        now: Misfit,
        estimate_focal: bool = False,
        cameras_held: bool = False,
    ) -> NormalEquations:
        """The equations around ``scenes``, whose misfit is ``now``."""
        slopes = _Slopes.of(scenes, known, now)
        problems, frames, count = now.x.shape
        second, spread = slopes.second(), _spread(scenes.camera)
        both = scenes.camera.swapaxes(2, 3) @ spread.reshape(problems, frames, 3, 16)
        both = both.reshape(problems, frames, 16, 4).swapaxes(1, 2)
        points = both.reshape(problems, 16, -1) @ second.reshape(problems, -1, count)
        points = points.reshape(problems, 4, 4, count)
        onto = scenes.camera.reshape(problems, 3 * frames, 4).swapaxes(1, 2)
        residual = slopes.residual
        point_side = -(onto @ slopes.transposed(*residual).reshape(problems, -1, count))
        if cameras_held:
            return cls(points, point_side, None, None, None)

        size = 6 * frames
        unknowns = size + estimate_focal
        turned = scenes.camera[..., :3] @ scenes.point[:, None, :3]  # (P, T, 3, N)
        q = scenes.point[:, None, 3]
        by_point = (spread.reshape(problems, frames, 12, 4) @ second).reshape(
            problems, frames, 3, 4, count
        )
        mixed = np.empty((problems, unknowns, 4, count))
        _mix(mixed[:, :size].reshape(problems, frames, 6, 4, count), turned, q, by_point)
        rows = slopes.camera_rows(turned, q).reshape(problems, frames, 6, 3 * count)
        cameras = np.zeros((problems, unknowns, unknowns))
        blocks = rows @ rows.swapaxes(2, 3)
        for t in range(frames):
            cameras[:, 6 * t : 6 * t + 6, 6 * t : 6 * t + 6] = blocks[:, t]
        camera_side = np.zeros((problems, unknowns))
        camera_side[:, :size] = -_project(rows, residual)
        if estimate_focal:
            # An image position grows with the focal length as it would with P_xy.
            by_x, by_y = (slopes.a * now.place[..., axis, :] for axis in (0, 1))
            by_focal = np.stack([by_x, by_y, np.zeros_like(by_x)])
            cameras[:, -1, :-1] = cameras[:, :-1, -1] = _project(rows, by_focal)
            cameras[:, -1, -1] = (by_focal**2).sum((0, 2, 3))
            camera_side[:, -1] = -(by_focal * residual).sum((0, 2, 3))
            mixed[:, -1] = onto @ slopes.transposed(*by_focal).reshape(problems, -1, count)
        return cls(points, point_side, cameras, camera_side, mixed)

    def solve(self, damping: Array) -> tuple[Array | None, Array]:
        """Steps of the cameras ``(P, C)``, None where held, and of the points ``(P, 4, N)``.

        Not finite for a problem in which no step is defined.
        """
        blocks = self.points.copy()
        diagonal = np.einsum("piin->pin", blocks)
        diagonal += _damping_of(diagonal, damping)
        root = _lower_root(blocks)
        side = _forward(root, self.point_side[:, None])[:, 0]
        if self.mixed is None or self.cameras is None or self.camera_side is None:
            return None, _backward(root, side)
        problems, size, _, count = self.mixed.shape
        mixed = _forward(root, self.mixed).reshape(problems, size, 4 * count)
        side = side.reshape(problems, 4 * count, 1)
        reduced = self.cameras - mixed @ mixed.swapaxes(1, 2)
        np.einsum("pii->pi", reduced)[:] += _damping_of(np.einsum("pii->pi", self.cameras), damping)
        right = self.camera_side - (mixed @ side)[..., 0]
        step = np.zeros((problems, size))
        for index in range(problems):
            # The first camera is where the world is.
            _, solution, info = dposv(reduced[index, 6:, 6:], right[index, 6:], lower=1)
            step[index, 6:] = solution if info == 0 else np.nan
        rest = side - (step[:, None] @ mixed).swapaxes(1, 2)
        return step, _backward(root, rest.reshape(problems, 4, count))


def _spread(camera: Array) -> Array:
    """``(P, T, 3, 4, 4)``: J^T J [R | tau] as a linear function of its four numbers."""
    result = np.zeros((*camera.shape, 4))
    result[..., 0, :, 0] = result[..., 2, :, 1] = camera[..., 0, :]
    result[..., 1, :, 0] = result[..., 2, :, 2] = camera[..., 1, :]
    result[..., 0, :, 1] = result[..., 1, :, 2] = result[..., 2, :, 3] = camera[..., 2, :]
    return result


def _mix(out: Array, turned: Array, q: Array, by_point: Array) -> None:
    """Mixed second derivatives ``(P, T, 6, 4, N)`` from J^T J [R | tau] ``(P, T, 3, 4, N)``."""
    for row in range(3):
        one, other = (row + 1) % 3, (row + 2) % 3
        np.multiply(turned[:, :, one, None], by_point[:, :, other], out=out[:, :, row])
        out[:, :, row] -= turned[:, :, other, None] * by_point[:, :, one]
    np.multiply(by_point, q[:, :, None, None], out=out[:, :, 3:])


def _project(rows: Array, values: Array) -> Array:
    """``(P, 6 T)``: derivatives by the cameras ``(P, T, 6, 3 N)`` times ``values (3, P, T, N)``."""
    problems, frames = rows.shape[:2]
    column = np.moveaxis(values, 0, 2).reshape(problems, frames, -1, 1)
    return (rows @ column).reshape(problems, 6 * frames)


def _damping_of(diagonal: Array, damping: Array) -> Array:
    """Marquardt's, and a floor for what is not seen; ``diagonal (P, ...)``."""
    axes = tuple(range(1, diagonal.ndim))
    shape = (-1, *(1 for _ in axes))
    floor = 1e-9 * np.maximum(diagonal.max(axes), 1e-9)
    return damping.reshape(shape) * diagonal + floor.reshape(shape)


def _lower_root(blocks: Array) -> Array:
    """Cholesky's lower factor of symmetric blocks ``(P, k, k, N)``."""
    root = np.zeros_like(blocks)
    for column in range(blocks.shape[1]):
        rest = blocks[:, column:, column].copy()
        for before in range(column):
            rest -= root[:, column:, before] * root[:, column, before][:, None]
        root[:, column:, column] = rest / np.sqrt(np.maximum(rest[:, :1], 1e-300))
    return root


def _forward(root: Array, side: Array) -> Array:
    """``root`` to the minus one times ``side (P, m, k, N)``."""
    result = np.empty_like(side)
    for row in range(side.shape[2]):
        rest = side[:, :, row].copy()
        for before in range(row):
            rest -= root[:, None, row, before] * result[:, :, before]
        np.multiply(rest, 1 / root[:, None, row, row], out=result[:, :, row])
    return result


def _backward(root: Array, side: Array) -> Array:
    """Transposed ``root`` to the minus one times ``side (P, k, N)``."""
    result = np.empty_like(side)
    for row in reversed(range(side.shape[1])):
        rest = side[:, row].copy()
        for after in range(row + 1, side.shape[1]):
            rest -= root[:, after, row] * result[:, after]
        result[:, row] = rest / root[:, row, row]
    return result
