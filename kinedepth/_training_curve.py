"""The held-out figures of a training run over its steps, as a picture."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from kinedepth.exporting.atomic import atomic_path


@dataclass(frozen=True)
class Curve:
    """What to draw.

    Attributes:
        label: of the vertical axis, which is logarithmic.
        lines: the figures' names in the log, and what to call each in the legend; records
            without the first of them are left out.
    """

    label: str
    lines: Mapping[str, str]


def draw_curve(log: Path, picture: Path, curve: Curve) -> None:
    """Draw held-out figures over steps.

    Args:
        log: one JSON object a line, with ``step`` and the figures of a test.
        picture: the PNG to write; nothing is written when the log holds no figures.
        curve: what to draw.

    Needs matplotlib.
    """
    from matplotlib.figure import Figure

    # A line that was being written when the machine went down is no reason to fail.
    records = [record for line in log.read_text().splitlines() if (record := _parse(line))]
    needed = next(iter(curve.lines))
    records = [record for record in records if needed in record]
    if not records:
        return
    figure = Figure(figsize=(7, 4), layout="constrained")
    axes = figure.subplots()
    for key, label in curve.lines.items():
        points = [(record["step"], record[key]) for record in records if key in record]
        if points:
            axes.plot(*zip(*points, strict=True), label=label, marker=".")
    axes.set(xlabel="step", ylabel=curve.label, yscale="log")
    axes.grid(alpha=0.3, which="both")
    axes.legend()
    with atomic_path(picture) as temporary:
        figure.savefig(temporary, dpi=150)


def _parse(line: str) -> dict[str, float]:
    try:
        record = json.loads(line)
    except ValueError:
        return {}
    return record if isinstance(record, dict) else {}
