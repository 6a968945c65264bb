"""Co-alignment: a scale and a shift for each snippet, so that all snippets tell of one video.

RollingDepth (Ke et al., "Video Depth without Video Models", 2024) predicts short snippets, each
right up to a scale and a shift. With the lowest value of all taken away, a snippet x becomes
``a = s x + t``, and what is made small is

    mean |a - m| / mean|m|  +  mean |b - n| / mean|n|  +  sum over groups of
    0.1 mean max(1 - s, 0)^2 + 10 mean t^2

with m the mean of a over the snippets of a frame, b = 1 / max(a, 0.001), n the mean of b, and
``mean|m|`` over the pixels of that frame. The first two means count, as published, each frame
once for each place in a snippet of each group, also where no snippet reaches; a group is what has
one length and one frame step. Values are read on a coarse grid of pixels.

As published, Adam descends for 2,000 steps with m, n and their sizes held constant (``adam``).
``irls`` minimises the same number, with m and n moving along, by iteratively reweighted least
squares, see :mod:`kinedepth.joint_alignment`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from kinedepth.errors import KinedepthError
from kinedepth.joint_alignment import (
    Expansion,
    Overlap,
    Solution,
    find_overlaps,
    inverse_of_value,
    minimise,
    the_value,
)

Solver = Literal["irls", "adam"]

_FLOOR = 1e-3
"""Smallest inverse depth of which the depth is compared."""
_SMALL_SCALE_COST = 0.1
_SHIFT_COST = 10.0
_FIRST_PIXELS = 512
"""Pixels of a frame on which the many first steps are done."""


@dataclass(frozen=True)
class CoAlignment:
    """Snippets brought together.

    The aligned snippet i is ``scale[i] * (snippet - lowest) + shift[i]``.

    Attributes:
        scale, shift: ``(S,)`` float32.
        lowest: the smallest value of all snippets.
        merged: ``(T, h, w)`` float32, for each frame the mean of the aligned snippets; known up
            to one scale and one shift of all frames.
        loss: the published objective at the answer.
    """

    scale: NDArray[np.float32]
    shift: NDArray[np.float32]
    lowest: float
    merged: NDArray[np.float32]
    loss: float


def coalign(
    snippets: NDArray[np.float32] | Sequence[NDArray[np.float32]],
    frames: NDArray[np.integer] | Sequence[NDArray[np.integer]],
    *,
    solver: Solver = "irls",
    pixel_step: int = 10,
    border: int = 2,
    iterations: int | None = None,
    learning_rate: float = 1e-3,
) -> CoAlignment:
    """Find a scale and a shift for each snippet, and merge the snippets to a video.

    A snippet that shares no frame with another keeps scale 1 and shift 0, since nothing speaks
    for anything else. So does one that is 0 everywhere; of a constant one only the sum of both
    matters, and the priors choose. Snippets that say the opposite of the others can get a
    negative scale, as they can in the published descent.

    Args:
        snippets: ``(S, L, h, w)`` float32, or S arrays ``(L, h, w)`` whose L may differ, inverse
            depth of any unit.
        frames: ``(S, L)``, or S arrays ``(L,)``: the frames that each snippet shows, ascending,
            counted from 0. Every frame up to the last has to be in some snippet. The same frames
            twice (a dilation capped to another) are a group of their own, as published.
        solver: ``irls`` or ``adam``.
        pixel_step, border: compared is every so many pixels, from this far inside (less far
            where the frame is too small for it).
        iterations: at most; None for 100 of ``irls`` and 2,000 of ``adam``.
        learning_rate: of ``adam``.

    Raises:
        KinedepthError: snippets and frames do not fit together, a frame is in no snippet, or
            values are not finite.
    """
    if solver not in get_args(Solver):
        raise KinedepthError(f"Unknown solver '{solver}'; choose irls or adam.")
    snippets, places = list(snippets), [np.asarray(covered) for covered in frames]
    _check(snippets, places)
    lowest, values = _compared(snippets, pixel_step, border)
    scale, shift, loss = align_values(
        values, places, solver=solver, iterations=iterations, learning_rate=learning_rate
    )
    merged = merge_snippets(snippets, places, scale, shift, lowest)
    return CoAlignment(scale, shift, lowest, merged, loss)


def align_values(
    values: Sequence[NDArray[np.float32]],
    frames: Sequence[NDArray[np.integer]],
    *,
    solver: Solver = "irls",
    iterations: int | None = None,
    learning_rate: float = 1e-3,
) -> tuple[NDArray[np.float32], NDArray[np.float32], float]:
    """Scale, shift ``(S,)`` and the objective there, of values that were picked already.

    Args:
        values: S arrays ``(L, P)``, the snippets at P pixels, less the lowest value of all.
        frames: and the rest as for :func:`coalign`, which says what is found.
    """
    values, places = list(values), list(frames)
    objective = _Objective.of(values, places)
    if solver == "adam":
        scale, shift = _descend(values, places, objective, iterations or 2000, learning_rate)
        loss = objective.loss(scale, shift)
    else:
        solution = _solve(values, places, objective, iterations or 100)
        scale, shift, loss = solution.scale, solution.shift, solution.loss
    return scale.astype(np.float32), shift.astype(np.float32), loss


def coalignment_loss(
    snippets: Sequence[NDArray[np.float32]],
    frames: Sequence[NDArray[np.integer]],
    scale: NDArray[np.floating],
    shift: NDArray[np.floating],
    *,
    pixel_step: int = 10,
    border: int = 2,
) -> float:
    """The published objective at ``scale`` and ``shift (S,)``; the rest as for :func:`coalign`."""
    _, values = _compared(list(snippets), pixel_step, border)
    objective = _Objective.of(values, [np.asarray(covered) for covered in frames])
    return objective.loss(scale.astype(np.float64), shift.astype(np.float64))


def merge_snippets(
    snippets: Sequence[NDArray[np.float32]],
    frames: Sequence[NDArray[np.integer]],
    scale: NDArray[np.float32],
    shift: NDArray[np.float32],
    lowest: float,
) -> NDArray[np.float32]:
    """``(T, h, w)`` float32, for each frame the mean of its aligned snippets.

    Args: as for :func:`coalign`, and the fields of :class:`CoAlignment`.
    """
    count = _frame_count(frames)
    merged = np.zeros((count, *snippets[0].shape[1:]), np.float32)
    # What is added to whole frames is summed apart: one pass less over every pixel.
    told, offset = np.zeros(count), np.zeros(count)
    for snippet, covered, factor, added in zip(snippets, frames, scale, shift, strict=True):
        for view, frame in zip(snippet, covered, strict=True):
            merged[frame] += factor * view
            offset[frame] += float(added) - float(factor) * lowest
            told[frame] += 1
    for frame in range(count):
        merged[frame] += np.float32(offset[frame])
        merged[frame] /= np.float32(told[frame])
    return merged


@dataclass(frozen=True)
class _Objective:
    """The published objective.

    Attributes:
        overlaps: what snippets say of common frames.
        weight: of one value's difference.
        group_size: ``(S,)``, how many snippets each one's group has.
    """

    overlaps: list[Overlap]
    weight: float
    group_size: NDArray[np.float64]

    @classmethod
    def of(cls, values: list[NDArray[np.float32]], places: list[NDArray[np.integer]]) -> _Objective:
        """For snippets ``(L, P)`` that show the frames ``places``."""
        seen: dict[tuple[int, ...], int] = {}
        groups = []
        for covered in places:
            key = tuple(map(int, covered))
            seen[key] = seen.get(key, 0) + 1
            groups.append((*np.diff(key).tolist(), -seen[key]))
        known = sorted(set(groups))
        size = np.array([groups.count(group) for group in known], np.float64)
        slots = sum(len(group) for group in known)
        weight = 1 / (slots * _frame_count(places) * values[0].shape[1])
        member = [known.index(group) for group in groups]
        return cls(find_overlaps(values, places), weight, size[member])

    def __call__(self, expansion: Expansion) -> None:
        """Add all terms at the expansion's scales and shifts."""
        expansion.add_disagreement(
            self.overlaps, (the_value, inverse_of_value(_FLOOR)), self.weight
        )
        pieces = np.arange(len(self.group_size))
        low = np.maximum(1 - expansion.scale, 0)
        expansion.add_squares(
            low, _SMALL_SCALE_COST / self.group_size, pieces, -(low > 0).astype(np.float64)
        )
        shift_unknowns = pieces + len(pieces)
        expansion.add_squares(expansion.shift, _SHIFT_COST / self.group_size, shift_unknowns)

    def loss(self, scale: NDArray[np.float64], shift: NDArray[np.float64]) -> float:
        expansion = Expansion(scale, shift, smoothing=1.0)
        self(expansion)
        return expansion.loss


