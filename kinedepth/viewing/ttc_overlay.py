"""Time to contact drawn on the frames: what arrives soon is warm and large, the rest stays grey."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import numpy as np
from numpy.typing import NDArray

from kinedepth.errors import KinedepthError
from kinedepth.time_to_contact import TimeToContact
from kinedepth.tracks import Tracks
from kinedepth.viewing.colour_scale import ColourScale
from kinedepth.viewing.legend import Patch, draw_legend, rounded_rectangle, stamp, text_mask

if TYPE_CHECKING:
    from kinedepth.video import Video

SOONEST, LATEST = 1.0, 9.0
"""Seconds in the first and the last colour; beyond them colours saturate."""

LABELLED = 15.0
"""Seconds; contact later than this is not worth a label."""

_STOPS = ((0.0, (226, 38, 46)), (0.3, (247, 126, 22)), (0.58, (252, 208, 58)))
_FAR_STOPS = ((0.8, (150, 214, 160)), (1.0, (112, 178, 206)))
_TABLE_LENGTH = 257
_GREY, _RIM, _ALARM = (178, 182, 190), (16, 16, 18), (196, 24, 34)
_GREY_OPACITY = 0.5
_SHIFT = 4
"""Fractional bits of OpenCV's fixed-point coordinates: 1/16 pixel."""

_ANGLES = np.linspace(0, 2 * np.pi, 24, endpoint=False)
_CIRCLE = np.stack([np.cos(_ANGLES), np.sin(_ANGLES)], axis=-1)


@dataclass(frozen=True)
class ContactScale(ColourScale):
    """Maps the log of seconds until contact to a colour, red for soon."""

    def ticks(self) -> list[tuple[float, str, str]]:
        """``(position in 0..1, word, figure)`` of the legend's two ends and its middle."""
        middle = (SOONEST * LATEST) ** 0.5
        return [
            (0.0, "contact in", f"{SOONEST:g} s"),
            (0.5, "", f"{middle:g} s"),
            (1.0, "", f"{LATEST:g} s or later"),
        ]


def contact_scale() -> ContactScale:
    """The scale of all films: red at one second over yellow to pale blue at nine."""
    stops = (*_STOPS, *_FAR_STOPS)
    places = np.array([place for place, _ in stops])
    channels = np.array([colour for _, colour in stops], np.float64).T
    at = np.linspace(0, 1, _TABLE_LENGTH)
    table = np.stack([np.interp(at, places, channel) for channel in channels], axis=-1)
    return ContactScale(
        "depth", float(np.log(SOONEST)), float(np.log(LATEST)), np.rint(table).astype(np.uint8)
    )


