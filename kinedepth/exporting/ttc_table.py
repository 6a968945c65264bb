"""Time to contact as a table: ``ttc.csv``."""

from __future__ import annotations

import csv
import math
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from kinedepth.exporting.atomic import atomic_path
from kinedepth.time_to_contact import TimeToContact
from kinedepth.tracks import Tracks

COLUMNS = (
    "frame",
    "time",
    "track",
    "x",
    "y",
    "visible",
    "closing_rate",
    "closing_rate_std",
    "ttc",
    "low",
    "high",
    "warn",
)
"""Seconds, pixels, and 1 / s; 0 or 1 for visible and warn."""


def write_contact_table(
    path: str | Path,
    tracks: Tracks,
    contact: TimeToContact,
    warned: NDArray[np.bool_] | None = None,
) -> None:
    """Write a row for each frame of each track, frame by frame.

    ``ttc`` is ``inf`` where no contact is claimed; ``low`` and ``high`` are the interval, ``high``
    being ``inf`` where the point may not come at all. Cells stay empty where nothing is known.

    Raises:
        KinedepthError: if the file cannot be written.
    """
    warned = np.zeros_like(tracks.visible) if warned is None else warned
    seconds, low, high = contact.seconds, contact.soonest, contact.latest
    with (
        atomic_path(path) as temporary,
        open(temporary, "w", encoding="utf-8", newline="") as file,
    ):
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(COLUMNS)
        for frame, time in enumerate(contact.times):
            known = np.isfinite(contact.closing_rate[frame])
            for track in range(len(tracks)):
                x, y = tracks.xy[frame, track]
                writer.writerow(
                    [
                        frame,
                        f"{time:.6g}",
                        track,
                        f"{x:.2f}",
                        f"{y:.2f}",
                        int(tracks.visible[frame, track]),
                        _cell(contact.closing_rate[frame, track]),
                        _cell(contact.closing_rate_std[frame, track]),
                        _cell(seconds[frame, track]) if known[track] else "",
                        _cell(low[frame, track]),
                        _cell(high[frame, track]) if known[track] else "",
                        int(warned[frame, track]),
                    ]
                )


def _cell(value: float) -> str:
    return "" if math.isnan(value) else f"{value:.6g}"
