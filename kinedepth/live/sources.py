"""What live frames come from: a camera, a pipe, a network address, or a file played at its pace."""

from __future__ import annotations

import time as wall
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

import av
import cv2
import numpy as np
from av.error import FFmpegError
from av.format import ContainerFormat, Flags

from kinedepth._frame_source import ASSUMED_FPS, MOST_PIXELS, check_frame_size
from kinedepth._stream_source import Orientation
from kinedepth.errors import KinedepthError
from kinedepth.live.capture import Captured, Clock, Source
from kinedepth.video import load_video

PIPE = "pipe:"
"""Stands for standard input among sources, and for standard output among outputs."""

_NETWORK_PROTOCOLS = (
    "rtsp,rtsps,rtp,srtp,udp,tcp,tls,http,https,httpproxy,rtmp,rtmps,srt,crypto,data"
)
"""What a network stream may lead to; files of this machine are not among it."""

_OPENING_SECONDS = 10.0
"""Given to a network address to answer."""

_BRIEF_LOOK = {"analyzeduration": "1000000", "fpsprobesize": "0"}
"""What FFmpeg may read of a stream before it gives out the first frame: a second..."""

_BRIEFER_LOOK = {"probesize": "500000"}
"""... and through a pipe, whose format may tell no time, so many bytes."""


@dataclass(frozen=True)
class RawFormat:
    """How frames without a header lie in a pipe.

    Attributes:
        width, height: in pixels.
        rate: frames a second, which gives them times.
        pixels: FFmpeg's name of the pixel format.
    """

    width: int
    height: int
    rate: float = ASSUMED_FPS
    pixels: str = "rgb24"

    def __post_init__(self) -> None:
        if self.width < 1 or self.height < 1:
            raise KinedepthError(f"Raw frames need a size; got {self.width}x{self.height}.")
        check_frame_size("The pipe", self.width, self.height)
        if not 0 < self.rate < float("inf"):
            raise KinedepthError(f"A frame rate is positive and finite; got {self.rate}.")

    @property
    def options(self) -> dict[str, str]:
        """For FFmpeg's reader of raw video."""
        return {
            "video_size": f"{self.width}x{self.height}",
            "framerate": str(self.rate),
            "pixel_format": self.pixels,
        }


def open_source(text: str, raw: RawFormat | None = None, paced: bool = True) -> Source:
    """The source that ``text`` names; it is opened only when its frames are asked for.

    Args:
        text: the index of a camera; ``pipe:``; a network address with ``://``; or else whatever
            :func:`kinedepth.video.load_video` opens.
        raw: what the frames in the pipe are like, if they are raw.
        paced: play a file at its own pace, not as fast as it can be read.

    Raises:
        KinedepthError: if a raw format is given for anything but the pipe.
    """
    if raw is not None and text != PIPE:
        raise KinedepthError("--size is for raw frames from pipe:; leave it out.")
    if text.isdecimal() and len(text) < 4:
        return Camera(int(text))
    if text == PIPE:
        if raw is None:
            options = {"protocol_whitelist": "pipe", **_BRIEFER_LOOK}
            return Stream("pipe:0", "Standard input", options)
        return Stream("pipe:0", "Standard input", raw.options, "rawvideo")
    if "://" in text:
        address = urlsplit(text)
        options = {"rtsp_transport": "tcp", "protocol_whitelist": _NETWORK_PROTOCOLS}
        # Without the user's name and password, which an address may hold.
        host = address.netloc.rpartition("@")[2]
        return Stream(text, f"{address.scheme}://{host}{address.path}", options, network=True)
    return FilePlayer(text, paced)


@dataclass(frozen=True)
class Camera:
    """A camera of this machine, by OpenCV, which counts cameras the same way on every system."""

    index: int

    @property
    def label(self) -> str:
        """Its name in a sentence."""
        return f"Camera {self.index}"

    def frames(self, clock: Clock) -> Iterator[Captured]:
        """As :class:`kinedepth.live.capture.Source` asks."""
        camera = self._open()
        try:
            if not camera.isOpened():
                raise KinedepthError(
                    f"There is no camera {self.index} that can be opened; check that it is "
                    f"plugged in and not in use, or try another number."
                )
            camera.set(cv2.CAP_PROP_BUFFERSIZE, 1)
            began, index = clock(), 0
            while True:
                good, image = camera.read()
                arrived = clock()
                if not good:
                    raise KinedepthError(f"Camera {self.index} stopped giving frames.")
                rgb = np.asarray(cv2.cvtColor(image, cv2.COLOR_BGR2RGB), np.uint8)
                yield Captured(rgb, index, arrived - began, arrived)
                index += 1
        finally:
            camera.release()

    def _open(self) -> cv2.VideoCapture:
        """Opened without what OpenCV has to say on stderr about each way that does not work."""
        level = cv2.utils.logging.getLogLevel()
        cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)
        try:
            return cv2.VideoCapture(self.index)
        finally:
            cv2.utils.logging.setLogLevel(level)


