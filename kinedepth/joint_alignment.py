"""Scale and shift of many overlapping pieces, solved together and robustly.

Several pieces (snippets of a video, single frames) tell of the same quantities, each off by a
scale and a shift of its own. The mean of what the aligned pieces say is the target, and the sum
of absolute differences from it, relative to its size, is what is made small. Nothing here knows
what the pieces are: whoever aligns some adds the priors that fix the scale and shift of the whole.

The unknowns are found by iteratively reweighted least squares: absolute values become squares
with weights 1 / |difference|, and each step solves sparse normal equations (Gauss-Newton, since
targets and sizes move with the unknowns), damped so that the objective never rises.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from scipy.sparse.linalg import splu

_AT_ONCE = 50_000
"""Values that are worked on together: few enough to stay in a processor's cache."""

_MOST_UNSUMMED = 2**17
"""Entries of the Hessian that wait to be added up, so that memory does not grow by them."""

_ROUNDING = 1e-6
"""Relative differences below this are rounding in float32."""

_MOST_DAMPING = 1e4

_WORTHWHILE = 1e-3
"""Share of the objective that a descent has to gain for another one to be tried after it."""


@dataclass(frozen=True)
class Overlap:
    """Places (frames, say) of which K pieces tell the same P quantities.

    Attributes:
        pieces: ``(n, K)`` int64, which pieces tell of each place; K >= 2.
        values: ``(n, K, P)`` float32, what they say before they are aligned.
    """

    pieces: NDArray[np.int64]
    values: NDArray[np.float32]


