"""Frames of a video file, decoded with PyAV as a stream.

A container's own frame count cannot be trusted: edit lists hide frames, damaged files lose
some, and several codecs store packets that show nothing. So the file is decoded once when it
is opened, without converting or keeping any picture, to learn which frames really come out
and when they are shown. That costs about a millisecond a frame at 720p and makes every later
statement about the video exact.
"""

from __future__ import annotations

import codecs
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
from av.error import FFmpegError
from numpy.typing import NDArray

from kinedepth._frame_source import ASSUMED_FPS, MOST_PIXELS, Frames, check_frame_size
from kinedepth.camera import Intrinsics
from kinedepth.errors import KinedepthError

_TEXT_FORMATS = {"tty"}
"""Container formats in which FFmpeg draws a text file as pictures: not a video to us."""

_PLAYLISTS = (b"#EXTM3U", b"ffconcat", b"<MPD", b"v=0")
"""How files begin that hold no pictures but name other files or network addresses. FFmpeg would
follow them, and wait without end for the next part of a live one."""

_SQUARE_PIXEL_TOLERANCE = 0.02
"""Pixel aspect ratios this close to 1 are rounding of the encoder, not an anamorphic picture."""

_MOST_STRETCH = 10.0
"""No camera or disc has pixels longer than this; a header that says so is damaged."""


