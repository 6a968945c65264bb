"""What a depth source says along tracks, read frame by frame while the source streams."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from kinedepth.depth import DepthKind
from kinedepth.errors import KinedepthError
from kinedepth.tracks import Tracks

FrameProgress = Callable[[int, int], None]
"""Called with how many frames are done and how many there are."""

_NEIGHBOURHOOD = 2
"""Pixels of the depth frame to each side of a reading that its spread is taken over."""
_LEAST_VALID = 0.5
"""Bilinear weight that has to lie on pixels with depth; less is no reading."""


@dataclass(frozen=True)
class DepthReadings:
    """Depth (or disparity) of a source at the places of tracks.

    Attributes:
        value: ``(T, N)`` float32, what ``kind`` says; NaN where a track is hidden or the source
            has nothing to say (NaN, infinite, and, where depth has to be positive, zero or
            negative values).
        spread: ``(T, N)`` float32 >= 0, half the range of the source's values over 5 x 5 of its
            pixels around the reading: large at an edge, where a reading is a mixture of two
            surfaces. 0 where there is no reading.
        kind: what the values mean, see :data:`kinedepth.depth.DepthKind`.
        per_frame: each frame stands alone, so that unknown shifts may differ between frames.
    """

    value: NDArray[np.float32]
    spread: NDArray[np.float32]
    kind: DepthKind
    per_frame: bool = False


def read_depth(
    frames: Iterable[NDArray[np.floating]],
    tracks: Tracks,
    size: tuple[int, int],
    kind: DepthKind,
    source: str = "The depth",
    progress: FrameProgress | None = None,
) -> DepthReadings:
    """Read a depth source along tracks, bilinearly, where they are visible.

    Args:
        frames: ``(h, w)`` depth of each of the T frames, in order; one is held at a time. Sizes
            other than the video's are taken to show the same picture: coordinates are scaled.
        tracks: in pixels of the video (centres at +0.5).
        size: width and height of the video.
        kind: what the values mean; where it says depth, values have to be positive to count.
        source: how messages call the source.
        progress: told how many frames are read.

    Pixels without a value do not take part; a place with most of its bilinear weight on such
    pixels has no reading.

    Raises:
        KinedepthError: if there are fewer or more frames than the tracks have, or a frame is
            not two-dimensional.
    """
    value = np.full(tracks.visible.shape, np.nan, np.float32)
    spread = np.zeros(tracks.visible.shape, np.float32)
    positive = kind in ("metric", "scale_invariant")
    done = 0
    for frame, depth in enumerate(frames):
        if frame >= tracks.frames:
            raise KinedepthError(
                f"{source} has more than the {tracks.frames} frames of the clip; give depth of "
                f"the same frames."
            )
        points = np.flatnonzero(tracks.visible[frame])
        found = _read_frame(depth, tracks.xy[frame, points], size, positive, source)
        value[frame, points], spread[frame, points] = found
        done = frame + 1
        if progress:
            progress(done, tracks.frames)
    if done < tracks.frames:
        raise KinedepthError(
            f"{source} has {done} frames, but the clip has {tracks.frames}; give depth of the "
            f"same frames."
        )
    return DepthReadings(value, spread, kind)


def _read_frame(
    depth: NDArray[np.floating],
    xy: NDArray[np.float32],
    size: tuple[int, int],
    positive: bool,
    source: str,
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Values and spreads ``(n,)`` of one frame at pixels ``xy (n, 2)`` of the video."""
    if depth.ndim != 2 or 0 in depth.shape:
        raise KinedepthError(f"{source} has a frame of shape {depth.shape}; (H, W) is needed.")
    height, width = depth.shape
    # Pixel centres lie at +0.5, so sizes scale coordinates and half a pixel gives the index.
    x = np.clip(xy[:, 0].astype(np.float64) * (width / size[0]) - 0.5, 0, width - 1)
    y = np.clip(xy[:, 1].astype(np.float64) * (height / size[1]) - 0.5, 0, height - 1)
    left, top = np.floor(x).astype(np.int64), np.floor(y).astype(np.int64)
    across, down = x - left, y - top
    total, weight = np.zeros(len(xy)), np.zeros(len(xy))
    for step_x, part_x in ((0, 1 - across), (1, across)):
        for step_y, part_y in ((0, 1 - down), (1, down)):
            at = depth[np.minimum(top + step_y, height - 1), np.minimum(left + step_x, width - 1)]
            counts = _has_value(at, positive) * part_x * part_y
            total += counts * np.where(counts > 0, at, 0.0)
            weight += counts
    known = weight >= _LEAST_VALID
    value = np.where(known, total / np.maximum(weight, _LEAST_VALID), np.nan)
    spread = _spread(depth, np.rint(x).astype(np.int64), np.rint(y).astype(np.int64), positive)
    return value.astype(np.float32), np.where(known, spread, 0.0).astype(np.float32)


def _spread(
    depth: NDArray[np.floating], column: NDArray[np.int64], row: NDArray[np.int64], positive: bool
) -> NDArray[np.float64]:
    """Half the range of the values around each pixel."""
    offsets = np.arange(-_NEIGHBOURHOOD, _NEIGHBOURHOOD + 1)
    rows = np.clip(row[:, None] + offsets, 0, depth.shape[0] - 1)
    columns = np.clip(column[:, None] + offsets, 0, depth.shape[1] - 1)
    patch = (
        depth[rows[:, :, None], columns[:, None, :]]
        .reshape(len(row), len(offsets) ** 2)
        .astype(np.float64)
    )
    counts = _has_value(patch, positive)
    highest = np.where(counts, patch, -np.inf).max(axis=1, initial=-np.inf)
    lowest = np.where(counts, patch, np.inf).min(axis=1, initial=np.inf)
    return np.where(counts.any(axis=1), (highest - lowest) / 2, 0.0)


def _has_value(depth: NDArray[np.floating], positive: bool) -> NDArray[np.bool_]:
    finite = np.isfinite(depth)
    return finite & (depth > 0) if positive else finite
