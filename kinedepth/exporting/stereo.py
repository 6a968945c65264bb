"""Stereo pairs from frames and their depth: pixels move sideways by their disparity.

Both views are moved by half, in opposite directions, so that neither is better than the other.
What a pixel covers in a view is a piece of a continuous surface that joins those of its
neighbours wherever disparity changes gently: slanted surfaces stretch without cracks. Where it
jumps, surfaces come apart and uncover a hole, which is filled from the farther side.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

import cv2
import numpy as np
from numpy.typing import NDArray

from kinedepth.depth import DepthKind
from kinedepth.errors import KinedepthError

StereoLayout = Literal["side-by-side", "half-side-by-side", "anaglyph"]
"""Both views in full width; both squeezed to half width; both in one, for red-cyan glasses."""

_LARGEST_STRETCH = 1.0
"""Pixels by which neighbours may move apart in a view and still be one surface."""

_HOLE_BLUR = 3
"""Pixels over which filled holes are smoothed, so that they do not look sharper than they are."""


@dataclass(frozen=True)
class StereoSettings:
    """How a stereo film is made.

    Attributes:
        layout: how the two views share a frame, see :data:`StereoLayout`.
        strength: distance between the positions of the nearest point in the two views, less
            that of the farthest, as a share of the frame's width; above 0, at most 0.2.
        convergence: what lies in the plane of the screen: 0 the farthest, 1 the nearest point.
            What is nearer stands out of the screen.
        edge_margin: pixels by which near surfaces are grown before they are moved, so that the
            blurred rim of an object moves with it and is not left behind on the background.

    Raises:
        KinedepthError: if a value is out of range.
    """

    layout: StereoLayout = "side-by-side"
    strength: float = 0.04
    convergence: float = 0.5
    edge_margin: int = 2

    def __post_init__(self) -> None:
        if self.layout not in get_args(StereoLayout):
            raise KinedepthError(
                f"There is no stereo layout '{self.layout}'; choose one of "
                f"{', '.join(get_args(StereoLayout))}."
            )
        if not 0 < self.strength <= 0.2:
            raise KinedepthError(
                f"The strength of stereo is a share of the width above 0 and up to 0.2; got "
                f"{self.strength}."
            )
        if not 0 <= self.convergence <= 1:
            raise KinedepthError(
                f"Convergence is between 0 (the farthest point) and 1; got {self.convergence}."
            )
        if self.edge_margin < 0:
            raise KinedepthError(f"The edge margin cannot be negative; got {self.edge_margin}.")


def normalised_disparity(
    depth: NDArray[np.float32], kind: DepthKind, shown_range: tuple[float, float]
) -> NDArray[np.float32]:
    """Disparity ``(H, W)`` from 0 (farthest) to 1 (nearest) for the whole film.

    Depth up to scale is turned by its reciprocal. Depth with a free shift has no reciprocal; it
    is turned around linearly. A pixel without a usable value is as far as the farther of the
    nearest usable ones in its row.

    Args:
        depth: ``(H, W)`` as ``kind`` says.
        kind: what the values mean.
        shown_range: the values that become 0 and 1; those beyond are cut.
    """
    low, high = (float(value) for value in shown_range)
    known = np.isfinite(depth)
    value: NDArray[np.floating]
    if kind in ("metric", "scale_invariant"):
        known &= depth > 0
        high = max(high, 1e-6)
        low = max(low, 1e-4 * high)
        far, near = 1 / high, 1 / low
        value = 1 / np.where(known, depth, np.float32(high))
    elif kind == "affine_invariant":
        far, near = -high, -low
        value = -depth
    else:
        far, near = low, high
        value = depth
    if near <= far:
        return np.zeros(depth.shape, dtype=np.float32)
    share = np.clip((value - far) / (near - far), 0, 1)
    disparity = np.asarray(share, dtype=np.float32)
    return disparity if known.all() else _fill_unknown(disparity, known)


def _fill_unknown(disparity: NDArray[np.float32], known: NDArray[np.bool_]) -> NDArray[np.float32]:
    before, after = _neighbours(known)
    width = known.shape[1]
    # Beyond an end there is nothing that could be farther; in an empty row all is.
    left = np.where(before >= 0, _take(disparity, before), np.inf)
    right = np.where(after < width, _take(disparity, after), np.inf)
    farther = np.minimum(left, right)
    filled = np.where(np.isfinite(farther), farther, 0)
    return np.where(known, disparity, filled).astype(np.float32)


def stereo_pair(
    image: NDArray[np.uint8], disparity: NDArray[np.float32], settings: StereoSettings
) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """The left and the right view ``(H, W, 3)`` uint8 of a frame.

    Args:
        image: ``(H, W, 3)`` uint8 RGB.
        disparity: ``(H, W)`` from 0, farthest, to 1, nearest.
        settings: how far pixels move.
    """
    if settings.edge_margin:
        size = 2 * settings.edge_margin + 1
        grown = cv2.dilate(disparity, np.ones((size, size), np.uint8))
        disparity = np.asarray(grown, dtype=np.float32)
    width = image.shape[1]
    shift = (0.5 * settings.strength * width) * (disparity - np.float32(settings.convergence))
    left = _moved_right(image, shift)
    # To the left is to the right in a mirror: one direction is all that has to be right.
    mirrored = _moved_right(np.ascontiguousarray(image[:, ::-1]), shift[:, ::-1])
    return left, np.ascontiguousarray(mirrored[:, ::-1])


def _moved_right(image: NDArray[np.uint8], shift: NDArray[np.float32]) -> NDArray[np.uint8]:
    """The view in which each pixel sits ``shift`` pixels further right; larger is nearer."""
    height, width = shift.shape
    source = _visible_sources(shift)
    row = np.broadcast_to(np.arange(height, dtype=np.float32)[:, None], (height, width))
    hole = source < 0
    if hole.any():
        source = _fill_from_behind(source, shift)
    view = cv2.remap(image, source, row, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    return _smooth(np.asarray(view, np.uint8), hole)


def _visible_sources(shift: NDArray[np.float32]) -> NDArray[np.float32]:
    """Column in the frame that each pixel of the view shows, ``(H, W)``; -1 in holes."""
    height, width = shift.shape
    centre = np.arange(width, dtype=np.float32) + shift
    # A pixel covers the view from its left to its right end; neighbours share an end where the
    # surface goes on, and stop half a pixel beyond their centres where it does not.
    joined = np.abs(np.diff(shift, axis=1)) <= _LARGEST_STRETCH
    middle = 0.5 * (centre[:, :-1] + centre[:, 1:])
    left, right = centre - np.float32(0.5), centre + np.float32(0.5)
    np.copyto(left[:, 1:], middle, where=joined)
    np.copyto(right[:, :-1], middle, where=joined)

    first = np.ceil(left).astype(np.int32)
    # Two pixels cannot be told from their ends alone; at most this many centres lie between.
    most = 1 + int(_LARGEST_STRETCH)
    row = np.arange(height, dtype=np.int32)[:, None] * width
    winner = np.full(height * width, width, dtype=np.int32)
    column = np.broadcast_to(np.arange(width, dtype=np.int32), (height, width))
    for k in range(most):
        target = first + k
        covered = (target < right) & (target >= 0) & (target < width)
        # Of all pixels that move to one place, the leftmost has moved furthest and is nearest.
        # Assignment keeps the last value, so the leftmost comes last.
        at = (row + target)[:, ::-1][covered[:, ::-1]]
        candidate = np.full(height * width, width, dtype=np.int32)
        candidate[at] = column[:, ::-1][covered[:, ::-1]]
        np.minimum(winner, candidate, out=winner)
    winner = winner.reshape(height, width)

    hole = winner == width
    index = np.where(hole, 0, winner)
    begin = np.take_along_axis(left, index, axis=1)
    end = np.take_along_axis(right, index, axis=1)
    inside = (column - begin) / np.maximum(end - begin, np.float32(1e-6)) - np.float32(0.5)
    # Beyond a centre lies the neighbour, whose colour must not leak in across a jump.
    low = np.where(np.pad(joined, ((0, 0), (1, 0))), np.float32(-0.5), np.float32(0))
    high = np.where(np.pad(joined, ((0, 0), (0, 1))), np.float32(0.5), np.float32(0))
    inside = np.clip(
        inside, np.take_along_axis(low, index, axis=1), np.take_along_axis(high, index, axis=1)
    )
    return np.where(hole, np.float32(-1), index + inside).astype(np.float32)


def _fill_from_behind(
    source: NDArray[np.float32], shift: NDArray[np.float32]
) -> NDArray[np.float32]:
    """``source`` with its holes filled from their farther side, which goes on mirrored there.

    A mirror image keeps the texture of the background, where repeating its last column would
    draw streaks. Where the mirror would reach something nearer, or the frame's end, the last
    column is repeated after all.
    """
    height, width = source.shape
    column = np.broadcast_to(np.arange(width, dtype=np.int32), (height, width))
    filled = source >= 0
    before, after = _neighbours(filled)

    moved = _take(shift, np.rint(source).astype(np.int32))
    behind_before = _take(moved, before) <= _take(moved, after)
    from_before = ((before >= 0) & behind_before) | (after == width)
    edge = np.clip(np.where(from_before, before, after), 0, width - 1)
    mirrored = np.clip(2 * edge - column, 0, width - 1)
    nearer = _take(moved, mirrored) > _take(moved, edge) + np.float32(_LARGEST_STRETCH)
    usable = _take(filled, mirrored) & ~nearer
    chosen = np.where(usable, _take(source, mirrored), _take(source, edge))
    # A row of which nothing is left in the view shows the frame as it is.
    chosen = np.where(chosen < 0, column, chosen)
    return np.where(filled, source, chosen).astype(np.float32)


def _neighbours(mask: NDArray[np.bool_]) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """Columns ``(H, W)`` of the nearest true pixel to the left (or -1) and to the right (or W)."""
    height, width = mask.shape
    column = np.broadcast_to(np.arange(width, dtype=np.int32), (height, width))
    before = np.maximum.accumulate(np.where(mask, column, np.int32(-1)), axis=1)
    after = np.where(mask, column, np.int32(width))[:, ::-1]
    return before, np.minimum.accumulate(after, axis=1)[:, ::-1]


def _take(values: NDArray, column: NDArray[np.int32]) -> NDArray:
    """``values[row, column]`` of each row; columns beyond the ends give those at the ends."""
    return np.take_along_axis(values, np.clip(column, 0, values.shape[1] - 1), axis=1)


def _smooth(view: NDArray[np.uint8], hole: NDArray[np.bool_]) -> NDArray[np.uint8]:
    """``view`` with its filled holes blurred a little."""
    if not hole.any():
        return view
    blurred = cv2.blur(view, (_HOLE_BLUR, _HOLE_BLUR), borderType=cv2.BORDER_REPLICATE)
    return np.where(hole[..., None], blurred, view)
