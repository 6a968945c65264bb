"""Which points to lift, as the command line spells it: a grid, a table or a TAPVid-3D clip."""

from __future__ import annotations

import csv
import math
import zipfile
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from kinedepth._safe_npz import load_arrays, load_tapvid3d
from kinedepth.errors import KinedepthError
from kinedepth.tracks import GridQueries, Queries, grid

_LARGEST_GRID = 1000
"""Points a side: more would lie closer than pixels of most videos."""

_LAST_FRAME = 2**53
"""Whole numbers above this are not told apart by the floating point numbers they are stored as."""


def parse_queries(spec: str, query_frame: int = 0) -> GridQueries | Queries:
    """The queries that ``spec`` asks for.

    Args:
        spec: one of

            - ``grid:20``: a uniform grid of 20 x 20 points;
            - a ``.csv`` file with the header ``x,y`` or ``x,y,frame``, one point a line, in
              pixels (pixel centres at +0.5);
            - a ``.npz`` file with ``queries_xyt (N, 3)``: x and y in pixels, index of the frame;
              any TAPVid-3D clip and any ``tracks.npz`` of a run is one.
        query_frame: the frame of points that name none; a grid is seeded by whoever lays it out.

    Raises:
        KinedepthError: if ``spec`` is none of these, or the file is damaged; the message names
            the line or the point that is wrong.
    """
    if spec.startswith("grid:"):
        return _parse_grid(spec.removeprefix("grid:"))
    path = Path(spec)
    suffix = path.suffix.lower()
    if suffix not in (".csv", ".npz"):
        raise KinedepthError(
            f"{spec!r} names no queries; give grid:20, a .csv file with the header x,y[,frame], "
            f"or a .npz file with queries_xyt."
        )
    if not path.is_file():
        raise KinedepthError(f"There is no file {path} to read queries from.")
    return _read_table(path, query_frame) if suffix == ".csv" else _read_npz(path)


def _parse_grid(size: str) -> GridQueries:
    if not size.isdecimal() or len(size) > 4 or int(size) > _LARGEST_GRID:
        raise KinedepthError(
            f"A query grid is written grid:N with a whole number of points a side, at most "
            f"{_LARGEST_GRID}, e.g. grid:20; got grid:{size[:20]}."
        )
    return grid(int(size))


def _read_table(path: Path, query_frame: int) -> Queries:
    try:
        # Spreadsheets put a byte order mark before the header; "utf-8-sig" takes it away.
        with open(path, encoding="utf-8-sig", newline="") as file:
            lines = csv.reader(file)
            header = [name.strip().lower() for name in next(lines, [])]
            if header not in (["x", "y"], ["x", "y", "frame"]):
                raise KinedepthError(
                    f"{path}, line 1: the header must be x,y or x,y,frame; "
                    f"got {','.join(header) or 'nothing'}."
                )
            rows = [
                _parse_row(path, lines.line_num, row, len(header))
                for row in lines
                if any(cell.strip() for cell in row)
            ]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise KinedepthError(f"{path} cannot be read as a table ({error}).") from error
    if not rows:
        raise KinedepthError(f"{path} holds no points; give one a line below the header.")
    frames = [int(row[2]) if len(row) == 3 else query_frame for row in rows]
    xy = np.array([row[:2] for row in rows], dtype=np.float32)
    return Queries(xy, np.array(frames, dtype=np.int64))


def _parse_row(path: Path, line: int, row: list[str], columns: int) -> list[float]:
    if len(row) != columns:
        raise KinedepthError(
            f"{path}, line {line}: {columns} values are needed, but there are {len(row)}."
        )
    values = []
    for cell in row:
        try:
            value = float(cell)
        except ValueError:
            value = math.nan
        if not math.isfinite(value):
            raise KinedepthError(f"{path}, line {line}: {cell.strip()!r} is not a finite number.")
        values.append(value)
    if columns == 3 and not _is_frame(values[2]):
        raise KinedepthError(
            f"{path}, line {line}: a frame is a whole number from 0 up; got {row[2].strip()}."
        )
    return values


def _is_frame(value: float) -> bool:
    return 0 <= value < _LAST_FRAME and value == round(value)


def _read_npz(path: Path) -> Queries:
    # The images of a TAPVid-3D clip are Python objects, which only its own reader takes.
    arrays = load_tapvid3d(path) if _holds_images(path) else load_arrays(path)
    if "queries_xyt" not in arrays:
        raise KinedepthError(
            f"{path} holds no queries_xyt (it holds {', '.join(arrays) or 'nothing'})."
        )
    queries: NDArray = arrays["queries_xyt"]
    if queries.ndim != 2 or queries.shape[1] != 3 or queries.dtype.kind not in "fiu":
        raise KinedepthError(
            f"{path}: queries_xyt has shape {queries.shape} and type {queries.dtype}, but numbers "
            f"of shape (N, 3) are needed: x, y and frame of each point."
        )
    wrong = ~np.isfinite(queries).all(1)
    frame = queries[:, 2].astype(np.float64)
    wrong[~wrong] = [not _is_frame(value) for value in frame[~wrong]]
    if wrong.any():
        index = int(np.flatnonzero(wrong)[0])
        shown = ", ".join(f"{value:g}" for value in queries[index])
        raise KinedepthError(
            f"{path}: point {index} of queries_xyt is ({shown}), but x and y must be finite and "
            f"the frame a whole number from 0 up."
        )
    return Queries(queries[:, :2].astype(np.float32), queries[:, 2].astype(np.int64))


def _holds_images(path: Path) -> bool:
    try:
        with zipfile.ZipFile(path) as archive:
            return "images_jpeg_bytes.npy" in archive.namelist()
    except (OSError, zipfile.BadZipFile):
        return False  # The reader then says what is wrong with the file.
