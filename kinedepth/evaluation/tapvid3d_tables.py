"""Scores of TAPVid-3D as a table in the layout of Seurat's Tables 1 and 2, as JSON and as CSV."""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kinedepth.errors import KinedepthError
from kinedepth.evaluation.tapvid3d_files import SUBSETS
from kinedepth.evaluation.tapvid3d_split import SplitScores
from kinedepth.exporting.atomic import atomic_path

_TITLES = {"adt": "Aria", "drivetrack": "DriveTrack", "pstudio": "Panoptic Studio"}


@dataclass(frozen=True)
class PublishedRow:
    """A row of Seurat's Table 1: average over the subsets of TAPVid-3D minival.

    Attributes:
        name: of the method, with CoTracker's tracks.
        average_jaccard, points_within: 3D-AJ and APD in per cent.
        temporal_coherence: TC in metres per frame squared; None where not known to us.
    """

    name: str
    average_jaccard: float
    points_within: float
    temporal_coherence: float | None


PUBLISHED_PER_TRAJECTORY = (
    PublishedRow("hand-crafted density", 6.0, 11.2, None),
    PublishedRow("ChronoDepth", 6.7, 11.8, 3.39),
    PublishedRow("DepthPro", 7.8, 14.0, 1.40),
    PublishedRow("DepthCrafter", 11.5, 19.7, 0.35),
    PublishedRow("ZoeDepth", 12.6, 20.7, 0.48),
    PublishedRow("Seurat", 18.0, 28.6, 0.05),
    PublishedRow("oracle depth", 52.0, 69.0, None),
)
"""Published by Cho et al. (CVPR 2025), with their own weights, tracker and data; not measured
with this package. Scaling ``per_trajectory``, adaptive thresholds."""


def format_table(scores: Sequence[SplitScores]) -> str:
    """One table for scores that share scaling, thresholds and split.

    Columns are 3D-AJ, APD (per cent, more is better) and TC (metres per frame squared, less is
    better) for each subset, and the same with OA for the average over subsets. Under the
    scaling of the paper's Table 1 its rows stand below, marked as published.

    Raises:
        KinedepthError: if the scores do not belong into one table.
    """
    if len({(s.scaling, s.thresholds, tuple(s.subsets)) for s in scores}) != 1:
        raise KinedepthError("A table holds scores of one scaling, one threshold and one split.")
    first = scores[0]
    # One subset alone is its own average.
    subsets = list(first.subsets) if len(first.subsets) > 1 else []
    groups = [_TITLES.get(subset, subset) for subset in subsets] + ["average"]
    columns = [["3D-AJ", "APD", "TC"] for _ in subsets] + [["3D-AJ", "APD", "OA", "TC"]]
    rows = [
        [s.name, *[_cells(s.subsets[x]) for x in subsets], _cells(s.average, True)] for s in scores
    ]
    published = _published_rows(first, len(subsets))
    lines = [_headline(first)]
    lines += _aligned(groups, columns, rows, published)
    if published:
        lines.append(_where_published(list(first.subsets)))
    zero = sorted({clip for s in scores for clip in s.counted_as_zero})
    if zero:
        lines.append(f"Counted as zero, without a usable prediction: {', '.join(zero)}.")
    return "\n".join(lines)


def write_scores(scores: Sequence[SplitScores], path: str | Path) -> None:
    """Every figure of every clip, subset and average, as ``.json`` or ``.csv`` by the suffix.

    Raises:
        KinedepthError: for another suffix, or if the file cannot be written.
    """
    check_output(path)
    is_csv = Path(path).suffix.lower() == ".csv"
    text = _as_csv(scores) if is_csv else json.dumps(_as_json(scores), indent=2) + "\n"
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def check_output(path: str | Path) -> None:
    """Raise unless :func:`write_scores` could write a file of this name."""
    target = Path(path)
    if target.suffix.lower() not in (".json", ".csv"):
        raise KinedepthError(f"Scores are written as .json or .csv; got {target}.")
    if not target.resolve().parent.is_dir():
        raise KinedepthError(f"There is no folder {target.parent} to write {target.name} into.")


def _headline(scores: SplitScores) -> str:
    kind = "affine-invariant" if scores.scaling == "affine" else f"scaling {scores.scaling}"
    unit = "adaptive thresholds" if scores.thresholds == "adaptive" else "fixed metre thresholds"
    clips = ", ".join(
        f"{sum(subset == name for name in scores.subset_of.values())} {subset}"
        for subset in scores.subsets
    )
    return f"TAPVid-3D, {kind}, {unit}; clips: {clips}"


