"""Writing frames as an H.264 video."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

import av
import numpy as np
from av.error import FFmpegError
from numpy.typing import NDArray

from kinedepth.errors import KinedepthError
from kinedepth.exporting.atomic import atomic_path, disk_is_full

if TYPE_CHECKING:
    from kinedepth.exporting.audio import SoundTrack

_DEFAULT_CRF = 20
"""Hard to tell from the original at a normal viewing distance."""

_PRESET = "veryfast"
"""The next presets cost several times the time for a few per cent size."""

_TICKS = 90_000
"""Time steps a second in a film whose frames tell their own times."""


class VideoWriter:
    """An MP4 file (H.264, yuv420p) that appears once all frames are written.

    ::

        with VideoWriter("overlay.mp4", video.width, video.height, video.fps) as writer:
            writer.write(frame)

    The pixel format needs even sizes: an odd side grows by one repeated row or column. When the
    block fails, no file is left and one that was there before stays.

    Args:
        path: the file to write; its folder must exist.
        width, height: size in pixels of the frames that will be written.
        fps: frames a second; of a timed film, about how many.
        timed: whether each frame comes with the time at which it is shown.
        crf: x264's constant rate factor: 0 keeps everything, 51 next to nothing.
        sound: what is heard with the frames; None for a silent film.

    Raises:
        KinedepthError: if size or rate make no video, the frames do not match, none was
            written, or the file cannot be written.
    """

    def __init__(
        self,
        path: str | Path,
        width: int,
        height: int,
        fps: float,
        *,
        timed: bool = False,
        crf: int = _DEFAULT_CRF,
        sound: SoundTrack | None = None,
    ) -> None:
        if width < 1 or height < 1:
            raise KinedepthError(f"A video needs a positive size; got {width}x{height}.")
        # Exact for 30000/1001 and its like; x264 wants a fraction, not a float.
        rate = Fraction(fps).limit_denominator(10_000) if math.isfinite(fps) else Fraction(0)
        if rate <= 0:
            raise KinedepthError(f"A video needs a positive, finite frame rate; got {fps}.")
        self.path = Path(path)
        self.width = width
        self.height = height
        self.frames = 0
        self._rate = rate
        self._crf = crf
        self._timed = timed
        self._last_tick = -1
        self._sound = sound
        self._container: Any = None
        self._stream: Any = None
        self._exit = contextlib.ExitStack()

    def __enter__(self) -> VideoWriter:
        with contextlib.ExitStack() as stack:
            temporary = stack.enter_context(atomic_path(self.path))
            # Plays in a browser while it loads.
            options = {"movflags": "faststart"}
            with self._naming_the_file():
                self._container = av.open(f"file:{temporary}", "w", format="mp4", options=options)
            stack.push(self._close)
            self._stream = self._container.add_stream("libx264", rate=self._rate)
            self._stream.width = self.width + self.width % 2
            self._stream.height = self.height + self.height % 2
            self._stream.pix_fmt = "yuv420p"
            if self._timed:
                self._stream.codec_context.time_base = Fraction(1, _TICKS)
            self._stream.options = {"crf": str(self._crf), "preset": _PRESET}
            if self._sound is not None:
                self._sound.add_to(self._container)
            self._exit = stack.pop_all()
        return self

    def write(self, frame: NDArray[np.uint8], time: float | None = None) -> None:
        """Append ``frame (H, W, 3)`` uint8 RGB.

        In a timed film it is shown ``time`` seconds after the start, later than the frame before.
        """
        if frame.shape != (self.height, self.width, 3) or frame.dtype != np.uint8:
            raise KinedepthError(
                f"{self.path} takes frames of shape {(self.height, self.width, 3)} and type "
                f"uint8; got {frame.shape} {frame.dtype}."
            )
        if self.height % 2 or self.width % 2:
            frame = np.pad(frame, ((0, self.height % 2), (0, self.width % 2), (0, 0)), "edge")
        picture = av.VideoFrame.from_ndarray(np.ascontiguousarray(frame), format="rgb24")
        if self._timed and time is not None:
            self._last_tick = max(round(time * _TICKS), self._last_tick + 1)
            picture.pts, picture.time_base = self._last_tick, Fraction(1, _TICKS)
        with self._naming_the_file():
            self._container.mux(self._stream.encode(picture))
            self.frames += 1
            self._mux_sound()

    def __exit__(self, *exception: Any) -> None:
        self._exit.__exit__(*exception)

    def _close(self, kind: type[BaseException] | None, *_: object) -> None:
        """Write out what the encoder still holds, unless the block failed, and let go of it."""
        if kind is not None:
            with contextlib.suppress(FFmpegError):
                self._container.close()
            return
        with self._naming_the_file(), self._container:
            if self.frames == 0:
                raise KinedepthError(f"No frame was given for {self.path}; nothing was written.")
            self._container.mux(self._stream.encode())

    def _mux_sound(self) -> None:
        """Add the sound up to the last frame: what the muxer has to hold back stays small."""
        if self._sound is not None:
            for packet in self._sound.packets_until(float(self.frames / self._rate)):
                self._container.mux(packet)

    @contextlib.contextmanager
    def _naming_the_file(self) -> Iterator[None]:
        """Say which file PyAV could not write; a full disk is told by whoever holds the file."""
        try:
            yield
        except FFmpegError as error:
            if disk_is_full(error):
                raise
            raise KinedepthError(f"{self.path} cannot be written ({error.strerror}).") from error
