"""Frames of depth gathered into one array, on disk where they are too many for memory."""

from __future__ import annotations

import math
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from kinedepth.errors import KinedepthError

LARGEST_IN_MEMORY = 256 * 2**20
"""Bytes up to which frames are kept in memory."""


@dataclass(frozen=True)
class StoredDepth:
    """Depth as a file or folder holds it, with what that says about it.

    Attributes:
        depth: ``(T, H, W)`` float32.
        kind: what the values mean; None where nothing says so.
        fps: frames a second; None where nothing says so.
        per_frame: each frame was predicted on its own.
    """

    depth: NDArray[np.float32]
    kind: str | None = None
    fps: float | None = None
    per_frame: bool = False


def gather_frames(
    frames: Iterable[NDArray[np.floating]], shape: tuple[int, int, int]
) -> NDArray[np.float32]:
    """Array ``shape`` = (T, H, W) float32 of T ``frames (H, W)``.

    A large one is a read-only memory map of a temporary file, which goes when the array does.

    Raises:
        KinedepthError: if there is no room for the temporary file.
    """
    size = 4 * math.prod(shape)
    if size <= LARGEST_IN_MEMORY:
        array = np.empty(shape, dtype=np.float32)
        for index, frame in enumerate(frames):
            array[index] = frame
        return array
    # Written, not filled through the map: a full disk then is an error and not a crash.
    with tempfile.TemporaryFile(prefix="kinedepth-") as file:
        for frame in frames:
            # Errors of the frames themselves pass.
            values = np.ascontiguousarray(frame, dtype=np.float32)
            try:
                file.write(values.data)
            except OSError as error:
                raise _no_room(size, error) from error
        try:
            file.flush()
        except OSError as error:
            raise _no_room(size, error) from error
        return np.memmap(file, dtype=np.float32, mode="r", shape=shape)


def _no_room(size: int, error: OSError) -> KinedepthError:
    return KinedepthError(
        f"A temporary file of {size / 1e9:.1f} GB in {tempfile.gettempdir()} cannot be written "
        f"({error.strerror}); set TMPDIR to a folder with more space."
    )
