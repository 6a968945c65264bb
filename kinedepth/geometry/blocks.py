"""Long clips in overlapping blocks of frames, and the blocks brought into one scene."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

_LEAST_SHARED = 4
"""Points that two blocks must share for the one's scale to follow from the other's."""


@dataclass(frozen=True)
class BlockScene:
    """What was found in one block of frames.

    Attributes:
        frames: of the clip.
        rotation: ``(F, 3, 3)``; translation: ``(F, 3)``: world to camera.
        place: ``(N, 3)`` in the world; NaN for points outside the rigid group.
        known: ``(N,)`` bool, points seen often enough in this block to be judged.
        log_depth_std: ``(N,)``, infinite where ``place`` is NaN.
        confidence: parallax over noise.
    """

    frames: range
    rotation: NDArray[np.float64]
    translation: NDArray[np.float64]
    place: NDArray[np.float64]
    known: NDArray[np.bool_]
    log_depth_std: NDArray[np.float64]
    confidence: float

    @property
    def member(self) -> NDArray[np.bool_]:
        """``(N,)`` bool, points of the rigid group."""
        return np.asarray(np.isfinite(self.place).all(-1))

    def depth_at(self, frame: int) -> NDArray[np.float64]:
        """``(N,)`` z-depth in a frame of the clip that the block has."""
        t = frame - self.frames.start
        return self.place @ self.rotation[t, 2] + self.translation[t, 2]


def plan_blocks(frames: int, length: int, overlap: int) -> list[range]:
    """Blocks of ``length`` frames that overlap by ``overlap`` frames or more."""
    if frames <= length:
        return [range(frames)]
    count = -(-(frames - overlap) // (length - overlap))
    starts = np.linspace(0, frames - length, count).round().astype(int)
    return [range(int(start), int(start) + length) for start in starts]


def into_one_world(blocks: Sequence[BlockScene]) -> list[BlockScene] | None:
    """Each block in the unit and the world of the first; None where two share too little.

    Scale comes from the depth of points that are rigid in both, over the frames that both see
    (the median of log ratios), and the pose from the camera in the middle of these frames.
    """
    placed = [blocks[0]]
    for block in blocks[1:]:
        before = placed[-1]
        shared = range(block.frames.start, before.frames.stop)
        both = before.member & block.member
        with np.errstate(invalid="ignore", divide="ignore"):
            ratio = np.log([before.depth_at(t)[both] / block.depth_at(t)[both] for t in shared])
        usable = np.isfinite(ratio)
        if usable.any(0).sum() < _LEAST_SHARED:
            return None
        scale = float(np.exp(np.median(ratio[usable])))
        middle = shared[len(shared) // 2]
        a, b = middle - before.frames.start, middle - block.frames.start
        # From the block's world through the camera of the middle frame to the first world.
        turn = before.rotation[a].T @ block.rotation[b]
        shift = before.rotation[a].T @ (scale * block.translation[b] - before.translation[a])
        rotation = block.rotation @ turn.T
        placed.append(
            replace(
                block,
                rotation=rotation,
                translation=scale * block.translation - rotation @ shift,
                place=scale * block.place @ turn.T + shift,
            )
        )
    return placed


@dataclass(frozen=True)
class MergedScene:
    """All blocks as one: cameras of T frames, depth ``(T, N)`` (NaN outside the rigid group)."""

    rotation: NDArray[np.float64]
    translation: NDArray[np.float64]
    depth: NDArray[np.float64]
    member: NDArray[np.bool_]
    log_depth_std: NDArray[np.float64]


def merge_blocks(blocks: Sequence[BlockScene]) -> MergedScene | None:
    """One scene from blocks in order; None where two of them cannot be related.

    Cameras pass from block to block in the middle of their overlap. A frame's depth of a point
    comes from the nearest block in whose rigid group it is. A point is rigid if more of the
    blocks that can judge say so than deny it.
    """
    placed = into_one_world(blocks)
    if placed is None:
        return None
    frames = placed[-1].frames.stop
    centre = np.array([(block.frames.start + block.frames.stop - 1) / 2 for block in placed])
    distance = np.abs(np.arange(frames)[:, None] - centre)  # (T, B)
    # The nearest centre is that of a block which has the frame: all blocks are equally long.
    owner = distance.argmin(1)
    poses = [(placed[o], t - placed[o].frames.start) for t, o in enumerate(owner)]
    rotation = np.stack([block.rotation[t] for block, t in poses])
    translation = np.stack([block.translation[t] for block, t in poses])

    votes = sum(np.where(block.known, np.where(block.member, 1, -1), 0) for block in placed)
    member = np.asarray(votes) > 0
    depth = np.full((frames, len(member)), np.nan)
    for block_order in np.unique(distance.argsort(1)[:, ::-1], axis=0):
        mine = (distance.argsort(1)[:, ::-1] == block_order).all(1)
        for index in block_order:  # From the farthest block to the nearest, which has the say.
            place = placed[index].place
            seen = rotation[mine, 2] @ place.T + translation[mine, 2:]
            depth[mine] = np.where(np.isfinite(seen), seen, depth[mine])
    std = np.where(member, np.min([block.log_depth_std for block in placed], axis=0), np.inf)
    return MergedScene(rotation, translation, np.where(member, depth, np.nan), member, std)
