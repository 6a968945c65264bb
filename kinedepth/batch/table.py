"""What became of the videos of a batch, as a file and on the terminal."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from kinedepth.batch.run import Outcome
from kinedepth.exporting.atomic import atomic_path

if TYPE_CHECKING:
    from rich.table import Table

SUMMARY_TABLE = "summary.csv"
"""In the folder of a batch: a row for each video."""

COLUMNS = ("video", "folder", "frames", "points", "seconds", "state", "reason")


def write_table(output: Path, folders: Mapping[str, Path], outcomes: Mapping[str, Outcome]) -> None:
    """Write :data:`SUMMARY_TABLE`; a video of which nothing is known yet is ``open``."""
    with (
        atomic_path(output / SUMMARY_TABLE) as temporary,
        open(temporary, "w", encoding="utf-8", errors="backslashreplace", newline="") as file,
    ):
        rows = csv.writer(file)
        rows.writerow(COLUMNS)
        for video, folder in folders.items():
            outcome = outcomes.get(video) or Outcome(video, folder, "open")
            rows.writerow([video, folder.name, *_cells(outcome)])


def draw_table(outcomes: Iterable[Outcome]) -> Table:
    """The same for the terminal, with the folder standing for the video."""
    from rich.table import Table

    table = Table(box=None, pad_edge=False)
    for column in ("video", *COLUMNS[2:]):
        number = column in ("frames", "points", "seconds")
        table.add_column(column, justify="right" if number else "left", no_wrap=number)
    for outcome in outcomes:
        table.add_row(outcome.folder.name, *_cells(outcome))
    return table


def _cells(outcome: Outcome) -> list[str]:
    numbers = (outcome.frames, outcome.points, outcome.seconds)
    shown = ["" if number is None else str(number) for number in numbers]
    return [*shown, outcome.state, outcome.reason]
