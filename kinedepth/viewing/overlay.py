"""The tracks drawn over their video, coloured by how their depth changes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import numpy as np
from numpy.typing import NDArray

from kinedepth.tracks import LiftedTracks
from kinedepth.viewing.colour_scale import ColourBy, colour_scale, colour_values
from kinedepth.viewing.hollowness import hole_shares, widest_hole
from kinedepth.viewing.legend import draw_legend
from kinedepth.viewing.same_clip import check_same_clip
from kinedepth.viewing.sampling import sample

if TYPE_CHECKING:
    from kinedepth.video import Video

TAIL_FRAMES = 10
"""How many past frames the tail behind each point reaches back."""

_BLOCK_FRAMES = 16
_TRACK_FRAMES = 128
"""Frames of tracks in memory at a time."""

_SHIFT = 4
"""Fractional bits of the fixed-point coordinates OpenCV draws with: 1/16 pixel."""

_TAIL_COLOURS = 33
"""Tails are drawn in this many steps of the colour table: one call draws all of one step."""

_TAIL_OPACITY = 0.9
_HIDDEN_OPACITY = 0.5
_SHADE_OPACITY = 0.35
"""Of the dark rim around tails, which separates them from a bright or equally coloured frame."""

_OUTLINE = (16, 16, 18)
"""Around dots, and in the hole of those whose depth is unsure: a hole that let the frame through
could not be told from a light dot on a bright frame, nor from the ring of a hidden point."""

_SMALLEST_HOLE = 0.3
"""Pixels; a smaller hole would only tint the dot."""

_ANGLES = np.linspace(0, 2 * np.pi, 20, endpoint=False)
_CIRCLE = np.stack([np.cos(_ANGLES), np.sin(_ANGLES)], axis=-1)
"""Dots and rings are polygons, because OpenCV's own circles turn square at small radii."""


def write_overlay(
    video: Video,
    tracks: LiftedTracks,
    path: Path,
    progress: Callable[[int, int], None] | None = None,
    *,
    colour_by: ColourBy = "ratio",
    tail_frames: int = TAIL_FRAMES,
) -> None:
    """Write the video with its tracks drawn on it, streaming, to ``path`` (an MP4).

    Each visible point is a dot with a fading tail, each hidden one a thin ring. Where
    ``log_ratio_std`` is known, dots become hollow as they become unsure, see
    :mod:`kinedepth.viewing.hollowness`. The colour scale and its legend are the same over the
    whole film, see :func:`kinedepth.viewing.colour_scale.colour_scale`.

    Args:
        video: the video that was tracked, with as many frames as the tracks.
        tracks: the lifted tracks.
        path: the film to write.
        progress: called with (frames done, frames in all).
        colour_by: ``"ratio"``, depth relative to each track's query frame; or ``"depth"``, for
            tracks that were anchored.
        tail_frames: length of the tails, 0 for none.

    Raises:
        KinedepthError: if video and tracks differ in length or frame size, or depth is asked
            for where tracks have no common scale.
    """
    from kinedepth.exporting.video_writer import VideoWriter

    check_same_clip(video, tracks)
    painter = OverlayPainter(tracks, video.width, video.height, colour_by, tail_frames)
    frames = tracks.frames
    with VideoWriter(path, video.width, video.height, video.fps) as writer:
        for first, block in video.blocks(_BLOCK_FRAMES):
            for index, frame in enumerate(block, start=first):
                writer.write(painter.paint(frame, index))
            if progress is not None:
                progress(first + len(block), frames)