def _cells(figures: dict[str, float], with_accuracy: bool = False) -> list[str]:
    cells = [_per_cent(figures["average_jaccard"]), _per_cent(figures["points_within"])]
    if with_accuracy:
        cells.append(_per_cent(figures["occlusion_accuracy"]))
    return [*cells, _small(figures["temporal_coherence"])]


def _published_rows(scores: SplitScores, subsets: int) -> list[list[Any]]:
    if (scores.scaling, scores.thresholds) != ("per_trajectory", "adaptive"):
        return []
    blank = ["", "", ""]
    return [
        [
            f"{row.name} [published]",
            *[blank] * subsets,
            [
                f"{row.average_jaccard:.1f}",
                f"{row.points_within:.1f}",
                "",
                "" if row.temporal_coherence is None else f"{row.temporal_coherence:.2f}",
            ],
        ]
        for row in PUBLISHED_PER_TRAJECTORY
    ]


def _where_published(subsets: Sequence[str]) -> str:
    same = set(subsets) == set(SUBSETS)
    return (
        "[published]: Cho et al., CVPR 2025, TAPVid-3D minival with CoTracker's tracks; not "
        "measured with this package" + ("." if same else ", and not on these clips.")
    )


def _aligned(
    groups: Sequence[str],
    columns: Sequence[Sequence[str]],
    rows: Sequence[Sequence[Any]],
    published: Sequence[Sequence[Any]],
) -> list[str]:
    """Lines of text with figures right-aligned under two rows of headings."""
    everything = [["", *columns], *rows, *published]
    name_width = max(len("method"), *(len(row[0]) for row in everything))
    widths = []
    for index, group in enumerate(groups, start=1):
        cells = [row[index] for row in everything]
        each = [max(len(cell[i]) for cell in cells) for i in range(len(cells[0]))]
        # The last column grows where the heading is wider than what stands below it.
        each[-1] += max(0, len(group) - sum(each) - 2 * (len(each) - 1))
        widths.append(each)

    def line(name: str, cells: Sequence[Sequence[str]]) -> str:
        parts = [
            "  ".join(cell.rjust(width) for cell, width in zip(group, each, strict=True))
            for group, each in zip(cells, widths, strict=True)
        ]
        return " | ".join([name.ljust(name_width), *parts]).rstrip()

    headings = [
        group.center(sum(each) + 2 * (len(each) - 1))
        for group, each in zip(groups, widths, strict=True)
    ]
    top = " | ".join([" " * name_width, *headings]).rstrip()
    rule = "-" * max(len(line(row[0], row[1:])) for row in everything)
    lines = [top, line("method", columns), rule, *(line(row[0], row[1:]) for row in rows)]
    return lines + ([rule, *(line(row[0], row[1:]) for row in published)] if published else [])


def _per_cent(share: float) -> str:
    return f"{100 * share:.1f}"


def _small(value: float) -> str:
    """Two decimals, as published, or four where that would show next to nothing."""
    if math.isnan(value):
        return "-"
    return f"{value:.2f}" if value >= 0.095 else f"{value:.4f}"


def _as_json(scores: Sequence[SplitScores]) -> list[dict[str, Any]]:
    def plain(figures: dict[str, float]) -> dict[str, float | None]:
        return {key: None if math.isnan(value) else value for key, value in figures.items()}

    return [
        {
            "predictions": s.name,
            "scaling": s.scaling,
            "thresholds": s.thresholds,
            "average": plain(s.average),
            "subsets": {name: plain(figures) for name, figures in s.subsets.items()},
            "clips": {name: plain(figures) for name, figures in s.clips.items()},
            "counted_as_zero": s.counted_as_zero,
        }
        for s in scores
    ]


def _as_csv(scores: Sequence[SplitScores]) -> str:
    metrics = list(scores[0].average)
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["predictions", "scaling", "thresholds", "level", "subset", "clip", *metrics])
    for s in scores:
        head = [s.name, s.scaling, s.thresholds]

        def figures(of: dict[str, float]) -> list[str]:
            return ["" if math.isnan(of[name]) else f"{of[name]:.10g}" for name in metrics]

        writer.writerow([*head, "average", "", "", *figures(s.average)])
        for subset, values in s.subsets.items():
            writer.writerow([*head, "subset", subset, "", *figures(values)])
        for clip, values in s.clips.items():
            writer.writerow([*head, "clip", s.subset_of[clip], clip, *figures(values)])
    return text.getvalue()
