"""Depth ratios of a whole video, refined by what moves as one, block by block.

Blocks of frames overlap by half (:mod:`kinedepth.geometry.rigid_ratios` has what is done in one).
They say how depth changes from each frame to the next, which knows nothing of query frames; where
blocks overlap, their mean counts, the middle of a block more than its ends.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from kinedepth.camera import Intrinsics
from kinedepth.errors import KinedepthError
from kinedepth.geometry.blocks import plan_blocks
from kinedepth.geometry.rigid_ratios import LEAST_SEEN, block_changes
from kinedepth.tracks import Tracks3D

BLOCK_SECONDS = 1.2
"""That a group has to move as one for. A longer time tells slower motion, but a body that slows
down while the camera does not is then no longer told from a still one."""
_LEAST_FRAMES = 8
"""A block has so many frames at least."""
_ROUGH_STD = 0.02
"""Of a log ratio whose error is not known, one frame from its query frame; it grows as the
root of the distance."""

RatioProgress = Callable[[int, int], None]
"""Called with the number of blocks of frames done, and how many there are."""


@dataclass(frozen=True)
class Changes:
    """How log depth changes from some frames to the next, which no later block adds to.

    Attributes:
        first: the frame from which the first change leads to the next.
        log_ratio: ``(C, N)`` change of log depth.
        std: ``(C, N)`` its standard deviation; those along a track add up.
    """

    first: int
    log_ratio: NDArray[np.float64]
    std: NDArray[np.float64]


class RatioRefiner:
    """Takes the blocks of a video one after the other and gives out what is final.

    Args:
        times: ``(T,)`` seconds of the frames, increasing.
        points: N.
        focal_known: whether the intrinsics to come are more than a guess.

    Attributes:
        blocks: the frames of each; none where the video is too short to tell a group.
    """

    def __init__(self, times: NDArray[np.floating], points: int, focal_known: bool = True) -> None:
        self._focal_known = focal_known
        self.blocks = _plan(np.asarray(times, dtype=np.float64))
        size = max((len(block) for block in self.blocks), default=1) - 1
        # From the block that comes next on: sums of changes, of their errors, and of weights.
        self._change, self._doubt = np.zeros((2, size, points))
        self._weight = np.zeros((size, 1))

    def add(
        self,
        index: int,
        log_ratio: NDArray[np.floating],
        std: NDArray[np.floating],
        xy: NDArray[np.floating],
        visible: NDArray[np.bool_],
        intrinsics: Intrinsics,
    ) -> Changes:
        """Take block ``index``, the next one, with its arrays as of ``block_changes``."""
        block = self.blocks[index]
        change, doubt = block_changes(
            np.asarray(log_ratio, np.float64),
            np.asarray(std, np.float64),
            xy,
            visible,
            intrinsics,
            self._focal_known,
        )
        # The middle of a block is known better than its ends, and no block begins abruptly.
        say = np.minimum(np.arange(1, len(block)), np.arange(len(block) - 1, 0, -1))[:, None]
        self._change += say * change
        self._doubt += say * doubt
        self._weight += say
        last = index + 1 == len(self.blocks)
        final = len(block) - 1 if last else self.blocks[index + 1].start - block.start
        weight = self._weight[:final]
        done = Changes(block.start, self._change[:final] / weight, self._doubt[:final] / weight)
        for sums in (self._change, self._doubt, self._weight):
            sums[: len(sums) - final] = sums[final:]
            sums[len(sums) - final :] = 0
        return done

    def state(self) -> dict[str, NDArray]:
        """What :meth:`restore` needs to go on after the blocks taken so far."""
        return {"change": self._change, "doubt": self._doubt, "weight": self._weight}

    def restore(self, state: Mapping[str, NDArray]) -> None:
        """Go on where the refiner was that gave this state."""
        self._change, self._doubt = state["change"].copy(), state["doubt"].copy()
        self._weight = state["weight"].copy()


def refine_ratios(
    tracks3d: Tracks3D,
    times: NDArray[np.floating],
    progress: RatioProgress | None = None,
    focal_known: bool = True,
) -> Tracks3D:
    """Tracks with the depth ratios that the network and the rigid groups say together.

    Args:
        tracks3d: lifted tracks that carry ``log_ratio_std``; without it a constant stands in.
        times: ``(T,)`` seconds of the frames, increasing.
        progress: told how far it is.
        focal_known: whether the tracks' focal length is more than a guess. Ratios hang on it where
            the camera turns; where it is not known, each group finds its own.

    Returns:
        The tracks with other ``log_ratio``, ``log_ratio_std`` and, along their rays, ``xyz``; as
        they were if they have fewer than five frames.

    Raises:
        KinedepthError: if there is not one time for each frame.
    """
    tracks = tracks3d.tracks
    frames, points = tracks.visible.shape
    if len(times) != frames:
        raise KinedepthError(f"The tracks have {frames} frames, but {len(times)} times are given.")
    std = _std_of(tracks3d)
    refiner = RatioRefiner(times, points, focal_known)
    if not refiner.blocks:
        return tracks3d
    level, doubt = np.zeros((2, frames, points))
    for index, block in enumerate(refiner.blocks):
        rows = slice(block.start, block.stop)
        found = refiner.add(
            index,
            tracks3d.log_ratio[rows],
            std[rows],
            tracks.xy[rows],
            tracks.visible[rows],
            tracks3d.intrinsics,
        )
        after = slice(found.first + 1, found.first + 1 + len(found.std))
        level[after] = level[found.first] + found.log_ratio.cumsum(0)
        doubt[after] = doubt[found.first] + found.std.cumsum(0)
        if progress is not None:
            progress(index + 1, len(refiner.blocks))
    query = tracks.query_frame, np.arange(points)
    log_ratio = (level - level[query]).astype(np.float32)
    reach = np.abs(doubt - doubt[query]).astype(np.float32)
    # Along its ray a point's whole position grows with its depth.
    xyz = tracks3d.xyz * np.exp(log_ratio - tracks3d.log_ratio)[..., None]
    return replace(tracks3d, xyz=xyz, log_ratio=log_ratio, log_ratio_std=reach)


def _plan(times: NDArray[np.float64]) -> list[range]:
    """Blocks that overlap by half or more; none for fewer frames than a point has to be seen in."""
    frames = len(times)
    if frames < LEAST_SEEN:
        return []
    step = float(np.median(np.diff(times)))
    length = max(_LEAST_FRAMES, round(BLOCK_SECONDS / step) + 1 if step > 0 else 0)
    # A little more than one block is one, not two that are nearly the same.
    length = frames if 3 * frames <= 4 * length else length
    return plan_blocks(frames, length, length // 2)


def _std_of(tracks3d: Tracks3D) -> NDArray[np.float64]:
    """``(T, N)`` standard deviation of the log ratios, a rough one where they carry none."""
    if tracks3d.log_ratio_std is not None:
        return tracks3d.log_ratio_std.astype(np.float64)
    away = np.arange(tracks3d.frames)[:, None] - tracks3d.query_frame
    return _ROUGH_STD * np.sqrt(np.abs(away))
