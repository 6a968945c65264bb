"""Which frames make up the snippets of a clip."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from kinedepth.errors import KinedepthError


@dataclass(frozen=True)
class SnippetPlan:
    """The snippets that a clip is cut into.

    Attributes:
        dilations: of each group of snippets, after the cap; one may occur more than once.
        frames: ``(U, L)`` int64 frames of the distinct snippets, which have to be predicted.
        occurrences: ``(S,)`` int64 index into ``frames`` of all snippets, group by group.
            A repeated dilation is predicted once, and counts as often as it was asked for.
        groups: ``(S,)`` int64 index into ``dilations`` of all snippets.
    """

    dilations: tuple[int, ...]
    frames: NDArray[np.int64]
    occurrences: NDArray[np.int64]
    groups: NDArray[np.int64]

    @property
    def length(self) -> int:
        """L, frames in a snippet."""
        return self.frames.shape[1]


def plan_snippets(
    frame_count: int, dilations: tuple[int, ...], length: int = 3, cap: bool = True
) -> SnippetPlan:
    """Snippets of a clip: for each dilation d and every start i the frames i, i+d, i+2d, ...

    Args:
        frame_count: frames of the clip; where there are fewer than ``length``, a snippet has
            all of them.
        dilations: distances between the neighbours of a snippet.
        length: frames in a snippet.
        cap: shorten dilations to :func:`longest_dilation`.

    Raises:
        KinedepthError: if the clip is too short for a dilation, or frames are left without a
            snippet; with the cap neither can be.
    """
    length = min(length, frame_count)
    if cap:
        longest = longest_dilation(frame_count, length)
        dilations = tuple(min(dilation, longest) for dilation in dilations)
    distinct = list(dict.fromkeys(dilations))
    pieces = [snippets_of_dilation(frame_count, dilation, length) for dilation in distinct]
    frames = np.concatenate(pieces)
    missing = np.setdiff1d(np.arange(frame_count), frames)
    if len(missing):
        raise KinedepthError(
            f"The dilations {', '.join(map(str, dilations))} leave {len(missing)} of "
            f"{frame_count} frames without a snippet; add the dilation 1 or allow shorter ones."
        )
    counts = [len(piece) for piece in pieces]
    first = np.cumsum([0, *counts])
    order = [distinct.index(dilation) for dilation in dilations]
    occurrences = [np.arange(first[which], first[which + 1]) for which in order]
    groups = [np.full(counts[which], group) for group, which in enumerate(order)]
    return SnippetPlan(dilations, frames, np.concatenate(occurrences), np.concatenate(groups))


def longest_dilation(frame_count: int, length: int) -> int:
    """The published cap, at least 1: every frame is in a snippet of such a dilation."""
    return max(1, frame_count // length - 1)


def snippets_of_dilation(frame_count: int, dilation: int, length: int) -> NDArray[np.int64]:
    """Frames ``(S, L)`` of all snippets of one dilation.

    Raises:
        KinedepthError: if the clip is too short for one.
    """
    span = (length - 1) * dilation + 1
    if span > frame_count:
        raise KinedepthError(
            f"A dilation of {dilation} frames needs a clip of at least {span}, but this one has "
            f"{frame_count}; leave it out, or choose a preset that shortens it (fast, full)."
        )
    starts = np.arange(frame_count - span + 1, dtype=np.int64)
    return starts[:, None] + dilation * np.arange(length, dtype=np.int64)


def refinement_dilations(steps: int, first: int) -> list[int]:
    """Dilation of each step of the refinement: from ``first`` down to 1, coarse to fine."""
    # Evaluated in this order, rounding decides as in the published schedule: 6 to 1 in ten
    # steps is 6, 5, 5, 4, 4, 3, 3, 2, 1, 1.
    return [int((1 - step / steps) * (first - 1) + 1) for step in range(steps)]


def first_refinement_dilation(frame_count: int, length: int, wanted: int, cap: bool) -> int:
    """The dilation that refinement begins with: the wanted one, or what the clip has room for.

    With ``cap`` that is the cap of the snippets; else the largest that reaches every frame.
    """
    length = min(length, frame_count)
    reaching = longest_dilation(frame_count, length) if cap else frame_count // length
    return min(wanted, reaching)
