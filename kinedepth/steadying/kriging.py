"""A smooth error of one frame's depth from what scattered points say of it (ordinary kriging).

Log depth of a frame is off by ``m + f(p)``: m for the whole frame, and a Gaussian process f over
places p = (x, y, log depth), in correlation lengths. With depth as the third coordinate points on
a near thing say little about the far wall behind it, as in a bilateral grid (Chen, Paris and
Durand, SIGGRAPH 2007). Points that fall into one small cell are averaged first: it is cheaper,
and neighbours' errors resemble each other, so that many are hardly surer than a few.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import cho_factor, cho_solve

CELL = 0.5
"""Side of a cell in correlation lengths."""
_CELL_STD = 0.01
"""What remains of the error of a cell's mean, however many points it has."""


@dataclass(frozen=True)
class Cells:
    """Means over points that are close to each other, C of them.

    Attributes:
        place: ``(C, 3)`` in correlation lengths.
        value: ``(C,)`` log depth error.
        variance: ``(C,)`` of ``value``, > 0.
    """

    place: NDArray[np.float64]
    value: NDArray[np.float64]
    variance: NDArray[np.float64]

    @classmethod
    def of(
        cls,
        place: NDArray[np.float64],
        value: NDArray[np.float64],
        weight: NDArray[np.float64],
    ) -> Cells:
        """Means of points at ``place (n, 3)`` with ``value (n,)`` and inverse variance ``weight``.

        Points without weight do not take part.
        """
        used = weight > 0
        place, value, weight = place[used], value[used], weight[used]
        nearest = np.rint(place / CELL).astype(np.int64)
        _, cell = np.unique(nearest, axis=0, return_inverse=True)
        cell = cell.reshape(-1)  # Some versions of NumPy keep the axis.
        total = np.bincount(cell, weight)
        columns = [np.bincount(cell, weight * column) / total for column in (*place.T, value)]
        return cls(np.stack(columns[:3], axis=1), columns[3], 1 / total + _CELL_STD**2)

    def __len__(self) -> int:
        return len(self.value)


@dataclass(frozen=True)
class FrameError:
    """Error of one frame's log depth, everywhere in it.

    Attributes:
        mean: m, of the whole frame.
        mean_variance: of ``mean``, as far as it comes from the cells' own errors; infinite where
            there are no cells.
        cells: it was found from.
        strength: ``(C,)`` of the kernels around the cells that make up f.
        regional_std: standard deviation of f that was assumed.
    """

    mean: float
    mean_variance: float
    cells: Cells
    strength: NDArray[np.float64]
    regional_std: float

    @classmethod
    def fit(cls, cells: Cells, regional_std: float) -> FrameError:
        """Kriging: m by generalised least squares, f as the posterior mean given m."""
        if len(cells) == 0:
            return cls(0.0, np.inf, cells, np.zeros(0), regional_std)
        power = regional_std**2
        covariance = power * kernel(cells.place, cells.place) + np.diag(cells.variance)
        factor = cho_factor(covariance, lower=True, check_finite=False)
        ones = cho_solve(factor, np.ones(len(cells)), check_finite=False)
        share = ones / ones.sum()
        mean = float(share @ cells.value)
        solved = cho_solve(factor, cells.value - mean, check_finite=False)
        return cls(mean, float(share**2 @ cells.variance), cells, power * solved, regional_std)

    def at(self, place: NDArray[np.float64]) -> NDArray[np.float64]:
        """``m + f`` at ``place (n, 3)``."""
        return self.mean + kernel(place, self.cells.place) @ self.strength

    def on_lattice(
        self, axes: tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """f on a lattice, and how far it is known there, both ``(Z, Y, X)``.

        Args:
            axes: x, y and log depth of its planes, in correlation lengths.

        The second is the share of f's variance, 0 to 1, that the cells' weight around a node
        takes away. Where it is 0, f is 0.
        """
        x, y, z = (_gaussian(axis, at) for axis, at in zip(axes, self.cells.place.T, strict=True))
        shape = (len(z), len(y), len(x))
        floor = (z[:, None] * y).reshape(len(z) * len(y), len(self.cells))
        value = ((floor * self.strength) @ x.T).reshape(shape)
        support = (floor**2 * (self.regional_std**2 / self.cells.variance)) @ (x**2).T
        return value, (support / (1 + support)).reshape(shape)

    def scatter(self) -> tuple[float, float]:
        """Sum of (square of the cells' departure from ``mean``, less its error), and of weights."""
        weight = 1 / (self.regional_std**2 + self.cells.variance)
        square = (self.cells.value - self.mean) ** 2 - self.cells.variance
        return float(weight @ square), float(weight.sum())


def kernel(first: NDArray[np.float64], second: NDArray[np.float64]) -> NDArray[np.float64]:
    """Correlation ``(n, m)`` of f between places ``(n, 3)`` and ``(m, 3)``: Gaussian."""
    square = (first**2).sum(axis=1)[:, None] + (second**2).sum(axis=1) - 2 * first @ second.T
    return np.exp(-0.5 * np.maximum(square, 0))


def _gaussian(first: NDArray[np.float64], second: NDArray[np.float64]) -> NDArray[np.float64]:
    """:func:`kernel` along one axis, ``(n, m)`` for ``(n,)`` and ``(m,)``."""
    return np.exp(-0.5 * (first[:, None] - second) ** 2)
