"""Reading ``.npz`` archives without trusting them.

NumPy stores arrays of Python objects as pickles, and loading a pickle can run any code. Only
one format that is read here needs such an array: TAPVid-3D keeps its JPEG images as an object
array of ``bytes``. That pickle is read by an unpickler that knows no class at all except inert
stand-ins for NumPy's array, dtype and scalar, so nothing but bytes can come out of it.
"""

from __future__ import annotations

import io
import math
import pickle
import pickletools
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.lib import format as npy_format
from numpy.typing import NDArray

from kinedepth.errors import KinedepthError

TAPVID3D_KEYS = ("images_jpeg_bytes", "queries_xyt", "tracks_XYZ", "visibility", "fx_fy_cx_cy")

MOST_UNPACKED = 512 * 2**20
"""Bytes that an archive may unpack to, however small it is itself."""

_MOST_RATIO = 20
"""A larger archive may unpack to this many times its size; arrays of measurements reach 5."""


def load_arrays(path: Path) -> dict[str, NDArray]:
    """All arrays of the archive at ``path``, by name.

    Raises:
        KinedepthError: if there is no such file, it is no npz archive, it is damaged, or it
            holds Python objects.
    """
    return _load(Path(path), {})


def load_tapvid3d(path: Path) -> dict[str, Any]:
    """A TAPVid-3D clip.

    Returns:
        ``images_jpeg_bytes``: list of T ``bytes``; ``queries_xyt (N, 3)``;
        ``tracks_XYZ (T, N, 3)``; ``visibility (T, N)`` bool; ``fx_fy_cx_cy (4,)`` float64; and
        any further plain arrays of the archive.

    Raises:
        KinedepthError: if the archive cannot be read, lacks one of these or their shapes differ.
    """
    path = Path(path)
    clip: dict[str, Any] = _load(path, {"images_jpeg_bytes": _read_bytes_array})
    missing = [key for key in TAPVID3D_KEYS if key not in clip]
    if missing:
        raise KinedepthError(
            f"{path} is not a TAPVid-3D clip: it lacks {', '.join(missing)} "
            f"(it holds {', '.join(clip) or 'nothing'})."
        )
    images = clip["images_jpeg_bytes"]
    if isinstance(images, np.ndarray):  # Fixed-length byte strings need no pickle.
        images = list(images.tolist()) if images.ndim == 1 and images.dtype.kind == "S" else []
    clip["images_jpeg_bytes"] = images
    if not images:
        raise KinedepthError(f"{path} holds no images in images_jpeg_bytes.")
    _check_tapvid3d_shapes(path, clip)
    clip["visibility"] = clip["visibility"].astype(bool)
    clip["fx_fy_cx_cy"] = clip["fx_fy_cx_cy"].astype(np.float64)
    return clip


def _check_tapvid3d_shapes(path: Path, clip: dict[str, Any]) -> None:
    frames = len(clip["images_jpeg_bytes"])
    points = len(np.atleast_1d(clip["queries_xyt"]))
    expected = {
        "queries_xyt": (points, 3),
        "tracks_XYZ": (frames, points, 3),
        "visibility": (frames, points),
        "fx_fy_cx_cy": (4,),
    }
    for key, shape in expected.items():
        array = clip[key]
        if array.shape != shape or array.dtype.kind not in "fiub":
            raise KinedepthError(
                f"{path}: {key} has shape {array.shape} and type {array.dtype}, but {frames} "
                f"images and {points} queries ask for numbers of shape {shape}."
            )


def check_unpacked_size(path: Path, archive: zipfile.ZipFile, ratio: int = _MOST_RATIO) -> None:
    """Raise if an archive is made to fill the memory or the disk of whoever unpacks it.

    Raises:
        KinedepthError: if it unpacks to more than :data:`MOST_UNPACKED` and to more than
            ``ratio`` times its own size.
    """
    unpacked, packed = sum(info.file_size for info in archive.infolist()), path.stat().st_size
    if unpacked > max(MOST_UNPACKED, ratio * packed):
        raise KinedepthError(
            f"{path} would unpack from {packed / 1e6:.3g} MB to {unpacked / 1e6:.3g} MB, more "
            f"than measurements do; save it without compression if it is what you want."
        )


def what_is_wrong(error: Exception) -> str:
    """The first line of what an error says, or its kind where it says nothing."""
    return next(iter(str(error).splitlines()), "").rstrip(".") or type(error).__name__


def _load(path: Path, object_readers: dict[str, Callable[[IO[bytes]], Any]]) -> dict[str, Any]:
    if not path.is_file():
        raise KinedepthError(f"There is no file {path}.")
    arrays: dict[str, Any] = {}
    try:
        with zipfile.ZipFile(path) as archive:
            check_unpacked_size(path, archive)
            for member in archive.namelist():
                if member.endswith(".npy"):
                    key = member.removesuffix(".npy")
                    arrays[key] = _read_member(path, archive, member, object_readers.get(key))
    except KinedepthError:
        raise
    except Exception as error:  # Zip, zlib, NumPy and pickle raise almost anything on damage.
        raise KinedepthError(
            f"{path} is not an npz archive that can be read ({what_is_wrong(error)}); "
            f"it is damaged or of another kind."
        ) from error
    return arrays


