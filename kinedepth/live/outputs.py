"""Where live frames go: a film, a pipe, a table of tracks."""

from __future__ import annotations

import contextlib
import csv
import math
import os
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol, Self

import av
import cv2
import numpy as np
from av.error import FFmpegError
from numpy.typing import NDArray

from kinedepth.errors import KinedepthError
from kinedepth.exporting.atomic import atomic_path
from kinedepth.exporting.video_writer import VideoWriter
from kinedepth.live.capture import Captured
from kinedepth.live.lifter import LiveState
from kinedepth.viewing.live_overlay import LiveOverlayPainter, LivePoints

COLUMNS = ("track", "frame", "time", "x", "y", "visible", "log_ratio", "log_ratio_std")
"""Of a table of tracks; ``--tracker file:PATH`` reads it as well."""

STANDARD_OUTPUT = 1
"""File descriptor."""

_TICKS = 90_000
"""Time steps a second of MPEG-TS."""

_KEYFRAME_EVERY = 25
"""Frames; who begins to watch a stream sees nothing before the next one."""


class OutputClosedError(Exception):
    """Whoever read the output does not want any more; no error."""


class Output(Protocol):
    """Takes frames with their points, one after the other; a context manager."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> bool | None: ...

    def write(self, frame: Captured, state: LiveState) -> None:
        """Show a frame.

        Raises:
            OutputClosedError: nobody is there to see it.
        """
        ...


class _Overlay:
    """Frames of one size with the points drawn on them, whatever size the source has now."""

    def __init__(self, points: int) -> None:
        self._points = points
        self._painter: LiveOverlayPainter | None = None
        self._source = (0, 0)
        self.size = (0, 0)

    def paint(self, image: NDArray[np.uint8], state: LiveState) -> NDArray[np.uint8]:
        height, width = image.shape[:2]
        if self._painter is None or self._source != (width, height):
            self._painter = LiveOverlayPainter(width, height, self._points)
            self._source = width, height
            if self.size == (0, 0):
                self.size = width, height
        points = LivePoints(
            state.number, state.xy, state.visible, state.log_ratio, state.log_ratio_std
        )
        painted = self._painter.paint_points(image, points)
        return painted if self._source == self.size else _fitted(painted, self.size)


def _fitted(image: NDArray[np.uint8], size: tuple[int, int]) -> NDArray[np.uint8]:
    """``image`` as large as it fits into ``size`` (width, height), black around it."""
    width, height = size
    factor = min(width / image.shape[1], height / image.shape[0])
    inner = max(1, round(image.shape[1] * factor)), max(1, round(image.shape[0] * factor))
    left, top = (width - inner[0]) // 2, (height - inner[1]) // 2
    canvas = np.zeros((height, width, 3), np.uint8)
    small = cv2.resize(image, inner, interpolation=cv2.INTER_AREA)
    canvas[top : top + inner[1], left : left + inner[0]] = small
    return canvas


class FilmOutput(contextlib.ExitStack):
    """The overlay as an MP4 that appears when the run ends, each frame at its own time.

    Where no frame came, no film is made.
    """

    def __init__(self, path: str | Path, points: int) -> None:
        super().__init__()
        self._path = Path(path)
        self._overlay = _Overlay(points)
        self._writer: VideoWriter | None = None

    def write(self, frame: Captured, state: LiveState) -> None:
        """Append a frame."""
        image = self._overlay.paint(frame.image, state)
        if self._writer is None:
            writer = VideoWriter(self._path, *self._overlay.size, fps=25, timed=True)
            self._writer = self.enter_context(writer)
        self._writer.write(image, frame.time)


class StreamOutput:
    """The overlay as H.264 in MPEG-TS, for a player or a server to read as it comes."""

    def __init__(self, points: int, descriptor: int = STANDARD_OUTPUT) -> None:
        self._address = f"pipe:{descriptor}"
        self._overlay = _Overlay(points)
        self._container: Any = None
        self._stream: Any = None
        self._last_tick = -1

    def __enter__(self) -> StreamOutput:
        return self

    def write(self, frame: Captured, state: LiveState) -> None:
        """Send a frame."""
        image = self._overlay.paint(frame.image, state)
        height, width = image.shape[:2]
        with _closing_quietly():
            if self._container is None:
                self._open(width + width % 2, height + height % 2)
            if width % 2 or height % 2:  # The pixel format needs even sizes.
                image = np.pad(image, ((0, height % 2), (0, width % 2), (0, 0)), "edge")
            picture = av.VideoFrame.from_ndarray(image, format="rgb24")
            self._last_tick = max(round(frame.time * _TICKS), self._last_tick + 1)
            picture.pts, picture.time_base = self._last_tick, Fraction(1, _TICKS)
            self._container.mux(self._stream.encode(picture))

    def _open(self, width: int, height: int) -> None:
        options = {"flush_packets": "1"}
        self._container = av.open(self._address, "w", format="mpegts", options=options)
        self._stream = self._container.add_stream("libx264", rate=25)
        self._stream.width, self._stream.height = width, height
        self._stream.pix_fmt = "yuv420p"
        self._stream.codec_context.time_base = Fraction(1, _TICKS)
        self._stream.options = {
            "preset": "ultrafast",
            "tune": "zerolatency",
            "crf": "20",
            "g": str(_KEYFRAME_EVERY),
        }

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if self._container is None:
            return
        with contextlib.suppress(FFmpegError, OSError):
            if kind is None:
                self._container.mux(self._stream.encode())
            self._container.close()


class RawOutput:
    """The overlay as bare bytes, ``(H, W, 3)`` uint8 RGB frames one after the other."""

    def __init__(self, points: int, descriptor: int = STANDARD_OUTPUT) -> None:
        self._descriptor = descriptor
        self._overlay = _Overlay(points)

    def __enter__(self) -> RawOutput:
        return self

    def write(self, frame: Captured, state: LiveState) -> None:
        """Send a frame."""
        rest = np.ascontiguousarray(self._overlay.paint(frame.image, state)).data.cast("B")
        with _closing_quietly():
            while rest:
                rest = rest[os.write(self._descriptor, rest) :]

    def __exit__(self, *_: object) -> None:
        """Standard output stays open."""


@contextlib.contextmanager
def _closing_quietly() -> Iterator[None]:
    """A reader that goes away ends the run; that is how one stops watching."""
    try:
        yield
    except BrokenPipeError as error:
        raise OutputClosedError from error
    except FFmpegError as error:
        raise KinedepthError(f"Standard output cannot be written ({error.strerror}).") from error


class TableOutput(contextlib.ExitStack):
    """The points as a csv with the header :data:`COLUMNS`; it appears when the run ends.

    ``frame`` counts the source's frames, dropped ones too. Cells of what is not known are empty.
    """

    def __init__(self, path: str | Path) -> None:
        super().__init__()
        self._path = Path(path)
        self._rows: Any = None

    def __enter__(self) -> TableOutput:
        with contextlib.ExitStack() as stack:
            temporary = stack.enter_context(atomic_path(self._path))
            file = stack.enter_context(open(temporary, "w", encoding="utf-8", newline=""))
            self._rows = csv.writer(file, lineterminator="\n")
            self._rows.writerow(COLUMNS)
            self.push(stack.pop_all())
        return self

    def write(self, frame: Captured, state: LiveState) -> None:
        """Append a row for each point."""
        for number, (x, y), seen, value, std in zip(
            state.number,
            state.xy,
            state.visible,
            state.log_ratio,
            state.log_ratio_std,
            strict=True,
        ):
            place = f"{x:.2f}", f"{y:.2f}", int(seen)
            self._rows.writerow(
                [number, frame.index, f"{frame.time:.6g}", *place, _cell(value), _cell(std)]
            )


def _cell(value: float) -> str:
    return "" if math.isnan(value) else f"{value:.6g}"
