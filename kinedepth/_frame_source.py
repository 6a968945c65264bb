"""What a video draws its frames from, and the simplest such source: an array."""

from __future__ import annotations

from collections.abc import Generator
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from kinedepth.camera import Intrinsics
from kinedepth.errors import KinedepthError

ASSUMED_FPS = 25.0
"""Frames a second where a source says nothing about time (image folders, arrays)."""

MOST_PIXELS = 2**26
"""Of a frame: 8192 x 8192, about twice what 8K has. A header that says more is damaged, or made to
fill the memory; nothing is decoded then."""

Frames = Generator[NDArray[np.uint8], None, None]
"""A stream of frames ``(H, W, 3)`` uint8 RGB; closing it closes the file behind it."""


def check_frame_size(label: str, width: int, height: int) -> None:
    """Raise KinedepthError if frames of this size would be more than memory is meant for."""
    if width * height > MOST_PIXELS:
        raise KinedepthError(
            f"{label} says that it is {width}x{height}, but frames of at most {MOST_PIXELS} pixels "
            f"are read; make it smaller, or copy it again if that is not its size."
        )


class FrameSource(Protocol):
    """What a :class:`Video` draws frames from.

    Attributes:
        name: short name.
        label: what to call the source in an error, e.g. its path.
        width, height: size in pixels of every frame as shown.
        times: ``(T,)`` float64 seconds at which each frame is shown, strictly ascending.
        intrinsics: of the frames, where the source knows them.
    """

    name: str
    label: str
    width: int
    height: int
    times: NDArray[np.float64]
    intrinsics: Intrinsics | None

    def read(self, indices: range) -> Frames:
        """Yield the frames ``(H, W, 3)`` uint8 RGB at ``indices``: not empty, ascending."""
        ...


class ArraySource:
    """Frames already in memory, ``(T, H, W, 3)`` uint8 RGB, at a constant rate."""

    intrinsics: Intrinsics | None = None

    def __init__(self, frames: NDArray[np.uint8], fps: float, name: str) -> None:
        shape = frames.shape
        if len(shape) != 4 or shape[3] != 3 or 0 in shape[1:3] or frames.dtype != np.uint8:
            raise KinedepthError(
                f"Frames need shape (T, H, W, 3) and type uint8; got {shape} {frames.dtype}."
            )
        if not 0 < fps < float("inf"):
            raise KinedepthError(f"A frame rate is positive and finite; got {fps}.")
        self.name = self.label = name
        self.height, self.width = shape[1:3]
        self.times = np.arange(len(frames)) / fps
        self._frames = frames

    def read(self, indices: range) -> Frames:
        """Yield the frames at ``indices``."""
        for index in indices:
            yield self._frames[index]