def _read_member(
    path: Path,
    archive: zipfile.ZipFile,
    member: str,
    object_reader: Callable[[IO[bytes]], Any] | None,
) -> Any:
    with archive.open(member) as file:
        shape, dtype = _read_header(file)
        has_objects = dtype.hasobject
        # Memory is asked for by what the header says, so that has to be what is there.
        content = archive.getinfo(member).file_size - file.tell()
        if not has_objects and content != math.prod(shape) * dtype.itemsize:
            raise ValueError(f"{member} is not as long as its header says")
        if has_objects and object_reader is not None:
            return object_reader(file)
    if has_objects:
        raise KinedepthError(
            f"{path}: {member.removesuffix('.npy')} holds Python objects, which are not read "
            f"because they can run code; save it as plain numbers."
        )
    with archive.open(member) as file:
        return npy_format.read_array(file, allow_pickle=False)


def _read_header(file: IO[bytes]) -> tuple[tuple[int, ...], np.dtype]:
    """Read the header of a ``.npy`` member: the array's shape and type."""
    version = npy_format.read_magic(file)
    if version == (1, 0):
        shape, _, dtype = npy_format.read_array_header_1_0(file)
    elif version == (2, 0):
        shape, _, dtype = npy_format.read_array_header_2_0(file)
    else:  # Version 3 exists only for field names that are not latin-1: no plain array.
        raise ValueError(f"npy version {version}")
    return shape, dtype


class _DtypeStandIn:
    """Remembers the type code of a pickled dtype, e.g. ``O8`` or ``u1``, and nothing else."""

    def __init__(self, code: str, *_: object) -> None:
        self.code = code

    def __setstate__(self, state: object) -> None:
        pass


class _ArrayStandIn:
    """Remembers shape, type and content of a pickled array."""

    code = ""
    shape: tuple[int, ...] = ()
    content: object = None

    def __setstate__(self, state: Any) -> None:
        _, self.shape, dtype, _, self.content = state
        self.code = dtype.code


def _reconstruct(*_: object) -> _ArrayStandIn:
    return _ArrayStandIn()


def _scalar(dtype: _DtypeStandIn, value: bytes) -> bytes:
    if not dtype.code.startswith("S") or not isinstance(value, bytes):
        raise pickle.UnpicklingError(f"a scalar of type {dtype.code} is no byte string")
    return value


def _encode(text: str, encoding: str) -> bytes:
    """Python 2 pickles spell bytes as latin-1 text; no other codec is honoured."""
    if encoding not in ("latin1", "latin-1"):
        raise pickle.UnpicklingError(f"the codec {encoding} is not allowed")
    return text.encode("latin-1")


def _no_bytes() -> bytes:
    """Old protocols spell the empty byte string as a call without arguments."""
    return b""


_STAND_INS: dict[tuple[str, str], Any] = {
    ("numpy", "ndarray"): _ArrayStandIn,
    ("numpy", "dtype"): _DtypeStandIn,
    ("_codecs", "encode"): _encode,
    ("builtins", "bytes"): _no_bytes,
    ("__builtin__", "bytes"): _no_bytes,
}
for _module in ("numpy.core.multiarray", "numpy._core.multiarray"):
    _STAND_INS[_module, "_reconstruct"] = _reconstruct
    _STAND_INS[_module, "scalar"] = _scalar


class _BytesUnpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        """The stand-in for a global that the pickle names; anything else is refused."""
        try:
            return _STAND_INS[module, name]
        except KeyError:
            raise pickle.UnpicklingError(f"{module}.{name} is not allowed in it") from None


def _check_memo(content: bytes) -> None:
    """Refuse a pickle that numbers what it remembers beyond what it can hold.

    The unpickler makes room for as many places as the highest number asks for: one opcode of
    five bytes would take 32 GiB.
    """
    for count, (opcode, number, _) in enumerate(pickletools.genops(content)):
        if "PUT" in opcode.name and isinstance(number, int) and number > count:
            raise pickle.UnpicklingError("the object array remembers more than it holds")


def _read_bytes_array(file: IO[bytes]) -> list[bytes]:
    """The items of a pickled one-dimensional object array of byte strings."""
    content = file.read()
    _check_memo(content)
    array = _BytesUnpickler(io.BytesIO(content)).load()
    if not isinstance(array, _ArrayStandIn) or not isinstance(array.content, list):
        raise pickle.UnpicklingError("the object array is no list of byte strings")
    return [_as_bytes(item) for item in array.content]


def _as_bytes(item: object) -> bytes:
    if isinstance(item, bytes):
        return item
    if isinstance(item, _ArrayStandIn) and item.code == "u1" and isinstance(item.content, bytes):
        return item.content  # An encoded image kept as an array of uint8.
    raise pickle.UnpicklingError("the object array holds something other than byte strings")
