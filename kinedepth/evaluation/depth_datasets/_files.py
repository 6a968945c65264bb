"""What the layouts share: listing files, reading depth maps and matrices."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from kinedepth.errors import KinedepthError

ReadFrames = Callable[[], Iterator[NDArray]]


def clip_folders(root: Path, inner: str) -> list[Path]:
    """Folders of ``root`` that hold the folder ``inner``, in natural order of their names."""
    found = [folder for folder in root.iterdir() if (folder / inner).is_dir()]
    return sorted(found, key=lambda folder: natural_key(folder.name))


def files_in(folder: Path, *suffixes: str) -> list[Path]:
    """Files of ``folder`` with one of ``suffixes``, in natural order (``2.png`` before ``10``)."""
    found = [path for path in folder.iterdir() if path.suffix.lower() in suffixes]
    return sorted(found, key=lambda path: natural_key(path.name))


def natural_key(name: str) -> list[tuple[bool, int, str]]:
    """Sorts numbers within names by their value."""
    parts = re.split(r"(\d+)", name)
    return [(part.isdecimal(), int(part) if part.isdecimal() else 0, part) for part in parts]


def read_png(path: Path) -> NDArray[np.uint16]:
    """A depth map ``(H, W)`` in the file's own unit.

    Raises:
        KinedepthError: if it is missing, damaged or no 16-bit image of one channel.
    """
    image = cv2.imread(str(path), cv2.IMREAD_UNCHANGED) if path.is_file() else None
    if image is None or image.ndim != 2 or image.dtype != np.uint16:
        raise KinedepthError(f"{path} is not a depth map of one 16-bit channel.")
    return image.astype(np.uint16, copy=False)


def png_frames(files: Sequence[Path | None], divisor: float) -> tuple[int, int, ReadFrames]:
    """Height and width of 16-bit depth maps, and what reads them as metres.

    Args:
        files: in order; None for a frame without truth, which reads as zeros.
        divisor: of the file's values.
    """
    first = next((path for path in files if path is not None), None)
    if first is None:
        raise KinedepthError("There is no frame with true depth.")
    height, width = read_png(first).shape

    def read() -> Iterator[NDArray[np.float64]]:
        for path in files:
            image = np.zeros((height, width)) if path is None else read_png(path)
            if image.shape != (height, width):
                raise KinedepthError(
                    f"{path} is {image.shape[1]}x{image.shape[0]}, but {first} is "
                    f"{width}x{height}; all frames of a clip need one size."
                )
            yield image / divisor

    return height, width, read


def read_matrix(path: Path, shape: tuple[int, int]) -> NDArray[np.float64]:
    """The upper left ``shape`` of a matrix written as text.

    Raises:
        KinedepthError: if the file is missing, holds no numbers or too few of them.
    """
    try:
        matrix = np.loadtxt(path, dtype=np.float64, ndmin=2)
    except (OSError, ValueError) as error:
        raise KinedepthError(f"{path} cannot be read as a matrix of numbers ({error}).") from None
    if matrix.shape[0] < shape[0] or matrix.shape[1] < shape[1]:
        raise KinedepthError(f"{path} holds a matrix of {matrix.shape}; {shape} is needed.")
    return matrix[: shape[0], : shape[1]]


def need_clips(clips: Sequence[object], root: Path, layout: str) -> None:
    """Raise unless there are ``clips``; ``layout`` says what was looked for."""
    if not clips:
        raise KinedepthError(f"{root} holds no clip laid out as {layout}.")
