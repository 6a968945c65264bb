"""Damaged and odd npz archives: queries, tracks, depth and TAPVid-3D clips."""

from __future__ import annotations

import functools
import io
import pickle
import struct
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.lib import format as npy_format

from damaged.case import Case, Cases, cut_and_flipped, written
from damaged.clips import FRAMES
from damaged.images import encoded

_TRACKS = 6


class RunsCode:
    """A pickle of this would create a file if it were loaded."""

    def __reduce__(self) -> tuple[Any, ...]:
        return (Path.touch, (Path("a_pickle_was_run"),))


@functools.cache
def arrays_of(reader: str) -> dict[str, np.ndarray]:
    """A whole archive's arrays, for each reader of archives."""
    xy = np.full((FRAMES, _TRACKS, 2), 20.0, np.float32) + np.arange(_TRACKS)[:, None]
    queries = np.concatenate([xy[0], np.zeros((_TRACKS, 1), np.float32)], axis=1)
    visible = np.ones((FRAMES, _TRACKS), bool)
    jpegs = np.array([encoded(".jpg", n) for n in range(FRAMES)], dtype=object)
    return {
        "queries": {"queries_xyt": queries},
        "tracks": {"tracks_xy": xy, "visibility": visible, "queries_xyt": queries},
        "depth": {
            "depth": np.full((4, 48, 64), 2.0, np.float32),
            "kind": np.array("metric"),
            "fps": np.array(25.0),
        },
        "video": {
            "images_jpeg_bytes": jpegs,
            "queries_xyt": queries.astype(np.float64),
            "tracks_XYZ": np.ones((FRAMES, _TRACKS, 3), np.float32),
            "visibility": visible,
            "fx_fy_cx_cy": np.array([60.0, 60.0, 32.0, 24.0]),
        },
    }[reader]


def archive(arrays: dict[str, Any], packed: bool = True) -> bytes:
    """An npz of these arrays; objects go into it as pickles, as NumPy does it."""
    content = io.BytesIO()
    method = zipfile.ZIP_DEFLATED if packed else zipfile.ZIP_STORED
    with zipfile.ZipFile(content, "w", method) as out:
        for name, array in arrays.items():
            member = io.BytesIO()
            npy_format.write_array(member, np.asanyarray(array), allow_pickle=True)
            out.writestr(name if name.endswith(".npy") else f"{name}.npy", member.getvalue())
    return content.getvalue()


def npy_header(shape: tuple[int, ...], dtype: str = "<f4", fortran: bool = False) -> bytes:
    """The header of an npy member, which may say any shape."""
    content = io.BytesIO()
    facts = {"descr": dtype, "fortran_order": fortran, "shape": shape}
    npy_format.write_array_header_1_0(content, facts)
    return content.getvalue()


def members(contents: dict[str, bytes]) -> bytes:
    """A zip of these raw members."""
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED) as out:
        for name, value in contents.items():
            out.writestr(name, value)
    return content.getvalue()


@functools.cache
def bomb(member: str, header: bytes, mebibytes: int) -> bytes:
    """A zip whose member is ``header`` and then many zeros, squeezed a thousandfold.

    One squeezed mebibyte is repeated, so making it is quick. The checksum is left 0: whoever
    reads so far as to find that out has read everything.
    """
    squeezer = zlib.compressobj(9, zlib.DEFLATED, -15)
    first = squeezer.compress(header) + squeezer.flush(zlib.Z_FULL_FLUSH)
    block = squeezer.compress(bytes(2**20)) + squeezer.flush(zlib.Z_FULL_FLUSH)
    body = first + block * mebibytes + squeezer.flush()
    size, name = len(header) + mebibytes * 2**20, member.encode()
    facts = struct.pack("<HHHHHIIIHH", 20, 0, 8, 0, 33, 0, len(body), size, len(name), 0)
    local = b"PK\x03\x04" + facts + name
    entry = b"PK\x01\x02" + struct.pack("<H", 20) + facts + struct.pack("<HHHII", 0, 0, 0, 0, 0)
    end = struct.pack("<HHHHIIH", 0, 0, 1, 1, len(entry) + len(name), len(local) + len(body), 0)
    return local + body + entry + name + b"PK\x05\x06" + end


def archive_cases() -> Cases:
    """Every npz of the corpus."""
    for reader in ("queries", "tracks", "depth", "video"):
        yield from cut_and_flipped(
            "npz",
            reader,
            f"{reader}.npz",
            lambda reader=reader: archive(arrays_of(reader), packed=reader != "depth"),  # type: ignore[misc]
            (0.0, 0.1, 0.5, 0.9, 0.99),
        )
        for name, content in _absurd(reader).items():
            yield _npz("npz: absurd shapes and bombs", name, reader, content)
        for name, content in _objects(reader).items():
            yield _npz("npz: objects, pickles, path names", name, reader, content)
        for name, arrays in _wrong_values(reader).items():
            yield _npz("npz: wrong types and values", name, reader, lambda a=arrays: archive(a))  # type: ignore[misc]


def _npz(family: str, name: str, reader: str, content: Callable[[], bytes]) -> Case:
    return Case(family, f"{reader}: {name}", reader, written("a.npz", content))


