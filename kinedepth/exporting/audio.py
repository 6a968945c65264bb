"""The sound of a source file, copied beside new pictures without encoding it again."""

from __future__ import annotations

import contextlib
import io
import warnings
from collections.abc import Iterator
from typing import Any

import av
from av.error import FFmpegError

from kinedepth.exporting.depth_writer import DepthSettings


class SoundTrack:
    """Packets of one audio stream from some time on, times counted from it.

    Sound comes in packets (about 20 ms each), which are kept or left out as a whole; cuts are
    that coarse.

    Args:
        container: an open input; whoever opened it closes it.
        stream: the audio stream in it.
        start: seconds of the container's clock at which the film begins.
    """

    def __init__(self, container: Any, stream: Any, start: float) -> None:
        self.stream = stream
        self._start = start
        if start > 0:
            container.seek(int(start / stream.time_base), stream=stream)
        self._packets = self._wanted(container)
        self._next: tuple[float, Any] | None = next(self._packets, None)
        self._output: Any = None

    def add_to(self, container: Any) -> None:
        """Give the output ``container`` a stream like the source's."""
        self._output = container.add_stream_from_template(self.stream)

    def packets_until(self, seconds: float) -> Iterator[Any]:
        """The packets not given out yet that begin before ``seconds`` of the film."""
        while self._next is not None and self._next[0] < seconds:
            packet = self._next[1]
            packet.stream = self._output
            yield packet
            self._next = next(self._packets, None)

    def _wanted(self, container: Any) -> Iterator[tuple[float, Any]]:
        """Yield (seconds into the film, packet) from the film's beginning on, in order."""
        offset = round(self._start / self.stream.time_base)
        try:
            for packet in container.demux(self.stream):
                if packet.pts is None:  # The empty one at the end, or damage.
                    continue
                packet.pts -= offset
                packet.dts = packet.pts  # Sound is stored in the order it is heard.
                time = float(packet.pts * self.stream.time_base)
                half = float((packet.duration or 0) * self.stream.time_base) / 2
                if time + half >= 0:
                    packet.pts = packet.dts = max(packet.pts, 0)
                    yield time, packet
        except FFmpegError as error:
            warnings.warn(f"The sound ends early: it cannot be read ({error}).", stacklevel=2)


@contextlib.contextmanager
def open_sound(settings: DepthSettings) -> Iterator[SoundTrack | None]:
    """The sound of ``settings.audio_from`` for a film of all frames; None where there is none.

    Where the source has sound that cannot be kept in an MP4 as it is, a warning says so.
    """
    path = settings.audio_from
    if path is None or not path.is_file():
        yield None
        return
    with contextlib.ExitStack() as stack:
        try:
            container = stack.enter_context(av.open(f"file:{path.resolve()}"))
        except (FFmpegError, UnicodeError):
            yield None  # Not a film: images and arrays have no sound.
            return
        streams = container.streams
        if not streams.audio:
            yield None
            return
        stream = streams.audio[0]
        if not _fits_mp4(stream):
            warnings.warn(
                f"The sound of {path.name} ({stream.codec_context.name}) cannot be kept as it is "
                f"in an MP4 file; the film is silent.",
                stacklevel=3,
            )
            yield None
            return
        start = _first_picture(streams) + settings.audio_start
        yield SoundTrack(container, stream, start)


def _first_picture(streams: Any) -> float:
    """Seconds of the file's clock at which its film begins; sound may begin before or after."""
    if not streams.video or streams.video[0].start_time is None:
        return 0.0
    return float(streams.video[0].start_time * streams.video[0].time_base)


def _fits_mp4(stream: Any) -> bool:
    """Whether an MP4 can hold the stream's codec: found out by beginning one in memory."""
    try:
        with av.open(io.BytesIO(), "w", format="mp4") as trial:
            trial.add_stream_from_template(stream)
            trial.start_encoding()
    except (FFmpegError, ValueError):
        return False
    return True
