"""Depth of a per-frame model, made consistent over time by a scale and a shift for each frame.

Points are followed over short windows. Between frames 1, 2 and 4 apart the depth that the model
gives at a point should next to agree, once each frame is scaled and shifted rightly; all scales
and shifts are solved together and robustly (:mod:`kinedepth.joint_alignment`).

That is an assumption: a point's depth does change when it or the camera moves. Two things keep
motion from being taken for flicker. Differences count by their size, not their square, so that
what moves by itself has little say. And of the scales and shifts that are found only what changes
within about :data:`SLOWEST` frames is used: a camera that approaches steadily makes them follow
a slow path, which is left as the model has it. So slow drift of the model stays too.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy.linalg import solveh_banded

from kinedepth._frame_store import gather_frames
from kinedepth.dense.base import DepthModel, FrameProgress
from kinedepth.depth import DepthKind
from kinedepth.errors import KinedepthError
from kinedepth.joint_alignment import (
    Expansion,
    Overlap,
    Quantity,
    inverse_of_value,
    minimise,
    the_value,
)
from kinedepth.tracks import Tracks
from kinedepth.video import Video

FollowPoints = Callable[[Video], Iterable[tuple[range, Tracks]]]
"""Gives points followed through some frames of a video at a time, with these frames.

The windows have to overlap and to cover the video."""

GAPS = (1, 2, 4)
"""Frames between which depth at a point is compared."""
SLOWEST = 20
"""Frames of a wave of which half is taken for flicker."""

_POINTS = 128
"""Points of a pair of frames that are compared."""
_FEWEST = 16
"""With fewer a pair of frames tells nothing."""
_PRIOR = 0.02
"""Price of a squared log scale, and of a squared shift relative to the size of the depth, in
mean relative differences: it decides only what points leave open."""


@dataclass(frozen=True)
class FrameCorrections:
    """What makes each of T frames consistent: ``scale * depth + shift``.

    Attributes:
        scale, shift: ``(T,)`` float32; 1 and 0 on average.
    """

    scale: NDArray[np.float32]
    shift: NDArray[np.float32]

    def applied(self, index: int, depth: NDArray[np.float32]) -> NDArray[np.float32]:
        """Depth ``(H, W)`` of frame ``index``, corrected."""
        return depth * self.scale[index] + self.shift[index]


class ConsistentDepth:
    """A per-frame model whose scale and shift do not flicker, as a ``DepthModel``.

    All frames are predicted, and kept (on disk where they are many), before the first one is
    given out.

    Args:
        model: any; one that is consistent already is left nearly as it is.
        follow: follows points, see :data:`FollowPoints`.
    """

    def __init__(self, model: DepthModel, follow: FollowPoints) -> None:
        self.name = model.name
        self.kind: DepthKind = model.kind
        self.per_frame = model.per_frame
        self._model = model
        self._follow = follow

    def predict(
        self, video: Video, progress: FrameProgress | None = None
    ) -> Iterator[NDArray[np.float32]]:
        """As of :class:`kinedepth.dense.base.DepthModel`."""
        if len(video) == 1:
            yield from self._all_frames(video, progress)
            return
        shape = (len(video), video.height, video.width)
        depth = gather_frames(self._all_frames(video, progress), shape)
        corrections = find_corrections(depth, self._follow(video), self.kind)
        for index, frame in enumerate(depth):
            yield corrections.applied(index, np.asarray(frame))

    def _all_frames(
        self, video: Video, progress: FrameProgress | None
    ) -> Iterator[NDArray[np.float32]]:
        """What the model gives, neither less nor more than a depth for each frame."""
        given = 0
        for depth in self._model.predict(video, progress):
            given += 1
            if given > len(video) or depth.shape != (video.height, video.width):
                raise KinedepthError(
                    f"{self.name} gave depth of shape {depth.shape} as frame {given - 1} of "
                    f"{len(video)} of {video.width}x{video.height}."
                )
            yield depth
        if given < len(video):
            raise KinedepthError(f"{self.name} gave depth of {given} of {len(video)} frames.")


def find_corrections(
    depth: NDArray[np.float32], followed: Iterable[tuple[range, Tracks]], kind: DepthKind
) -> FrameCorrections:
    """A scale and a shift for each frame, so that depth does not flicker.

    Args:
        depth: ``(T, H, W)`` of all frames.
        followed: points, in pixels of these frames, see :data:`FollowPoints`.
        kind: what the depth means.

    Frames that no points lead to stay as they are.
    """
    frames = len(depth)
    pieces, values = _pairs(depth, followed, frames)
    if len(pieces) == 0:
        return FrameCorrections(np.ones(frames, np.float32), np.zeros(frames, np.float32))
    # In units of the depth itself, whatever those are, one price of a shift fits all.
    size = max(float(np.median(np.abs(values))), 1e-12)
    batch = 200
    overlaps = [
        Overlap(pieces[first : first + batch], values[first : first + batch] / np.float32(size))
        for first in range(0, len(pieces), batch)
    ]
    quantities: list[Quantity] = [the_value]
    if kind in ("metric", "scale_invariant"):
        # Far points would have all the say; of their inverses near ones have it.
        quantities.append(inverse_of_value(0.05))
    each = np.arange(frames)
    price = np.full(frames, _PRIOR / frames)

    def objective(expansion: Expansion) -> None:
        weight = 1 / (len(pieces) * 2 * _POINTS * len(quantities))
        expansion.add_disagreement(overlaps, quantities, weight)
        # The logarithm of a scale that is not positive is NaN, and no step leads there.
        expansion.add_squares(np.log(expansion.scale), price, each, 1 / expansion.scale)
        expansion.add_squares(expansion.shift, price, each + frames)

    found = minimise(objective, np.ones(frames), np.zeros(frames), most_solves=40)
    slow_scale, slow_shift = np.exp(_slow(np.log(found.scale))), _slow(found.shift)
    # First as found, then back by what changes slowly.
    scale, shift = found.scale / slow_scale, (found.shift - slow_shift) / slow_scale
    return FrameCorrections(scale.astype(np.float32), (shift * size).astype(np.float32))


def _pairs(
    depth: NDArray[np.float32], followed: Iterable[tuple[range, Tracks]], frames: int
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Pairs of frames ``(n, 2)``, and depth at common points ``(n, 2, P)``."""
    pieces, values = [], []
    for window, tracks in followed:
        if window.stop > frames:
            raise KinedepthError(
                f"Points were followed to frame {window.stop - 1}, but depth has {frames} frames."
            )
        read = np.stack([_read(depth[frame], tracks.xy[at]) for at, frame in enumerate(window)])
        known = tracks.visible & np.isfinite(read)
        for gap in GAPS:
            for at in range(len(window) - gap):
                common = np.flatnonzero(known[at] & known[at + gap])
                if len(common) < _FEWEST:
                    continue
                # All pairs have as many points, so that they can be worked on together.
                chosen = common[np.linspace(0, len(common) - 1, _POINTS).round().astype(int)]
                pieces.append((window[at], window[at + gap]))
                values.append(read[[at, at + gap]][:, chosen])
    if not pieces:
        return np.empty((0, 2), np.int64), np.empty((0, 2, _POINTS), np.float32)
    return np.array(pieces, np.int64), np.stack(values)


def _read(depth: NDArray[np.float32], xy: NDArray[np.float32]) -> NDArray[np.float32]:
    """Depth ``(N,)`` at ``xy (N, 2)``, interpolated; pixel centres lie at +0.5."""
    x, y = np.ascontiguousarray(xy.T - np.float32(0.5))
    frame = np.ascontiguousarray(depth, dtype=np.float32)
    found = cv2.remap(frame, x[None], y[None], cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    return np.asarray(found[0], dtype=np.float32)


def _slow(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """What of ``values (T,)`` changes slowly: Whittaker's smoother with second differences."""
    frames = len(values)
    stiffness = (SLOWEST / (2 * np.pi)) ** 4
    matrix = np.zeros((3, frames))
    matrix[0] = 1.0
    stencil = (1.0, -2.0, 1.0)
    for i in range(3 if frames > 2 else 0):
        for j in range(i + 1):
            matrix[i - j, j : j + frames - 2] += stiffness * stencil[i] * stencil[j]
    if frames < 3:
        return np.full(frames, values.mean())
    smooth: NDArray[np.float64] = solveh_banded(matrix, values, lower=True)
    return smooth