class OverlayPainter:
    """Draws the tracks on one frame after the other.

    The tracks are read a block of frames at a time, so that those of a long video may lie on disk.

    Args:
        tracks: the lifted tracks.
        width, height: of the frames to draw on, in pixels; the tracks' own frame size.
        colour_by: see :func:`write_overlay`.
        tail_frames: see :func:`write_overlay`.
    """

    def __init__(
        self,
        tracks: LiftedTracks,
        width: int,
        height: int,
        colour_by: ColourBy = "ratio",
        tail_frames: int = TAIL_FRAMES,
    ) -> None:
        self.scale = colour_scale(tracks, colour_by)
        self.tail_frames = tail_frames
        self._tracks, self._size, self._colour_by = tracks, (width, height), colour_by
        explain_holes = hole_shares(sample(tracks), colour_by) is not None
        self.legend = draw_legend(self.scale, width, height, explain_holes=explain_holes)

        self.radius = self.dot_radius(width, height, len(tracks))
        self.widest_hole = widest_hole(self.radius)
        self._load(0)

    def _load(self, index: int) -> None:
        """Read the block of frames that begins with ``index``, and those that its tails need."""
        first = max(0, index - self.tail_frames)
        self._loaded = range(index, min(index + _TRACK_FRAMES, self._tracks.frames))
        self._first = first
        tracks3d = self._tracks.cut(range(first, self._loaded.stop))
        width = self._size[0]
        self.visible = tracks3d.tracks.visible
        # Both as small as can be: dense tracks have very many of them.
        values = colour_values(tracks3d, self._colour_by)
        self.colour_index = self.scale.index(values).astype(np.uint16)
        self.depth = tracks3d.depth
        self.holes = hole_shares(tracks3d, self._colour_by)

        self.position = self.fixed_point(tracks3d.tracks.xy, width)

    @staticmethod
    def dot_radius(width: int, height: int, points: int) -> float:
        """Pixels. Dots grow with the image, but not so that neighbours of a dense set merge."""
        spacing = (width * height / max(points, 1)) ** 0.5
        largest = 0.006 * (width * height) ** 0.5
        return max(1.5, min(0.11 * spacing, largest))

    @staticmethod
    def fixed_point(xy: NDArray[np.floating], width: int) -> NDArray[np.int32]:
        """Pixels ``(..., 2)`` as OpenCV draws them."""
        # Our pixel centres are at +0.5, OpenCV's at whole numbers. Trackers may put hidden
        # points anywhere; the bound keeps them within OpenCV's integers.
        centre = np.clip(xy - 0.5, -4 * width, 5 * width)
        return np.rint(centre * (1 << _SHIFT)).astype(np.int32)

    def paint(self, frame: NDArray[np.uint8], index: int) -> NDArray[np.uint8]:
        """A copy of ``frame (H, W, 3)`` uint8 RGB, frame number ``index``, with its tracks."""
        if index not in self._loaded:
            self._load(index)
        row = index - self._first
        canvas = self._with_faint_marks(np.ascontiguousarray(frame), row)
        self._draw_visible_points(canvas, row)
        self.legend.draw_on(canvas)
        return canvas

    def _with_faint_marks(self, frame: NDArray[np.uint8], row: int) -> NDArray[np.uint8]:
        """A copy of the frame with all that it shines through: hidden points and tails."""
        # Opacity and colour live in separate layers: opacity is drawn anti-aliased, colour
        # somewhat wider, so that the rim of a mark fades to the frame and not to black.
        opacity = np.zeros(frame.shape[:2], np.uint8)
        colour = np.zeros_like(frame)
        self._draw_hidden_points(opacity, colour, row)
        if self.tail_frames > 0 and row > 0:
            self._draw_tails(opacity, colour, row)

        shade = cv2.dilate(opacity, np.ones((3, 3), np.uint8))
        keep = 1 - shade.astype(np.float32) * (_SHADE_OPACITY / 255)
        weight = opacity.astype(np.float32) / 255
        shaded = cv2.blendLinear(frame, np.zeros_like(frame), keep, 1 - keep)
        return np.asarray(cv2.blendLinear(colour, shaded, weight, 1 - weight), np.uint8)

    def _draw_hidden_points(
        self, opacity: NDArray[np.uint8], colour: NDArray[np.uint8], row: int
    ) -> None:
        """Thin rings."""
        hidden = np.flatnonzero(~self.visible[row])
        width = max(1, round(self.radius / 4))
        value = round(255 * _HIDDEN_OPACITY)
        rings = self._circles(row, hidden, 0.8 * self.radius)
        colours = self.scale.table[self.colour_index[row, hidden]].tolist()
        cv2.polylines(opacity, rings, True, value, width, cv2.LINE_AA, _SHIFT)
        for ring, rgb in zip(rings, colours, strict=True):
            cv2.polylines(colour, [ring], True, rgb, width + 3, shift=_SHIFT)

    def _draw_tails(self, opacity: NDArray[np.uint8], colour: NDArray[np.uint8], row: int) -> None:
        """The last segments of each track, older ones fainter and thinner."""
        first = max(0, row - self.tail_frames)
        # (A, N) segments from frame a to frame a + 1; tails pause while a point is hidden.
        drawn = self.visible[first:row] & self.visible[first + 1 : row + 1]
        ends = np.stack([self.position[first:row], self.position[first + 1 : row + 1]], axis=2)
        age = row - np.arange(first, row)
        freshness = 1 - (age - 1) / self.tail_frames
        for segment, fresh in enumerate(freshness):
            value = round(255 * _TAIL_OPACITY * fresh)
            width = max(1, round(self.radius * (0.35 + 0.65 * fresh)))
            segments = list(ends[segment][drawn[segment]])
            cv2.polylines(opacity, segments, False, value, width, cv2.LINE_AA, _SHIFT)

        table_step = (len(self.scale.table) - 1) / (_TAIL_COLOURS - 1)
        step = np.rint(self.colour_index[first + 1 : row + 1] / table_step).astype(int)
        step = np.where(drawn, step, -1)
        for value in np.unique(step[drawn]):
            rgb = self.scale.table[round(value * table_step)].tolist()
            segments = list(ends[step == value])
            cv2.polylines(colour, segments, False, rgb, round(self.radius) + 3, shift=_SHIFT)

    def _draw_visible_points(self, canvas: NDArray[np.uint8], row: int) -> None:
        """Dots with a dark rim, unsure ones hollow; near ones last, so that they are on top."""
        shown = np.flatnonzero(self.visible[row])
        depth = np.nan_to_num(self.depth[row, shown], nan=np.inf)
        order = shown[np.argsort(-depth, kind="stable")]
        dots = self._circles(row, order, self.radius)
        rims = self._circles(row, order, self.radius + max(0.7, 0.3 * self.radius))
        hole_radius = np.zeros(len(order), np.float32)
        if self.holes is not None:
            hole_radius = self.holes[row, order] * self.widest_hole
        holes = self._circles(row, order, hole_radius[:, None, None])
        colours = self.scale.table[self.colour_index[row, order]].tolist()
        is_hollow = hole_radius > _SMALLEST_HOLE
        for dot, rim, hole, hollow, rgb in zip(dots, rims, holes, is_hollow, colours, strict=True):
            cv2.fillConvexPoly(canvas, rim, _OUTLINE, cv2.LINE_AA, _SHIFT)
            cv2.fillConvexPoly(canvas, dot, rgb, cv2.LINE_AA, _SHIFT)
            if hollow:
                cv2.fillConvexPoly(canvas, hole, _OUTLINE, cv2.LINE_AA, _SHIFT)

    def _circles(
        self, row: int, tracks: NDArray[np.intp], radius: float | NDArray[np.floating]
    ) -> list[NDArray[np.int32]]:
        """A polygon ``(20, 2)`` in fixed point around each of the points in one frame.

        Radii are one for all, or ``(len(tracks), 1, 1)``.
        """
        outline = np.rint(_CIRCLE * (radius * (1 << _SHIFT))).astype(np.int32)
        return list(self.position[row, tracks, None] + outline)
