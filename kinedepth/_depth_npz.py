"""Reading dense depth from an ``.npz``, without holding it in memory."""

from __future__ import annotations

import math
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO

import numpy as np
from numpy.lib import format as npy_format
from numpy.typing import NDArray

from kinedepth._frame_source import check_frame_size
from kinedepth._frame_store import StoredDepth, gather_frames
from kinedepth._safe_npz import MOST_UNPACKED, check_unpacked_size, what_is_wrong
from kinedepth.errors import KinedepthError

_KEYS = ("depth", "depths")
"""Ours, and the one that Video Depth Anything's own program writes."""

_MOST_RATIO = 200
"""An archive may unpack to this many times its size: rendered depth has large even areas."""

_LONGEST_WORD = 1024
"""Bytes of a single value; a longer one is no kind of depth and no frame rate."""

_LOCAL_HEADER = 30
"""Bytes of a zip member's own header before its name."""


def open_depth_npz(path: Path) -> StoredDepth:
    """The depth in an archive, with its kind, frame rate and whether frames stand alone.

    An array of float32 that lies uncompressed in the archive is memory-mapped.

    Raises:
        KinedepthError: if the file is no such archive, is damaged, or holds Python objects.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            check_unpacked_size(path, archive, _MOST_RATIO)
            names = [name.removesuffix(".npy") for name in archive.namelist()]
            key = next((key for key in _KEYS if key in names), None)
            if key is None:
                raise KinedepthError(
                    f"{path} holds no array depth (it holds {', '.join(names) or 'nothing'}); "
                    f"save depth (T, H, W) under that name."
                )
            depth = _read_depth(path, archive, f"{key}.npy")
            facts = {
                name: _read_small(path, archive, name)
                for name in ("kind", "fps", "per_frame")
                if name in names
            }
            return StoredDepth(
                depth,
                kind=str(facts["kind"]) if "kind" in facts else None,
                fps=float(facts["fps"]) if "fps" in facts else None,
                per_frame=bool(facts.get("per_frame", False)),
            )
    except KinedepthError:
        raise
    except Exception as error:  # Zip, zlib and NumPy raise almost anything on damage.
        raise KinedepthError(
            f"{path} is not an npz archive that can be read ({what_is_wrong(error)}); "
            f"it is damaged or of another kind."
        ) from error


def _read_small(path: Path, archive: zipfile.ZipFile, key: str) -> str | float:
    with archive.open(f"{key}.npy") as file:
        shape, _, dtype = _read_header(path, key, file)
        if shape != () or dtype.kind not in "Ufiub" or dtype.itemsize > _LONGEST_WORD:
            raise KinedepthError(f"{path}: {key} is {dtype} of shape {shape}, not one value.")
        return np.frombuffer(file.read(), dtype=dtype)[0].item()


def _read_depth(path: Path, archive: zipfile.ZipFile, member: str) -> NDArray[np.float32]:
    info = archive.getinfo(member)
    with archive.open(member) as file:
        shape, fortran_order, dtype = _read_header(path, "depth", file)
        if len(shape) != 3 or 0 in shape or dtype.kind not in "fiu":
            raise KinedepthError(
                f"{path}: depth is {dtype} of shape {shape}; numbers of shape (T, H, W) are needed."
            )
        check_frame_size(str(path), shape[2], shape[1])
        header = file.tell()
        if info.file_size - header != math.prod(shape) * dtype.itemsize:
            raise ValueError("depth is cut short")
        if fortran_order and info.file_size > MOST_UNPACKED:
            raise KinedepthError(
                f"{path} holds depth in column order, which has to be read at once, and is too "
                f"large for that; save np.ascontiguousarray(depth)."
            )
        if fortran_order:  # Frames are not in one piece; nobody stores film like that on purpose.
            values = np.frombuffer(file.read(), dtype).reshape(shape, order="F")
            return np.ascontiguousarray(values, dtype=np.float32)
        if info.compress_type != zipfile.ZIP_STORED or dtype != np.float32:
            return gather_frames(_frames(file, shape, dtype), (shape[0], shape[1], shape[2]))
    begin = _data_offset(path, info) + header
    return np.memmap(path, dtype=np.float32, mode="r", offset=begin, shape=shape)


def _frames(file: IO[bytes], shape: tuple[int, ...], dtype: np.dtype) -> Iterator[NDArray]:
    count = shape[1] * shape[2]
    for _ in range(shape[0]):
        values = np.frombuffer(file.read(count * dtype.itemsize), dtype, count)
        yield values.reshape(shape[1:]).astype(np.float32)


def _data_offset(path: Path, info: zipfile.ZipInfo) -> int:
    """Where in the file a member's content begins: after its local header."""
    with open(path, "rb") as file:
        file.seek(info.header_offset)
        local = file.read(_LOCAL_HEADER)
    # Lengths of the name and of the extra field; the latter may differ from the directory's.
    name, extra = int.from_bytes(local[26:28], "little"), int.from_bytes(local[28:30], "little")
    return info.header_offset + _LOCAL_HEADER + name + extra


def _read_header(path: Path, key: str, file: IO[bytes]) -> tuple[tuple[int, ...], bool, np.dtype]:
    version = npy_format.read_magic(file)
    if version == (1, 0):
        shape, fortran_order, dtype = npy_format.read_array_header_1_0(file)
    elif version == (2, 0):
        shape, fortran_order, dtype = npy_format.read_array_header_2_0(file)
    else:
        raise ValueError(f"npy version {version}")
    if dtype.hasobject:
        raise KinedepthError(
            f"{path}: {key} holds Python objects, which are not read because they can run code; "
            f"save it as plain numbers."
        )
    return shape, fortran_order, dtype