def write_contact_overlay(
    video: Video,
    tracks: Tracks,
    contact: TimeToContact,
    path: Path,
    warned: NDArray[np.bool_] | None = None,
    fps: float | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> None:
    """Write the video with time to contact drawn on it, streaming, to ``path`` (an MP4).

    Args:
        video: that was tracked.
        tracks: its 2D tracks.
        contact: of these tracks.
        path: the film to write.
        warned: ``(T, N)`` points to warn of; a banner shows while there are any.
        fps: of the film; the video's own if not given.
        progress: called with frames done and frames in all.

    Raises:
        KinedepthError: if video, tracks and times differ in length, or the film cannot be written.
    """
    from kinedepth.exporting.video_writer import VideoWriter

    painter = ContactPainter(tracks, contact, video.width, video.height, warned)
    if len(video) != tracks.frames:
        raise KinedepthError(f"The video has {len(video)} frames, the tracks {tracks.frames}.")
    with VideoWriter(path, video.width, video.height, fps or video.fps) as writer:
        for first, block in video.blocks():
            for index, frame in enumerate(block, start=first):
                writer.write(painter.paint(frame, index))
            if progress is not None:
                progress(first + len(block), tracks.frames)


class ContactPainter:
    """Draws time to contact on one frame after the other.

    Args: as of :func:`write_contact_overlay`; ``width`` and ``height`` are those of the frames.
    """

    def __init__(
        self,
        tracks: Tracks,
        contact: TimeToContact,
        width: int,
        height: int,
        warned: NDArray[np.bool_] | None = None,
    ) -> None:
        if contact.closing_rate.shape != tracks.visible.shape:
            raise KinedepthError(
                f"Time to contact is of {contact.closing_rate.shape} frames and points, but the "
                f"tracks are of {tracks.visible.shape}."
            )
        self.scale = contact_scale()
        self.visible = tracks.visible
        self.seconds = contact.seconds
        self.soonest, self.latest = contact.soonest, contact.latest
        self.warned = np.zeros_like(tracks.visible) if warned is None else warned
        # Our pixel centres are at +0.5, OpenCV's at whole numbers; hidden points may be anywhere.
        self.position = np.clip(tracks.xy - 0.5, -4 * width, 5 * width)
        self.legend = draw_legend(self.scale, width, height)
        spacing = (width * height / max(len(tracks), 1)) ** 0.5
        self.radius = max(1.8, min(0.13 * spacing, 0.007 * (width * height) ** 0.5))
        self.capital = max(8, round(0.022 * (width * height) ** 0.5))

    def paint(self, frame: NDArray[np.uint8], index: int) -> NDArray[np.uint8]:
        """A copy of ``frame (H, W, 3)`` uint8 RGB, frame number ``index``, with what is known."""
        canvas = self._with_quiet_points(np.ascontiguousarray(frame), index)
        arriving = np.flatnonzero(self.visible[index] & np.isfinite(self.seconds[index]))
        # The most urgent last, so that it ends up on top.
        arriving = arriving[np.argsort(-self.seconds[index, arriving], kind="stable")]
        self._draw_arriving_points(canvas, index, arriving)
        self.legend.draw_on(canvas)
        if len(arriving):
            self._label_most_urgent(canvas, index, arriving)
        if self.warned[index].any():
            self._draw_banner(canvas, index)
        return canvas

    def _with_quiet_points(self, frame: NDArray[np.uint8], index: int) -> NDArray[np.uint8]:
        """A copy of the frame with faint dots where no contact is claimed."""
        quiet = np.flatnonzero(self.visible[index] & ~np.isfinite(self.seconds[index]))
        layer = frame.copy()
        for dot in self._circles(index, quiet, np.full(len(quiet), 0.6 * self.radius)):
            cv2.fillConvexPoly(layer, dot, _GREY, cv2.LINE_AA, _SHIFT)
        blended = cv2.addWeighted(layer, _GREY_OPACITY, frame, 1 - _GREY_OPACITY, 0)
        return np.asarray(blended, np.uint8)

    def _draw_arriving_points(
        self, canvas: NDArray[np.uint8], index: int, points: NDArray[np.intp]
    ) -> None:
        """Dots with a dark rim, larger the sooner; those warned of with a light rim."""
        log_seconds = np.log(self.seconds[index, points])
        urgency = np.clip(
            (self.scale.high - log_seconds) / (self.scale.high - self.scale.low), 0, 1
        )
        radius = self.radius * (0.8 + 0.7 * urgency)
        rim = radius + max(0.8, 0.3 * self.radius)
        colours = self.scale.colours(log_seconds).tolist()
        dots, rims = self._circles(index, points, radius), self._circles(index, points, rim)
        for point, dot, around, rgb in zip(points, dots, rims, colours, strict=True):
            edge = (255, 255, 255) if self.warned[index, point] else _RIM
            cv2.fillConvexPoly(canvas, around, edge, cv2.LINE_AA, _SHIFT)
            cv2.fillConvexPoly(canvas, dot, rgb, cv2.LINE_AA, _SHIFT)

    def _label_most_urgent(
        self, canvas: NDArray[np.uint8], index: int, points: NDArray[np.intp]
    ) -> None:
        """Seconds and their interval beside the point whose contact is surely the soonest."""
        point = points[np.argmin(self.latest[index, points])]
        if self.seconds[index, point] > LABELLED:
            return
        low, high = self.soonest[index, point], self.latest[index, point]
        text = f"{self.seconds[index, point]:.1f} s"
        interval = f"{low:.1f} to {high:.1f}"
        x, y = self.position[index, point]
        label = _panel([(text, self.capital), (interval, round(0.72 * self.capital))], (14, 14, 14))
        height, width = label.opacity.shape
        gap = round(2.2 * self.radius)
        left = round(x) + gap if x + gap + width < canvas.shape[1] else round(x) - gap - width
        top = min(round(y) - height // 2, canvas.shape[0] - height)
        legend = self.legend
        beside = left >= legend.left + legend.opacity.shape[1] + self.capital // 2
        if not beside and top + height > legend.top:
            top = legend.top - height - self.capital // 2
        _placed(label, left, top, canvas)
        ring = self._circles(index, np.array([point]), np.array([1.9 * self.radius]))
        cv2.polylines(
            canvas, ring, True, (255, 255, 255), max(1, round(self.radius / 3)), 16, _SHIFT
        )

    def _draw_banner(self, canvas: NDArray[np.uint8], index: int) -> None:
        """A red panel at the top that says when, taken over all points warned of."""
        seconds = float(np.median(self.seconds[index, self.warned[index]]))
        banner = _panel([(f"CONTACT IN {seconds:.1f} s", round(1.35 * self.capital))], _ALARM, 0.92)
        left = (canvas.shape[1] - banner.opacity.shape[1]) // 2
        _placed(banner, left, round(0.8 * self.capital), canvas)
        border = max(2, round(0.006 * canvas.shape[0]))
        cv2.rectangle(
            canvas, (0, 0), (canvas.shape[1] - 1, canvas.shape[0] - 1), _ALARM, 2 * border
        )

    def _circles(
        self, index: int, tracks: NDArray[np.intp], radius: NDArray[np.floating]
    ) -> list[NDArray[np.int32]]:
        """A polygon in fixed point around each of the points in one frame."""
        outline = self.position[index, tracks, None] + _CIRCLE * radius[:, None, None]
        return list(np.rint(outline * (1 << _SHIFT)).astype(np.int32))


def _panel(
    lines: list[tuple[str, int]], colour: tuple[int, int, int], opacity: float = 0.78
) -> Patch:
    """Lines of white text, each with its height of capitals, on a panel with round corners."""
    masks = [text_mask(text, capital) for text, capital in lines]
    capital = lines[0][1]
    padding = round(0.55 * capital)
    width = max(mask.shape[1] for mask in masks) + 2 * padding
    # A mask is twice as high as its capitals, which leaves room between the lines.
    height = sum(round(0.82 * mask.shape[0]) for mask in masks) + padding
    rgb = np.full((height, width, 3), colour, np.uint8)
    cover = (opacity * rounded_rectangle(width, height, 0.5 * capital)).astype(np.float32)
    top = padding // 2 - round(0.09 * masks[0].shape[0])
    for mask in masks:
        stamp(rgb, cover, mask, (width - mask.shape[1]) // 2, top)
        top += round(0.82 * mask.shape[0])
    return Patch(rgb, cover, 0, 0)


def _placed(patch: Patch, left: int, top: int, canvas: NDArray[np.uint8]) -> None:
    """Draw a patch at a place, moved inside the frame and cut if it is larger than that."""
    height, width = (
        min(size, room) for size, room in zip(patch.opacity.shape, canvas.shape[:2], strict=True)
    )
    left = min(max(left, 0), canvas.shape[1] - width)
    top = min(max(top, 0), canvas.shape[0] - height)
    rgb = np.ascontiguousarray(patch.rgb[:height, :width])
    Patch(rgb, np.ascontiguousarray(patch.opacity[:height, :width]), left, top).draw_on(canvas)
