"""Tracks in a table: a csv with a row for each frame of each track."""

from __future__ import annotations

import csv
import math
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from kinedepth.errors import KinedepthError
from kinedepth.tracks import Tracks

COLUMNS = ("track", "frame", "x", "y")
"""What the header must name, in any order; ``visible`` may follow."""

MOST_FRAMES = 1_000_000
"""A frame number above this is taken for a mistake before memory is asked for."""

MOST_POSITIONS = 30_000_000
"""Frames times tracks; a table that asks for more has a frame number that is a mistake."""

_FARTHEST = float(np.finfo(np.float32).max)

_TRUE, _FALSE = {"1", "true", "yes"}, {"0", "false", "no"}


class _Row(NamedTuple):
    track: str
    frame: int
    x: float
    y: float
    visible: bool


def read_track_table(path: Path, frames: int | None = None) -> Tracks:
    """The tracks of a csv with the header ``track,frame,x,y[,visible]``.

    Tracks come in the order in which they first appear. ``track`` may be any name.

    Raises:
        KinedepthError: a column is missing, or, with its line number, a cell is not a number,
            a frame comes twice or lies outside the clip of ``frames`` frames.
    """
    rows = _read_rows(path)
    count = max(row.frame for row in rows.values()) + 1
    if frames is not None:
        for line, row in rows.items():
            if row.frame >= frames:
                raise KinedepthError(
                    f"{path}, line {line}: frame {row.frame} lies outside the clip, which has "
                    f"frames 0 to {frames - 1}."
                )
        count = frames
    columns: dict[str, int] = {}
    for row in rows.values():
        columns.setdefault(row.track, len(columns))
    if count * len(columns) > MOST_POSITIONS:
        raise KinedepthError(
            f"{path} asks for {count} frames of {len(columns)} tracks, more than is read from a "
            f"table; check its frame numbers, or store the tracks as .npz."
        )
    xy = np.full((count, len(columns), 2), np.nan)
    visible = np.zeros(xy.shape[:2], bool)
    for line, row in rows.items():
        place = row.frame, columns[row.track]
        if math.isfinite(xy[*place, 0]):
            raise KinedepthError(
                f"{path}, line {line}: track {row.track} already has a row for frame {row.frame}."
            )
        xy[place] = row.x, row.y
        visible[place] = row.visible
    never = np.flatnonzero(~visible.any(0))
    if len(never):
        name = list(columns)[never[0]]
        raise KinedepthError(f"{path}: track {name} is never visible, so nothing starts it.")
    return Tracks(held(xy), visible, visible.argmax(0))


def held(xy: NDArray[np.floating]) -> NDArray[np.float32]:
    """``xy (T, N, 2)`` with positions that are not finite taken from the same track.

    Each takes the finite position nearest in time; a track without any stays at (0, 0).
    """
    filled = np.array(xy, dtype=np.float32)
    known = np.isfinite(filled[..., 0]) & np.isfinite(filled[..., 1])
    wanted = np.arange(len(filled))
    for track in np.flatnonzero(~known.all(0)):
        frames = np.flatnonzero(known[:, track])
        if len(frames) == 0:
            filled[:, track] = 0
            continue
        after = np.searchsorted(frames, wanted).clip(0, len(frames) - 1)
        before = (after - 1).clip(0)
        nearer_before = np.abs(wanted - frames[before]) <= np.abs(frames[after] - wanted)
        nearest = np.where(nearer_before, frames[before], frames[after])
        filled[:, track] = filled[nearest, track]
    return filled


def _read_rows(path: Path) -> dict[int, _Row]:
    """Rows by their line number."""
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.reader(file)
            header = [name.strip().lower() for name in next(reader, [])]
            missing = [name for name in COLUMNS if name not in header]
            if missing:
                raise KinedepthError(
                    f"{path} has no column {', '.join(missing)}; its first line must read "
                    f"track,frame,x,y or track,frame,x,y,visible."
                )
            rows = {}
            for cells in reader:
                if cells:
                    rows[reader.line_num] = _parse(path, reader.line_num, header, cells)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise KinedepthError(f"{path} cannot be read as csv: {error}.") from error
    if not rows:
        raise KinedepthError(f"{path} holds no tracks: there is no row below its header.")
    return rows


def _parse(path: Path, line: int, header: list[str], cells: list[str]) -> _Row:
    if len(cells) != len(header):
        raise KinedepthError(
            f"{path}, line {line}: there are {len(cells)} cells under {len(header)} column names."
        )
    cell = {name: value.strip() for name, value in zip(header, cells, strict=True)}
    number: dict[str, float] = {}
    for name in COLUMNS[1:]:
        try:
            number[name] = float(cell[name])
        except ValueError:
            number[name] = math.nan
        if not abs(number[name]) <= _FARTHEST:  # NaN included.
            raise KinedepthError(
                f"{path}, line {line}: {name} must be a finite number; it is {cell[name]!r}."
            )
    frame = number["frame"]
    if frame != int(frame) or not 0 <= frame <= MOST_FRAMES:
        raise KinedepthError(
            f"{path}, line {line}: frame must be a whole number from 0 up; it is {cell['frame']}."
        )
    word = cell.get("visible", "1").lower()
    if word not in _TRUE | _FALSE:
        raise KinedepthError(
            f"{path}, line {line}: visible must be 1 or 0 (or true or false); it is {word!r}."
        )
    return _Row(cell["track"], int(frame), number["x"], number["y"], word in _TRUE)
