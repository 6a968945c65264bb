"""Scores of dense depth as a table for the terminal, as JSON and as CSV."""

from __future__ import annotations

import csv
import dataclasses
import io
import json
from pathlib import Path
from typing import TYPE_CHECKING

from kinedepth.errors import KinedepthError
from kinedepth.evaluation.depth_benchmark import BenchmarkScores
from kinedepth.evaluation.video_depth import METRICS, DepthScores
from kinedepth.exporting.atomic import atomic_path

if TYPE_CHECKING:
    from rich.table import Table

_DIGITS = {
    "abs_rel": 4,
    "rmse": 4,
    "delta1": 4,
    "tae": 3,
    "tae_of_truth": 3,
    "tae_coverage": 2,
}
_TITLES = {
    "abs_rel": "AbsRel",
    "rmse": "RMSE",
    "delta1": "delta1",
    "tae": "TAE",
    "tae_of_truth": "TAE of truth",
    "tae_coverage": "compared",
}


def score_table(scores: BenchmarkScores) -> Table:
    """One row for each clip, one for their mean; columns that no clip has are left out."""
    from rich.table import Table

    shown = [name for name in METRICS if scores.mean[name] is not None]
    table = Table()
    table.add_column("clip", no_wrap=True)
    table.add_column("frames", justify="right")
    for name in shown:
        table.add_column(_TITLES[name], justify="right", no_wrap=True)
    if _alignment(scores) is None:
        table.add_column("alignment", no_wrap=True)
    for clip in scores.clips:
        cells = [_cell(name, getattr(clip, name)) for name in shown]
        own = [] if _alignment(scores) else [clip.alignment]
        table.add_row(clip.clip, str(clip.frames), *cells, *own)
    table.add_section()
    cells = [_cell(name, scores.mean[name]) for name in shown]
    table.add_row(f"mean of {len(scores.clips)}", "", *cells, style="bold")
    return table


def write_scores(scores: BenchmarkScores, path: str | Path) -> None:
    """Write every figure with all its digits, as JSON or CSV after the suffix of ``path``.

    Raises:
        KinedepthError: if the suffix is neither, or the file cannot be written.
    """
    check_output(path)
    text = _as_json(scores) if Path(path).suffix.lower() == ".json" else _as_csv(scores)
    with atomic_path(path) as temporary:
        temporary.write_text(text)


def check_output(path: str | Path) -> None:
    """Raise unless ``path`` ends in .json or .csv and lies in a folder that is there."""
    path = Path(path)
    if path.suffix.lower() not in (".json", ".csv"):
        raise KinedepthError(f"Scores are written as .json or .csv; got {path.name}.")
    if not path.parent.is_dir():
        raise KinedepthError(f"There is no folder {path.parent} to write {path.name} into.")


def describe_protocol(scores: BenchmarkScores) -> str:
    """What was scored and how, in one line to stand above the table."""
    protocol = "as published" if scores.published else "TAE with z-buffer"
    alignment = _alignment(scores)
    named = f"alignment: {alignment}" if alignment else "alignment: see the clip"
    return f"{scores.dataset}, {named}, {protocol}"


def _alignment(scores: BenchmarkScores) -> str | None:
    """The alignment of all clips; None where they differ."""
    labels = {clip.alignment for clip in scores.clips}
    return labels.pop() if len(labels) == 1 else None


def _cell(name: str, value: float | None) -> str:
    return "-" if value is None else f"{value:.{_DIGITS[name]}f}"


def _as_json(scores: BenchmarkScores) -> str:
    record = {
        "dataset": scores.dataset,
        "as_published": scores.published,
        "mean": scores.mean,
        "clips": [dataclasses.asdict(clip) for clip in scores.clips],
        "left_out": [dataclasses.asdict(problem) for problem in scores.left_out],
    }
    return json.dumps(record, indent=2) + "\n"


def _as_csv(scores: BenchmarkScores) -> str:
    names = [field.name for field in dataclasses.fields(DepthScores)]
    text = io.StringIO()
    writer = csv.DictWriter(text, ["level", *names], lineterminator="\n")
    writer.writeheader()
    writer.writerow({"level": "mean", **scores.mean})
    for clip in scores.clips:
        writer.writerow({"level": "clip", **dataclasses.asdict(clip)})
    return text.getvalue()
