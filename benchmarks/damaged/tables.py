"""Damaged and odd tables of queries and of tracks, and folders of depth images."""

from __future__ import annotations

import importlib.util
import json
import struct
import tempfile
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np

from damaged.case import Case, Cases, flipped, written
from damaged.images import encoded, png_header


def table_cases() -> Cases:
    """Every csv of the corpus."""
    for name, text in _shared_tables("x,y,frame", ("4.5", "5.5", "0")).items():
        yield Case("csv", f"queries: {name}", "queries", written("a.csv", _as_bytes(text)))
    for name, text in _shared_tables("track,frame,x,y", ("p", "0", "4.5", "5.5")).items():
        yield Case("csv", f"tracks: {name}", "tracks", written("a.csv", _as_bytes(text)))
    many = "track,frame,x,y\n" + "\n".join(f"{n},999999,4,4" for n in range(2000))
    for name, text in {
        "same row twice": "track,frame,x,y\na,0,1,1\na,0,1,1\n",
        "never visible": "track,frame,x,y,visible\na,0,1,1,0\n",
        "visible is a word": "track,frame,x,y,visible\na,0,1,1,perhaps\n",
        "two columns of one name": "track,frame,x,x,y\na,0,1,1,1\n",
        "frames beyond memory": many,
    }.items():
        yield Case("csv", f"tracks: {name}", "tracks", written("a.csv", text.encode()))


def _as_bytes(text: str | bytes) -> bytes:
    return text if isinstance(text, bytes) else text.encode()


def _shared_tables(header: str, row: tuple[str, ...]) -> dict[str, str | bytes]:
    """What can be wrong with any table."""
    good = ",".join(row)
    columns = header.split(",")
    cases: dict[str, str | bytes] = {
        "empty": "",
        "header only": f"{header}\n",
        "no header": f"{good}\n{good}\n",
        "missing column": f"{','.join(columns[:-1])}\n{','.join(row[:-1])}\n",
        "unknown column": f"{header},colour\n{good},red\n",
        "too few cells": f"{header}\n{','.join(row[:-1])}\n",
        "too many cells": f"{header}\n{good},7,8\n",
        "semicolons": f"{header}\n{good}\n".replace(",", ";"),
        "open quote": f'{header}\n"{good}\n{good}\n',
        "byte order mark and Windows line ends": f"\ufeff{header}\r\n{good}\r\n",
        "UTF-16": f"{header}\n{good}\n".encode("utf-16"),
        "not UTF-8": f"{header}\n".encode() + b"\xff\xfe\x80\n",
        "zero bytes": f"{header}\n{good}\n".encode() + bytes(2000),
        "noise": np.random.default_rng(5).bytes(4000),
        "flipped bytes": flipped(f"{header}\n{good}\n".encode() * 30, header, 0, 1, 20),
        "one cell of a megabyte": f"{header}\n{'9' * 2**20},{good}\n",
        "one line of 200,000 cells": f"{header}\n" + ",".join(["1"] * 200_000),
    }
    for column in [name for name in columns if name != "track"]:
        for value in ("nan", "inf", "-inf", "-3", "1e300", "1e18", "9" * 400, "abc", "", "0x10"):
            cells = [
                value if name == column else cell for name, cell in zip(columns, row, strict=True)
            ]
            cases[f"{column} is {value[:8] or 'empty'}"] = f"{header}\n{','.join(cells)}\n"
    return cases


def depth_folder_cases() -> Cases:
    """Every folder of depth images of the corpus."""
    for name, make in (_png_folders() | _exr_folders()).items():
        yield Case("depth folders", name, "depth", make)


Maker = Callable[[Path], Path]


def _folder(files: dict[str, bytes], **manifest: object) -> Maker:
    facts = {"format": "png16", "kind": "metric", "fps": 25.0, "frames": 3, "width": 8}
    facts |= {"height": 6, "scale": 0.001, "offset": 0.0} | manifest

    def make(folder: Path) -> Path:
        (folder / "depth.json").write_text(json.dumps(facts))
        for name, content in files.items():
            (folder / name).write_bytes(content)
        return folder

    return make


