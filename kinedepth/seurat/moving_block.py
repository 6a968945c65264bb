"""Fusing the windows of a long video in a block that moves along it.

All windows of a video at once would take memory in proportion to its length. What a window far
away says about the change of depth here fades within a few windows' lengths, so blocks of frames
are solved one after the other with generous overlap, and of each only the middle is kept. A block
knows depth up to a constant for each track; the constant is read where it overlaps the frames
that are final already.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from kinedepth.rows import Rows
from kinedepth.seurat.windows import Window, WindowEstimate, fuse

BLOCK = 512
"""Frames solved at once; a shorter video is one block."""
OVERLAP = 128
"""Frames at an inner end of a block that are not kept, more than four times the longest window."""
_SEAM = 16
"""Final frames before the first new one at which a block is brought to their level."""
_TRACKS_AT_ONCE = 64
"""Tracks do not know of each other in fusion; so many at a time bound the memory."""

ReadEstimates = Callable[[Sequence[int]], list[WindowEstimate]]
"""Gives the estimates of some windows, by their indices."""


@dataclass(frozen=True)
class Block:
    """Frames ``first`` to ``stop`` are solved, of which ``final`` are kept."""

    first: int
    stop: int
    final: range


def plan_blocks(frames: int, size: int = BLOCK, overlap: int = OVERLAP) -> list[Block]:
    """Blocks whose final frames are 0 to ``frames`` in order, each frame once.

    Args:
        frames: of the video.
        size: of a block.
        overlap: frames that an inner end of a block has to spare; less than half of ``size``.
    """
    if frames <= size:
        return [Block(0, frames, range(frames))]
    blocks, first, final = [], 0, 0
    while final < frames:
        stop = min(first + size, frames)
        end = frames if stop == frames else stop - overlap
        blocks.append(Block(first, stop, range(final, end)))
        first, final = first + size - 2 * overlap, end
    return blocks


def fuse_in_blocks(
    windows: Sequence[Window],
    read: ReadEstimates,
    joined: Rows,
    blocks: Sequence[Block],
) -> Iterator[int]:
    """Fuse windows as :func:`kinedepth.seurat.windows.fuse` does; yield after each block.

    Args:
        windows: of the video.
        read: gives the estimates of some of them.
        joined: ``(T, N)`` float64, filled in; frames before the first block are final.
        blocks: those that are to come.

    Yields:
        How many frames are final.
    """
    starts = np.array([window.start for window in windows])
    ends = np.array([window.frames[-1] for window in windows])
    for block in blocks:
        inside = np.flatnonzero((starts >= block.first) & (ends < block.stop))
        solved = _fuse_tracks(read(inside.tolist()), block)
        if block.final.start > 0:
            seam = range(max(block.first, block.final.start - _SEAM), block.final.start)
            there = solved[seam.start - block.first : seam.stop - block.first]
            solved += (joined.read(seam) - there).mean(axis=0)
        kept = slice(block.final.start - block.first, block.final.stop - block.first)
        joined.write(block.final.start, solved[kept])
        yield block.final.stop


def _fuse_tracks(estimates: Sequence[WindowEstimate], block: Block) -> NDArray[np.float64]:
    """Log depth ``(frames of the block, N)``, up to a constant a track."""
    count = estimates[0].log_ratio.shape[1]
    parts = []
    for first in range(0, count, _TRACKS_AT_ONCE):
        some = slice(first, first + _TRACKS_AT_ONCE)
        moved = [
            WindowEstimate(
                dataclasses.replace(each.window, start=each.window.start - block.first),
                each.log_ratio[:, some],
                each.scale[:, some],
                each.visible[:, some],
                None if each.known is None else each.known[some],
            )
            for each in estimates
        ]
        parts.append(fuse(moved, block.stop - block.first))
    return np.concatenate(parts, axis=1)