def _solve(
    values: list[NDArray[np.float32]],
    places: list[NDArray[np.integer]],
    objective: _Objective,
    most_solves: int,
) -> Solution:
    """The objective's minimum; where there are many pixels, found on some of them first."""
    scale, shift = np.ones(len(values)), np.zeros(len(values))
    every = values[0].shape[1] // _FIRST_PIXELS
    if every < 4:
        return minimise(objective, scale, shift, most_solves=most_solves)
    some = _Objective.of([each[:, ::every] for each in values], places)
    first = minimise(some, scale, shift, most_solves=most_solves)
    # Never worse than what the snippets were before, whatever the left-out pixels hold.
    if objective.loss(first.scale, first.shift) < objective.loss(scale, shift):
        scale, shift = first.scale, first.shift
    return minimise(objective, scale, shift, smoothing=0.03, most_solves=most_solves)


def _descend(
    values: list[NDArray[np.float32]],
    places: list[NDArray[np.integer]],
    objective: _Objective,
    iterations: int,
    learning_rate: float,
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Scale and shift by the published descent."""
    import torch

    data = torch.from_numpy(np.concatenate(values))  # (rows, P): each frame of each snippet
    frame = torch.from_numpy(np.concatenate(places).astype(np.int64))
    snippet = torch.from_numpy(np.repeat(np.arange(len(values)), [len(v) for v in values]))
    told = torch.bincount(frame)[:, None].float()
    size = torch.from_numpy(objective.group_size).float()
    scale = torch.ones(len(values), requires_grad=True)
    shift = torch.zeros(len(values), requires_grad=True)
    optimiser = torch.optim.Adam([scale, shift], lr=learning_rate, betas=(0.5, 0.9))

    def disagreement(quantity: torch.Tensor) -> torch.Tensor:
        with torch.no_grad():
            target = quantity.new_zeros(len(told), quantity.shape[1])
            target = target.index_add(0, frame, quantity) / told
            relative_to = target.abs().mean(dim=1, keepdim=True)
        return ((quantity - target[frame]).abs() / relative_to[frame]).sum() * objective.weight

    for _ in range(iterations):
        aligned = data * scale[snippet][:, None] + shift[snippet][:, None]
        loss = disagreement(aligned) + disagreement(1 / aligned.clip(_FLOOR))
        loss = loss + _SMALL_SCALE_COST * ((1 - scale).clip(0) ** 2 / size).sum()
        loss = loss + _SHIFT_COST * (shift**2 / size).sum()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    found = (scale.detach().numpy(), shift.detach().numpy())
    return found[0].astype(np.float64), found[1].astype(np.float64)


def _frame_count(places: Sequence[NDArray[np.integer]]) -> int:
    return 1 + max(int(covered.max()) for covered in places)


def _compared(
    snippets: list[NDArray[np.float32]], step: int, border: int
) -> tuple[float, list[NDArray[np.float32]]]:
    """The lowest value of all, and what is above it ``(L, P)`` at each snippet's pixels."""
    lowest = min(float(snippet.min()) for snippet in snippets)
    return lowest, [_coarse(snippet, step, border) - np.float32(lowest) for snippet in snippets]


def _coarse(snippet: NDArray[np.float32], step: int, border: int) -> NDArray[np.float32]:
    """The compared pixels ``(L, P)`` of a snippet ``(L, h, w)``."""
    height, width = snippet.shape[1:]
    rows, columns = (min(border, (side - 1) // 2) for side in (height, width))
    inner = snippet[:, rows : height - rows : step, columns : width - columns : step]
    return np.ascontiguousarray(inner.reshape(len(snippet), -1), dtype=np.float32)


def _check(snippets: list[NDArray[np.float32]], places: list[NDArray[np.integer]]) -> None:
    if not snippets or len(snippets) != len(places):
        raise KinedepthError(
            f"Co-alignment needs the frames of each snippet; got {len(snippets)} snippets and "
            f"frames of {len(places)}."
        )
    size = snippets[0].shape[1:]
    for index, (snippet, covered) in enumerate(zip(snippets, places, strict=True)):
        if snippet.ndim != 3 or snippet.shape[1:] != size or 0 in snippet.shape:
            raise KinedepthError(
                f"Snippets need shape (L, h, w), h and w the same in all; got {snippet.shape} as "
                f"snippet {index}."
            )
        if covered.shape != (len(snippet),) or covered.min() < 0 or (np.diff(covered) <= 0).any():
            raise KinedepthError(
                f"Snippet {index} of {len(snippet)} frames needs as many frame numbers, ascending "
                f"from 0 up; got {covered.tolist()}."
            )
        if not np.isfinite(snippet).all():
            raise KinedepthError(f"Snippet {index} holds values that are no numbers.")
    told = np.bincount(np.concatenate(places))
    if (told == 0).any():
        raise KinedepthError(f"No snippet shows frame {int(np.argmin(told))}.")