def _png_folders() -> dict[str, Maker]:
    png = cv2.imencode(".png", np.full((6, 8), 2000, np.uint16))[1].tobytes()
    larger = cv2.imencode(".png", np.full((8, 8), 2000, np.uint16))[1].tobytes()
    whole = {f"{n}.png": png for n in range(3)}
    cases = {
        "whole": _folder(whole),
        "an image missing": _folder({"0.png": png, "1.png": png, "3.png": png}),
        "fewer than it says": _folder({"0.png": png}),
        "mixed sizes": _folder(whole | {"2.png": larger}),
        "an 8-bit image": _folder(whole | {"1.png": encoded(".png")}),
        "text named .png": _folder(whole | {"1.png": b"text"}),
        "cut image": _folder(whole | {"1.png": png[:40]}),
        "empty image": _folder(whole | {"0.png": b""}),
        "PNG that says 65535 a side": _folder(whole | {"0.png": png_header(65535, 65535, 16)}),
        "PNG bomb, 24000 a side": _folder(
            whole | {"0.png": png_header(24000, 24000, 16, rows=24000, level=1)}
        ),
        "manifest is text": _written_over(whole, b"not json"),
        "manifest is a list": _written_over(whole, b"[1, 2]"),
        "manifest is empty": _written_over(whole, b""),
        "manifest is not UTF-8": _written_over(whole, b"\xff\xfe{}"),
        "manifest of 100,000 brackets": _written_over(whole, b"[" * 100_000),
        "PNG and EXR": _folder(whole | {"3.exr": b"x"}),
    }
    for key, values in {
        "kind": ("depth", None, 5, ["metric"]),
        "fps": ("abc", 0, -1, float("nan"), float("inf"), 1e308),
        "frames": (-1, 1e300, float("inf"), "three"),
        "scale": (0, float("nan"), 1e300, None),
        "width": (float("inf"), "9" * 5000),
    }.items():
        for value in values:
            cases[f"{key} is {str(value)[:12]}"] = _folder(whole, **{key: value})
    return cases


def _written_over(files: dict[str, bytes], manifest: bytes) -> Maker:
    plain = _folder(files)

    def make(folder: Path) -> Path:
        plain(folder)
        (folder / "depth.json").write_bytes(manifest)
        return folder

    return make


def _exr_folders() -> dict[str, Maker]:
    """Folders of EXR files; none where what writes and reads them is not installed."""
    if importlib.util.find_spec("OpenEXR") is None:
        return {}
    exr = _exr()
    window = exr.index(b"dataWindow") + len(b"dataWindow\0box2i\0") + 4
    absurd = exr[:window] + struct.pack("<4i", 0, 0, 40_000, 40_000) + exr[window + 16 :]
    endless = exr[:window] + struct.pack("<4i", 0, 0, 2**31 - 2, 2**31 - 2) + exr[window + 16 :]
    backward = exr[:window] + struct.pack("<4i", 9, 9, 0, 0) + exr[window + 16 :]
    whole = {f"{n}.exr": exr for n in range(3)}
    files = {
        "whole EXR": whole,
        "EXR cut in its header": whole | {"0.exr": exr[:60]},
        "EXR cut in its data": whole | {"1.exr": exr[:-20]},
        "empty EXR": whole | {"2.exr": b""},
        "text named .exr": {f"{n}.exr": b"text" for n in range(3)},
        "EXR that says 40000 a side": whole | {"0.exr": absurd},
        "EXR that says 2^31 a side": whole | {"0.exr": endless},
        "EXR of negative size": whole | {"0.exr": backward},
    }
    for begin, end in ((0.0, 0.1), (0.1, 0.6), (0.6, 1.0)):
        label = f"EXR flipped from {begin:.0%}"
        files[label] = whole | {"1.exr": flipped(exr, label, begin, end, 5)}
    return {name: _folder(content, format="exr") for name, content in files.items()}


def _exr() -> bytes:
    import OpenEXR

    header = {"compression": OpenEXR.ZIP_COMPRESSION, "type": OpenEXR.scanlineimage}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "a.exr"
        with OpenEXR.File(header, {"Z": np.full((6, 8), 2, np.float32)}) as file:
            file.write(str(path))
        return path.read_bytes()