def find_overlaps(
    values: Sequence[NDArray[np.float32]], places: Sequence[NDArray[np.integer]]
) -> list[Overlap]:
    """Where pieces overlap, in batches.

    Args:
        values: for each piece ``(L, P)``, what it says of its L places; L may differ.
        places: for each piece ``(L,)``, which places these are, from 0.

    Returns:
        All places that at least two pieces tell of, each once. The others align nothing.
    """
    told: dict[int, list[tuple[int, int]]] = {}
    for piece, covered in enumerate(places):
        for slot, place in enumerate(covered):
            told.setdefault(int(place), []).append((piece, slot))
    alike: dict[int, list[list[tuple[int, int]]]] = {}
    for place in sorted(told):
        alike.setdefault(len(told[place]), []).append(told[place])
    overlaps = []
    for count in sorted(alike.keys() - {1}):
        several = alike[count]
        step = max(1, _AT_ONCE // (count * values[0].shape[1]))
        for first in range(0, len(several), step):
            batch = several[first : first + step]
            pieces = np.array([[piece for piece, _ in place] for place in batch])
            stacked = np.stack([[values[piece][slot] for piece, slot in place] for place in batch])
            overlaps.append(Overlap(pieces, stacked))
    return overlaps


Quantity = Callable[[NDArray[np.float32]], tuple[NDArray[np.float32], NDArray[np.float32]]]
"""What of an aligned value is compared, and its derivative by that value."""


def the_value(aligned: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """The :data:`Quantity` that is the aligned value itself."""
    return aligned, np.ones_like(aligned)


def inverse_of_value(floor: float) -> Quantity:
    """The :data:`Quantity` ``1 / max(value, floor)``."""

    def inverse(aligned: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        inverted = np.reciprocal(np.maximum(aligned, np.float32(floor)))
        return inverted, np.where(aligned > floor, -inverted * inverted, np.float32(0))

    return inverse


class Expansion:
    """An objective at some scales and shifts: its value, gradient and (approximate) Hessian.

    Args:
        scale, shift: ``(S,)``, where it is looked at.
        smoothing: differences below this share of a place's mean difference count as squares,
            which keeps their weights finite. It touches gradient and Hessian, not ``loss``.
    """

    def __init__(
        self, scale: NDArray[np.float64], shift: NDArray[np.float64], smoothing: float
    ) -> None:
        self.scale, self.shift, self.smoothing = scale, shift, smoothing
        self.loss = 0.0
        self.gradient = np.zeros(2 * len(scale))
        self._hessian = sparse.csc_matrix((2 * len(scale),) * 2)
        self._rows: list[NDArray[np.int32]] = []
        self._columns: list[NDArray[np.int32]] = []
        self._entries: list[NDArray[np.float64]] = []

    def add_disagreement(
        self, overlaps: Sequence[Overlap], quantities: Sequence[Quantity], weight: float
    ) -> None:
        """Add ``weight`` times the sum of relative absolute differences from the mean.

        For each place and quantity q that is the sum over pieces and over P of ``|q - m| / D``,
        m the mean of the pieces' q and D the mean of |m| over P.
        """
        for overlap in overlaps:
            pieces, values = overlap.pieces, overlap.values
            aligned = self.scale[pieces][..., None].astype(np.float32) * values
            aligned += self.shift[pieces][..., None].astype(np.float32)
            terms = [_expand(values, *of(aligned), self.smoothing) for of in quantities]
            unknowns = np.concatenate([pieces, pieces + len(self.scale)], axis=1)
            for loss, slope, _ in terms:
                self.loss += weight * loss
                np.add.at(self.gradient, unknowns, weight * slope)
            curvature = np.sum([curvature for _, _, curvature in terms], axis=0)
            self._add_block(unknowns, weight * curvature)

    def add_squares(
        self,
        residual: NDArray[np.float64],
        weight: NDArray[np.float64],
        unknowns: NDArray[np.int64],
        slope: NDArray[np.float64] | float = 1.0,
    ) -> None:
        """Add the sum of ``weight * residual**2``, each residual a function of one unknown.

        Args:
            residual: ``(n,)`` its value here.
            weight: ``(n,)`` >= 0.
            unknowns: ``(n,)``, i for the scale and S + i for the shift of piece i.
            slope: derivative of the residual by its unknown.
        """
        self.loss += float(weight @ residual**2)
        np.add.at(self.gradient, unknowns, 2 * weight * residual * slope)
        curvature = 2 * weight * np.broadcast_to(slope, weight.shape) ** 2
        self._add_block(unknowns[:, None], curvature[:, None, None])

    def step(self, damping: float) -> NDArray[np.float64]:
        """``(2 S,)``, the damped Newton step for scales, then shifts."""
        self._sum_blocks()
        hessian = self._hessian
        diagonal = hessian.diagonal()
        # An unknown that nothing depends on has a zero row: the last summand keeps it in place.
        ridge = damping * diagonal + 1e-10 * max(float(diagonal.max()), 1e-300)
        return -splu(hessian + sparse.diags(ridge, format="csc")).solve(self.gradient)

    def _add_block(self, unknowns: NDArray[np.int64], block: NDArray[np.float64]) -> None:
        """Add ``block (n, k, k)`` to the rows and columns ``unknowns (n, k)``."""
        count, narrow = unknowns.shape[1], unknowns.astype(np.int32)
        self._rows.append(np.repeat(narrow, count, axis=1).ravel())
        self._columns.append(np.tile(narrow, (1, count)).ravel())
        self._entries.append(block.ravel())
        if sum(map(len, self._entries)) > _MOST_UNSUMMED:
            self._sum_blocks()

    def _sum_blocks(self) -> None:
        """Add up what was said of the same pair of unknowns: blocks overlap many times over."""
        if not self._entries:
            return
        indices = (np.concatenate(self._rows), np.concatenate(self._columns))
        entries = np.concatenate(self._entries)
        self._rows, self._columns, self._entries = [], [], []
        added = sparse.coo_matrix((entries, indices), shape=self._hessian.shape)
        self._hessian = self._hessian + added.tocsc()


Objective = Callable[[Expansion], None]
"""Adds its terms to an expansion."""


@dataclass(frozen=True)
class Solution:
    """What :func:`minimise` found.

    Attributes:
        scale, shift: ``(S,)`` float64.
        loss: the objective there.
        solves: systems of normal equations that were solved.
    """

    scale: NDArray[np.float64]
    shift: NDArray[np.float64]
    loss: float
    solves: int


def minimise(
    objective: Objective,
    scale: NDArray[np.float64],
    shift: NDArray[np.float64],
    *,
    smoothing: float = 1.0,
    least_smoothing: float = 1e-3,
    tolerance: float = 1e-5,
    most_solves: int = 100,
) -> Solution:
    """Scales and shifts that make ``objective`` small; never larger than at the start.

    There is no chance in it: the same input gives the same answer. The objective need not be
    convex, so what is found is the minimum that lies downhill from the start.

    Args:
        objective: adds its terms to an :class:`Expansion`.
        scale, shift: ``(S,)``, where to start.
        smoothing, least_smoothing: it falls from the one to the other, see :class:`Expansion`.
        tolerance: done once two steps in a row gained less than this share of the objective.
        most_solves: bound on the number of steps.
    """
    here = _Position(objective, _expanded(objective, scale, shift, smoothing), most_solves)
    while True:
        before = here.loss
        here.descend(smoothing, least_smoothing, tolerance)
        # Small smoothing makes kinks sticky: a solution that a second, smoother descent can leave
        # was no minimum.
        if not before - here.loss > _WORTHWHILE * before or here.solves_left <= 0:
            break
    found = here.expansion
    return Solution(found.scale, found.shift, found.loss, most_solves - here.solves_left)


class _Position:
    """Where a minimisation stands.

    Attributes:
        expansion: the objective there.
        solves_left: of those allowed.
    """

    def __init__(self, objective: Objective, expansion: Expansion, solves: int) -> None:
        self.expansion = expansion
        self.solves_left = solves
        self._objective = objective

    @property
    def loss(self) -> float:
        """The objective's value."""
        return self.expansion.loss

    def descend(self, smoothing: float, least_smoothing: float, tolerance: float) -> None:
        """Go downhill with falling smoothing until there is next to no gain."""
        here, pieces = self.expansion, len(self.expansion.scale)
        if here.smoothing != smoothing:
            here = _expanded(self._objective, here.scale, here.shift, smoothing)
        damping, idle = 1e-6, 0
        while self.solves_left > 0 and idle < 2 and damping < _MOST_DAMPING:
            step = here.step(damping)
            self.solves_left -= 1
            smoothing = max(0.6 * smoothing, least_smoothing)
            there = _expanded(
                self._objective, here.scale + step[:pieces], here.shift + step[pieces:], smoothing
            )
            # A comparison with NaN is false: a step out of bounds is one that did not help.
            gained = here.loss - there.loss
            if gained > 0:
                idle = 0 if gained > tolerance * here.loss else idle + 1
                here, damping = there, max(damping / 10, 1e-8)
            else:
                damping = max(10 * damping, 1e-4)
        self.expansion = here


def _expanded(
    objective: Objective,
    scale: NDArray[np.float64],
    shift: NDArray[np.float64],
    smoothing: float,
) -> Expansion:
    expansion = Expansion(scale, shift, smoothing)
    with np.errstate(over="ignore", invalid="ignore"):
        objective(expansion)
    return expansion


def _expand(
    values: NDArray[np.float32],
    quantity: NDArray[np.float32],
    derivative: NDArray[np.float32],
    smoothing: float,
) -> tuple[float, NDArray[np.float64], NDArray[np.float64]]:
    """Loss, gradient ``(n, 2 K)`` and Hessian ``(n, 2 K, 2 K)`` of one quantity's disagreement.

    With the quantity q = q(s v + t), C = identity - mean over pieces and u = C q / D, it is the
    sum of |u|. A change d of (s, t) moves u by ``C (basis d) / D - u (size_slope d) / D``.
    """
    places, count, _ = values.shape
    target = quantity.mean(axis=1)
    size = np.maximum(np.abs(target).mean(axis=1), np.float32(1e-12))
    relative = (quantity - target[:, None]) / size[:, None, None]
    absolute = np.abs(relative)
    loss = float(absolute.sum(dtype=np.float64))

    rounding = np.float32(smoothing) * absolute.mean(axis=(1, 2), keepdims=True)
    weight = 1 / np.maximum(absolute, np.maximum(rounding, np.float32(_ROUNDING)))
    pull = weight * relative
    square = np.einsum("nkp,nkp->n", pull, relative).astype(np.float64)
    pull -= pull.mean(axis=1, keepdims=True)

    basis = np.stack([derivative * values, derivative], axis=1)  # (n, 2, K, P)
    flat = basis.reshape(places, 2 * count, -1)
    size_slope = flat.reshape(places, 2, count, -1) @ np.sign(target)[:, None, :, None]
    size_slope = size_slope.reshape(places, -1).astype(np.float64) / (count * target.shape[1])
    slope = np.einsum("nakp,nkp->nak", basis, pull).reshape(places, -1).astype(np.float64)

    # C diag(w) C without its product with every pixel: the w of a pair (k, l) enters as -w_k / K
    # and -w_l / K and, summed over all pieces, as 1 / K^2; the diagonal has w itself besides.
    spread = weight.sum(axis=1, keepdims=True) / (2 * count**2) - weight / count
    half = (basis * spread[:, None]).reshape(places, 2 * count, -1) @ flat.transpose(0, 2, 1)
    curvature = (half + half.transpose(0, 2, 1)).astype(np.float64, order="C")
    own = np.einsum("nakp,nbkp->knab", basis * weight[:, None], basis)
    each = np.arange(count)
    curvature.reshape(places, 2, count, 2, count)[:, :, each, :, each] += own
    crossed = slope[:, :, None] * size_slope[:, None, :]
    curvature -= crossed + crossed.transpose(0, 2, 1)
    curvature += square[:, None, None] * size_slope[:, :, None] * size_slope[:, None, :]
    gradient = (slope - square[:, None] * size_slope) / size[:, None]
    return loss, gradient, curvature / size[:, None, None].astype(np.float64) ** 2
