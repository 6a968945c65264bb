"""Small whole clips, from which damaged ones are made."""

from __future__ import annotations

import functools
import io
import tempfile
from fractions import Fraction
from pathlib import Path

import av
import numpy as np

WIDTH, HEIGHT, FRAMES = 64, 48, 14

CONTAINERS = {
    "late.mp4": ("mp4", "libx264", "yuv420p"),  # Its index comes last.
    "early.mp4": ("mp4", "libx264", "yuv420p"),  # Its index comes first.
    "clip.mkv": ("matroska", "libx264", "yuv420p"),
    "clip.avi": ("avi", "mpeg4", "yuv420p"),
    "clip.webm": ("webm", "libvpx-vp9", "yuv420p"),
    "clip.ts": ("mpegts", "libx264", "yuv420p"),
    "clip.gif": ("gif", "gif", "rgb8"),
    "motion.avi": ("avi", "mjpeg", "yuvj420p"),
    "intra.mov": ("mov", "prores_ks", "yuv422p10le"),
    "clip.mpg": ("mpeg", "mpeg2video", "yuv420p"),
}
"""File name, container format, codec and pixel format."""


def picture(index: int, width: int = WIDTH, height: int = HEIGHT) -> np.ndarray:
    """A gradient ``(height, width, 3)`` uint8 with a moving square."""
    image = np.zeros((height, width, 3), np.uint8)
    image[..., 0] = np.linspace(0, 200, width).astype(np.uint8)
    image[..., 1] = np.linspace(0, 200, height).astype(np.uint8)[:, None]
    left = 2 * index % max(1, width - 12)
    image[4:16, left : left + 12] = 255
    return image


@functools.cache
def clip(
    container: str = "mp4",
    codec: str = "libx264",
    pixels: str = "yuv420p",
    size: tuple[int, int] = (WIDTH, HEIGHT),
    count: int = FRAMES,
    pts: tuple[int, ...] | None = None,
    turn: tuple[int, bool, bool] | None = None,
    pixel_aspect: Fraction | None = None,
    early: bool = False,
) -> bytes:
    """A clip as bytes; ``pts`` are in hundredths of a second, ``early`` puts its index first."""
    width, height = size
    options = {"movflags": "faststart"} if early else {}
    with (
        tempfile.NamedTemporaryFile() as file,
        av.open(file.name, "w", format=container, options=options) as output,
    ):
        stream = output.add_stream(codec, rate=25)
        stream.width, stream.height, stream.pix_fmt = width, height, pixels
        stream.options = {"g": "5"}
        stream.thread_count = 1
        if pts is not None:
            stream.codec_context.time_base = Fraction(1, 100)
        if pixel_aspect is not None:
            stream.codec_context.sample_aspect_ratio = pixel_aspect
        if turn is not None:
            stream.set_display_rotation(*turn)
        for index in range(count):
            frame = av.VideoFrame.from_ndarray(picture(index, width, height), format="rgb24")
            if pts is not None:
                frame.pts, frame.time_base = pts[index], Fraction(1, 100)
            output.mux(stream.encode(frame))
        output.mux(stream.encode())
        output.close()
        return Path(file.name).read_bytes()


def whole(name: str) -> bytes:
    """The whole clip that a name of :data:`CONTAINERS` stands for."""
    return clip(*CONTAINERS[name], early=name == "early.mp4")


def y4m(header: str, frames: int = 4, size: tuple[int, int] = (WIDTH, HEIGHT)) -> bytes:
    """An uncompressed clip of 4:2:0 frames, whose header may say anything."""
    width, height = size
    body = bytes(width * height * 3 // 2)
    return header.encode() + b"\n" + (b"FRAME\n" + body) * frames


@functools.cache
def sound() -> bytes:
    """Half a second of silence in an MP4."""
    content = io.BytesIO()
    with av.open(content, "w", format="mp4") as output:
        stream = output.add_stream("aac", rate=16000)
        for index in range(8):
            silence = np.zeros((1, 1024), np.float32)
            frame = av.AudioFrame.from_ndarray(silence, format="fltp", layout="mono")
            frame.sample_rate, frame.pts = 16000, 1024 * index
            output.mux(stream.encode(frame))
        output.mux(stream.encode())
    return content.getvalue()