def _main(reader: str) -> tuple[str, np.ndarray]:
    """The array that a reader needs most."""
    key = {"tracks": "tracks_xy", "video": "tracks_XYZ"}.get(reader)
    arrays = arrays_of(reader)
    key = key or next(iter(arrays))
    return key, arrays[key]


def _absurd(reader: str) -> dict[str, Callable[[], bytes]]:
    key, array = _main(reader)

    def with_member(content: bytes) -> bytes:
        whole = {
            f"{name}.npy": _npy(value) for name, value in arrays_of(reader).items() if name != key
        }
        return members(whole | {f"{key}.npy": content})

    last = array.shape[-1]
    shapes = {
        "a trillion rows": (10**12, *array.shape[1:]),
        "2^62 rows": (2**62, *array.shape[1:]),
        "negative rows": (-4, *array.shape[1:]),
        "no row": (0, *array.shape[1:]),
        "forty dimensions": (1,) * 39 + (last,),
    }
    cases: dict[str, Callable[[], bytes]] = {
        name: lambda shape=shape: with_member(npy_header(shape) + bytes(400))  # type: ignore[misc]
        for name, shape in shapes.items()
    }
    rows = 3 * 2**28 // int(np.prod(array.shape[1:]))
    header = npy_header((rows, *array.shape[1:]))
    turned = npy_header((rows, *array.shape[1:]), fortran=True)
    cases |= {
        "bomb of 3 GiB": lambda: bomb(f"{key}.npy", header, 3072),
        "bomb in column order": lambda: bomb(f"{key}.npy", turned, 3072),
        "bomb of text": lambda: bomb(f"{key}.npy", npy_header((), f"<U{3 * 2**28}"), 3072),
        "bomb in a member nobody asked for": lambda: bomb("other.npy", header, 3072),
        "header of a megabyte": lambda: with_member(
            b"\x93NUMPY\x02\x00" + struct.pack("<I", 2**20) + b"(" * 2**20
        ),
        "header that says 4 GiB": lambda: with_member(b"\x93NUMPY\x02\x00\xff\xff\xff\xff{"),
    }
    return cases


def _npy(value: np.ndarray) -> bytes:
    content = io.BytesIO()
    npy_format.write_array(content, value, allow_pickle=True)
    return content.getvalue()


def _objects(reader: str) -> dict[str, Callable[[], bytes]]:
    key, array = _main(reader)
    whole = arrays_of(reader)
    objects = np.empty(len(array), dtype=object)
    objects[:] = [RunsCode() for _ in objects]
    object_header = npy_header((FRAMES,), "|O")
    # A pickle's table of remembered objects that is asked to have 2^32 places.
    memory = b"\x80\x02]r\xf0\xff\xff\x7f."
    names = ("../../escaped", "/tmp/escaped", "C:\\escaped", "..\\escaped", "a/../../b")
    return {
        "objects that run code": lambda: archive(whole | {key: objects}),
        "objects that run code, as images": lambda: archive(whole | {"images_jpeg_bytes": objects}),
        "a bare pickle": lambda: pickle.dumps(RunsCode()),
        "a pickle that asks for 16 GiB": lambda: members(
            {f"{k}.npy": _npy(v) for k, v in whole.items() if k != "images_jpeg_bytes"}
            | {"images_jpeg_bytes.npy": object_header + memory}
        ),
        "names that lead elsewhere": lambda: archive(whole | {name: np.zeros(2) for name in names}),
        "only names that lead elsewhere": lambda: archive(dict.fromkeys(names, array)),
    }


def _wrong_values(reader: str) -> dict[str, dict[str, Any]]:
    key, array = _main(reader)
    whole = arrays_of(reader)
    numbers = array.astype(np.float64)
    records = np.zeros(array.shape, dtype=[("x", "f4"), ("y", "f4")])
    with_nan, with_inf = numbers.copy(), numbers.copy()
    with_nan.flat[0], with_inf.flat[-1] = np.nan, np.inf
    changed: dict[str, Any] = {
        "text": array.astype("U8"),
        "complex numbers": array.astype(complex),
        "records": records,
        "times": array.astype("datetime64[s]"),
        "booleans": array > 0,
        "half floats": array.astype(np.float16),
        "other byte order": array.astype(">f8"),
        "one dimension too few": array[..., 0],
        "one dimension too many": array[None],
        "a single number": np.array(3.0),
        "NaN": with_nan,
        "infinity": with_inf,
        "all NaN": np.full_like(numbers, np.nan),
        "beyond float32": numbers * 1e300,
        "negative": -1 - numbers,
        "whole numbers without sign": np.full(array.shape, 2**64 - 1, np.uint64),
    }
    cases = {name: whole | {key: value} for name, value in changed.items()}
    for other in whole:
        cases[f"lacks {other}"] = {name: value for name, value in whole.items() if name != other}
        cases[f"text as {other}"] = whole | {other: np.array(["abc", "def"])}
        cases[f"NaN as {other}"] = whole | {other: np.full(np.shape(whole[other]), np.nan)}
    cases["nothing"] = {}
    return cases