@dataclass(frozen=True)
class FilePlayer:
    """A file, or anything else that can be loaded, played as if it were being filmed."""

    path: str
    paced: bool = True

    @property
    def label(self) -> str:
        """Its name in a sentence."""
        return self.path

    def frames(self, clock: Clock) -> Iterator[Captured]:
        """As :class:`kinedepth.live.capture.Source` asks."""
        video = load_video(self.path)
        began = clock()
        for index, block in video.blocks(1):
            time = float(video.times[index])
            if self.paced:
                wall.sleep(max(0.0, began + time - clock()))
            yield Captured(block[0], index, time, clock())


@dataclass(frozen=True)
class Stream:
    """Encoded or raw video that arrives through a pipe or from the network, by PyAV.

    Attributes:
        address: as FFmpeg has it.
        label: its name in a sentence.
        options: for FFmpeg.
        container: FFmpeg's name of the format; None to find out.
        network: whether there is someone to wait for.
    """

    address: str
    label: str
    options: dict[str, str] = field(default_factory=dict)
    container: str | None = None
    network: bool = False

    def frames(self, clock: Clock) -> Iterator[Captured]:
        """As :class:`kinedepth.live.capture.Source` asks."""
        began, index, first = clock(), 0, None
        with self._open() as container:
            stream = self._video_stream(container)
            timed = self.container is not None or _tells_time(container.format)
            for frame in self._decoded(container, stream):
                arrived = clock()
                stored = np.asarray(frame.to_ndarray(format="rgb24"), np.uint8)
                image = Orientation.of(frame).apply(stored)
                time = arrived - began
                if timed and frame.pts is not None and frame.time_base is not None:
                    seconds = float(frame.pts * frame.time_base)
                    first = seconds if first is None else first
                    time = seconds - first
                yield Captured(np.ascontiguousarray(image), index, time, arrived)
                index += 1
        if index == 0:
            raise KinedepthError(f"{self.label} ended before a frame of video could be decoded.")

    def _open(self) -> Any:
        options = {**_BRIEF_LOOK, **self.options}
        # Once it is open, whoever waits for its frames knows how long to.
        timeout = (_OPENING_SECONDS, None) if self.network else None
        try:
            return av.open(self.address, format=self.container, options=options, timeout=timeout)
        except (FFmpegError, OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or str(error)
            raise KinedepthError(self._why_not(reason)) from error

    def _why_not(self, reason: str) -> str:
        if self.network:
            return (
                f"{self.label} cannot be opened ({reason}); check the address and that the stream "
                f"is being sent."
            )
        if self.container is not None:
            return f"{self.label} cannot be read as raw frames ({reason}); check their format."
        return (
            f"{self.label} is not a video that can be decoded ({reason}); send an encoded stream, "
            f"or give --size for raw frames."
        )

    def _video_stream(self, container: Any) -> Any:
        streams = container.streams.video
        if not streams or container.format.name == "tty" or streams[0].codec_context is None:
            raise KinedepthError(f"{self.label} holds no video that can be decoded.")
        stream = streams[0]
        context = stream.codec_context
        check_frame_size(self.label, context.width, context.height)
        context.options = {"max_pixels": str(MOST_PIXELS)}
        # Decoders that work on several frames at a time hold them back.
        stream.thread_type = "SLICE"
        return stream

    def _decoded(self, container: Any, stream: Any) -> Iterator[av.VideoFrame]:
        """Frames; damaged packets are passed over."""
        packets = container.demux(stream)
        while True:
            try:
                packet = next(packets)
            except (StopIteration, EOFError):
                return
            except FFmpegError as error:
                raise KinedepthError(f"{self.label} broke off ({error.strerror}).") from error
            try:
                yield from packet.decode()
            except FFmpegError:
                continue


def _tells_time(container: ContainerFormat) -> bool:
    """Whether frames carry times; those of a bare run of JPEGs are FFmpeg's guess."""
    no_times: Any = Flags.no_timestamps
    return not (container.flags & no_times.value or container.name.endswith("_pipe"))