@dataclass(frozen=True)
class Orientation:
    """How the stored picture is turned to be shown: one of the eight ways to lay down a rectangle.

    The picture is transposed first (``x`` and ``y`` change places), then flipped.
    """

    transpose: bool = False
    flip_x: bool = False
    flip_y: bool = False

    @classmethod
    def of(cls, frame: av.VideoFrame) -> Orientation:
        """The orientation that the frame's display matrix asks for."""
        side_data: Any = frame.side_data.get("DISPLAYMATRIX")
        if side_data is None:
            return cls()
        # Rows (a, b, u), (c, d, v): a stored pixel (x, y) is shown at (a x + c y, b x + d y).
        matrix = np.frombuffer(bytes(side_data), dtype=np.int32)[:9].astype(np.int64)
        a, b, c, d = (int(matrix[index]) for index in (0, 1, 3, 4))
        if abs(a) >= abs(b):
            return cls(False, a < 0, d < 0)
        return cls(True, c < 0, b < 0)

    def apply(self, image: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """``image (H, W, 3)`` as shown: a view, ``(W, H, 3)`` when transposed."""
        if self.transpose:
            image = image.swapaxes(0, 1)
        return image[:: -1 if self.flip_y else 1, :: -1 if self.flip_x else 1]


class StreamSource:
    """The first video stream of a file.

    Frames are numbered in presentation order. A frame whose size differs from the first one is
    resized to it, as a player does; anamorphic pixels are made square by widening the frame.

    Args:
        path: the file.
        limit: number of leading frames of interest; the file is not looked at beyond them.

    Raises:
        KinedepthError: if nothing in the file can be decoded as a moving picture.
    """

    intrinsics: Intrinsics | None = None

    def __init__(self, path: Path, limit: int | None = None) -> None:
        self.name = path.stem
        self.label = str(path)
        self._path = path
        with self._open() as container:
            stream = self._video_stream(container)
            self._survey(container, stream, limit)

    def read(self, indices: range) -> Frames:
        """Yield the frames ``(H, W, 3)`` uint8 RGB at ``indices``, ascending."""
        for index, frame in self._frames_from(indices[0]):
            if index in indices:
                yield self._as_shown(frame)
            if index >= indices[-1]:
                return
        raise KinedepthError(
            f"{self._path} gave fewer frames than when it was opened; it changed while being read, "
            f"so run again once it is complete."
        )

    def _open(self) -> Any:
        self._refuse_playlist()
        try:
            # "file:" keeps FFmpeg from taking "a:b.mp4" for a network address.
            container = av.open(f"file:{self._path.resolve()}")
        except (FFmpegError, UnicodeError) as error:
            reason = getattr(error, "strerror", None) or str(error)
            raise KinedepthError(
                f"{self._path} is not a video that can be decoded ({reason}); check that it is "
                f"complete and plays elsewhere, or convert it to MP4."
            ) from error
        if container.format.name in _TEXT_FORMATS:
            container.close()
            raise KinedepthError(f"{self._path} is a text file, not a video that can be decoded.")
        return container

    def _refuse_playlist(self) -> None:
        try:
            with self._path.open("rb") as file:
                beginning = file.read(64)
        except OSError as error:
            raise KinedepthError(f"{self._path} cannot be read ({error.strerror}).") from error
        if beginning.removeprefix(codecs.BOM_UTF8).lstrip().startswith(_PLAYLISTS):
            raise KinedepthError(
                f"{self._path} is a playlist, which names other files, not a video; give one of "
                f"the files that it names."
            )

    def _video_stream(self, container: Any) -> Any:
        for stream in container.streams.video:
            if not stream.disposition & av.stream.Disposition.attached_pic:
                context = stream.codec_context
                if context is not None:  # None where the codec is unknown: no frame will come.
                    check_frame_size(str(self._path), context.width, context.height)
                    # Later headers may say another size: those frames then do not decode.
                    context.options = {"max_pixels": str(MOST_PIXELS)}
                    stream.thread_type = "AUTO"
                return stream
        raise KinedepthError(
            f"{self._path} holds no moving picture (only sound or data); give a file with video."
        )

    def _survey(self, container: Any, stream: Any, limit: int | None) -> None:
        """Decode once to learn the frames' number, times, size, orientation and keyframes."""
        pts: list[int | None] = []
        keys: list[int] = []
        packets = damaged = 0
        first: av.VideoFrame | None = None
        finished = True
        for frames, intact in _decode_packets(container, stream):
            packets += 1
            damaged += not intact
            for frame in frames:
                first = first or frame
                if frame.key_frame:
                    keys.append(len(pts))
                pts.append(frame.pts)
            if limit is not None and len(pts) >= limit:
                finished = False
                break
        if first is None:
            raise KinedepthError(
                f"{self._path} holds no frame that can be decoded; it is empty or damaged, so "
                f"copy or export it again."
            )
        expected = max(stream.frames, len(pts) + damaged) if finished else len(pts) + damaged
        if damaged or (finished and packets < stream.frames):
            warnings.warn(
                f"{self._path}: only {len(pts)} of {expected} frames decode; the file is damaged "
                f"or cut short.",
                stacklevel=2,
            )
        self._read_geometry(first, stream)
        self._read_times(pts[:limit], stream)
        if damaged or not self._pts_ascend:
            keys = []  # What follows a jump might then not match: always decode from the start.
        self._keys = np.array(keys, dtype=np.int64)

    def _read_geometry(self, first: av.VideoFrame, stream: Any) -> None:
        self._orientation = Orientation.of(first)
        pixel_aspect = float(stream.sample_aspect_ratio or 1)
        width, height = first.width, first.height
        believable = 1 / _MOST_STRETCH < pixel_aspect < _MOST_STRETCH
        if believable and abs(pixel_aspect - 1) > _SQUARE_PIXEL_TOLERANCE:
            width = max(1, round(width * pixel_aspect))
        check_frame_size(str(self._path), width, height)
        self._stored_size = width, height
        turned = self._orientation.transpose
        self.width, self.height = (height, width) if turned else (width, height)

    def _read_times(self, pts: list[int | None], stream: Any) -> None:
        known = [stamp for stamp in pts if stamp is not None]
        stamps = np.array(known, dtype=np.int64)
        self._pts_ascend = len(known) == len(pts) and bool((np.diff(stamps) > 0).all())
        if self._pts_ascend:
            self._pts = stamps
            self.times = (stamps - stamps[0]) * float(stream.time_base)
        else:  # Raw streams carry no usable times; a constant rate is the best guess.
            rate: Fraction | float | None = stream.average_rate or stream.guessed_rate
            self.times = np.arange(len(pts)) / float(rate or ASSUMED_FPS)

    def _frames_from(self, first: int) -> Iterator[tuple[int, av.VideoFrame]]:
        """Yield (index, frame) from some frame at or before ``first`` on."""
        # The keyframe before the last one: with gradual intra refresh, pictures are whole again
        # only one refresh period after the frame marked as key.
        earlier = self._keys[self._keys <= first]
        entry = int(earlier[-2]) if len(earlier) >= 2 else 0
        with self._open() as container:
            stream = self._video_stream(container)
            if entry > 0:
                frames = self._frames_after_seek(container, stream, entry)
                opening = next(frames, None)
                if opening is not None and opening.pts == self._pts[entry]:
                    yield entry, opening
                    yield from enumerate(frames, start=entry + 1)
                    return
        with self._open() as container:
            yield from enumerate(_frames(container, self._video_stream(container)))

    def _frames_after_seek(
        self, container: Any, stream: Any, entry: int
    ) -> Iterator[av.VideoFrame]:
        target = int(self._pts[entry])
        try:
            container.seek(target, stream=stream)
        except FFmpegError:
            return
        for frame in _frames(container, stream):
            # Frames shown before the keyframe may lean on pictures that the jump left out.
            if frame.pts is not None and frame.pts >= target:
                yield frame

    def _as_shown(self, frame: av.VideoFrame) -> NDArray[np.uint8]:
        width, height = self._stored_size
        image = frame.to_ndarray(format="rgb24", width=width, height=height)
        return self._orientation.apply(np.asarray(image, dtype=np.uint8))


def _decode_packets(container: Any, stream: Any) -> Iterator[tuple[list[av.VideoFrame], bool]]:
    """Yield (frames that came out, whether the packet was intact) for each packet of the file.

    Decoders hold frames back, so a packet's frames are rarely its own. The last item is what
    the decoder still held.
    """
    packets = container.demux(stream)
    while True:
        try:
            packet = next(packets)
        except StopIteration:
            return
        except FFmpegError:
            yield [], False
            yield _flush(stream), True
            return
        if packet.is_corrupt:
            yield [], False  # Half a packet decodes to half a picture: leave it out.
            continue
        try:
            yield packet.decode(), True
        except FFmpegError:
            yield [], False


def _flush(stream: Any) -> list[av.VideoFrame]:
    try:
        return list(stream.codec_context.decode(None))
    except FFmpegError:
        return []


def _frames(container: Any, stream: Any) -> Iterator[av.VideoFrame]:
    for frames, _ in _decode_packets(container, stream):
        yield from frames
