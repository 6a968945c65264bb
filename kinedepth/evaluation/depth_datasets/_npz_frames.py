"""One frame after the other out of a compressed ``.npz``, which no memory map reaches."""

from __future__ import annotations

import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO

import numpy as np
from numpy.lib import format as npy_format
from numpy.typing import NDArray

from kinedepth.errors import KinedepthError
from kinedepth.evaluation.depth_datasets._files import ReadFrames


def npz_frames(path: Path, key: str) -> tuple[tuple[int, int, int], ReadFrames]:
    """Shape ``(T, H, W)`` of the array ``key``, and what reads its frames in order.

    Raises:
        KinedepthError: if the file is missing or damaged, or holds no such array of floats.
    """
    shape, dtype = _shape(path, key)
    size = dtype.itemsize * shape[1] * shape[2]

    def read() -> Iterator[NDArray]:
        with zipfile.ZipFile(path) as archive, archive.open(f"{key}.npy") as file:
            _header(file)
            for _ in range(shape[0]):
                try:
                    data = file.read(size)
                except (OSError, EOFError, zipfile.BadZipFile, ValueError) as error:
                    raise _damaged(path, error) from error
                if len(data) != size:
                    raise _damaged(path, "it ends early")
                yield np.frombuffer(data, dtype).reshape(shape[1:])

    return shape, read


def _shape(path: Path, key: str) -> tuple[tuple[int, int, int], np.dtype]:
    if not path.is_file():
        raise KinedepthError(f"There is no file {path}.")
    try:
        with zipfile.ZipFile(path) as archive, archive.open(f"{key}.npy") as file:
            shape, fortran, dtype = _header(file)
    except Exception as error:  # Zip, zlib and NumPy raise almost anything on damage.
        raise _damaged(path, error) from error
    if len(shape) != 3 or 0 in shape or fortran or dtype.kind != "f":
        raise KinedepthError(f"{path} holds no array {key} of shape (T, H, W) and a float type.")
    return shape, dtype


def _header(file: IO[bytes]) -> tuple[tuple[int, ...], bool, np.dtype]:
    version = npy_format.read_magic(file)
    if version == (1, 0):
        return npy_format.read_array_header_1_0(file)
    return npy_format.read_array_header_2_0(file)


def _damaged(path: Path, error: object) -> KinedepthError:
    return KinedepthError(f"{path} is not an npz archive that can be read ({error}).")
