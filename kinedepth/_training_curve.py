"""The held-out error of a training run over its steps, as a picture."""

from __future__ import annotations

import json
from pathlib import Path

from kinedepth.exporting.atomic import atomic_path

_LABELS = {"seurat_mean": "network", "robust_mean": "robust local fit, without a network"}


def draw_curve(log: Path, picture: Path) -> None:
    """Draw the mean error of the log depth ratio on held-out windows.

    Args:
        log: one JSON object a line, with ``step`` and the figures of a test.
        picture: the PNG to write; nothing is written when the log holds no figures.

    Needs matplotlib.
    """
    from matplotlib.figure import Figure

    # A line that was being written when the machine went down is no reason to fail.
    records = [record for line in log.read_text().splitlines() if (record := _parse(line))]
    records = [record for record in records if "seurat_mean" in record]
    if not records:
        return
    figure = Figure(figsize=(7, 4), layout="constrained")
    axes = figure.subplots()
    for key, label in _LABELS.items():
        points = [(record["step"], record[key]) for record in records if key in record]
        axes.plot(*zip(*points, strict=True), label=label)
    axes.set(xlabel="step", ylabel="mean error of the log depth ratio", yscale="log")
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
