"""What each part of the method brings: the paper's Tables 3-6 and our own additions.

    python benchmarks/ablations.py [--only no-window ...] [--steps 250]

Every row is a tiny network trained on the same windows for the same number of steps, then scored
on the same held-out windows and rendered clips. Rows that are done are not run again; a row that
was stopped goes on. ``--only`` runs some rows; the table shows all that are done. More ``--steps``
mean more windows, too, and a folder of their own. What was built for each row, and what can be
concluded, is in ``docs/ablations.md``.
"""

from __future__ import annotations

import argparse
import dataclasses
from pathlib import Path
from typing import Any

import torch
from _report import print_table, write_results
from ablation.budget import Budget
from ablation.rows import DENSITY_AJ, FORMULAS, FULL_AJ, ROWS, SIGMAS
from ablation.runs import Bench, Figures, finished, run_formulas, run_row

SETS = ("spread", "crowded", "clips", "rendered")
"""Where rows are scored: windows with queries anywhere, windows with queries on one body, rendered
clips of 24 frames with the embedded tracker's tracks, and windows with pictures."""

SEEDED = ("paper", "ours")
"""Rows that are trained with several seeds."""

BEGIN, END = "<!-- made by benchmarks/ablations.py: begin -->", "<!-- end -->"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", nargs="+", choices=[*ROWS, "formulas"], metavar="ROW")
    parser.add_argument("--steps", type=int, default=Budget.steps, help="of every training")
    parser.add_argument("--folder", type=Path, help="of the runs; runs/ablations_STEPS by default")
    parser.add_argument("--clips-folder", type=Path, default=Path("runs/benchmark_clips"))
    parser.add_argument("--list", action="store_true", help="print the rows' names and stop")
    parser.add_argument("--document", type=Path, help="a page to put the table into, between marks")
    parser.add_argument("--no-write", action="store_true", help="leave the results file alone")
    arguments = parser.parse_args()
    if arguments.list:
        for name, row in ROWS.items():
            print(f"{name:20s} {row.title}")
        return
    torch.set_num_threads(1)

    folder = arguments.folder or Path(f"runs/ablations_{arguments.steps}")
    bench = Bench(folder, arguments.clips_folder, Budget(steps=arguments.steps))
    wanted = arguments.only or ["formulas", *ROWS]
    formulas = run_formulas(bench)
    for name in wanted:
        if name in ROWS:
            figures = run_row(bench, name)
            means = ", ".join(f"{key} {value['mean']:.4f}" for key, value in figures.items())
            print(f"{name}: {means}", flush=True)
    rows = {name: run_row(bench, name) for name in ROWS if finished(bench, name)}
    noise = seed_noise(rows)
    columns, cells = table(formulas, rows, noise)
    print_table("error of the log depth ratio", columns, cells)
    notes = remarks(rows, noise)
    print(notes)
    if arguments.document:
        put_into(arguments.document, columns, cells, notes)
    if not arguments.no_write:
        record = {
            "budget": dataclasses.asdict(bench.budget),
            "formulas": formulas,
            "rows": rows,
            "seed noise": noise,
            "verdicts": {name: verdict(name, rows, noise) for name in rows},
        }
        print("written:", write_results("ablations", record).name)


Noise = dict[str, dict[str, float]]
"""Of each row that was trained with several seeds, what :func:`seed_noise` says of each set."""


def seed_noise(rows: dict[str, Figures]) -> Noise:
    """How far means of the same row differ between seeds, as a share of the mean.

    The root mean square over all pairs of seeds.
    """
    noise: Noise = {}
    for name in SEEDED:
        for where in SETS:
            means = seed_means(name, where, rows)
            pairs = [one / other - 1 for i, one in enumerate(means) for other in means[:i]]
            if pairs:
                usual = (sum(pair**2 for pair in pairs) / len(pairs)) ** 0.5
                noise.setdefault(name, {})[where] = usual
    return noise


def seed_means(name: str, where: str, rows: dict[str, Figures]) -> list[float]:
    """Mean errors of a row's seeds on a set, seed 0 first."""
    seeds = [n for n in rows if n == name or n.startswith(f"{name}-seed-")]
    return [rows[n][where]["mean"] for n in seeds if where in rows[n]]


def change(name: str, rows: dict[str, Figures]) -> float | None:
    """Error against the reference's where the row is measured, as a share; None without it.

    The reference's error is the mean over its seeds; where the row uses its very weights, or is
    itself another seed of it, that of seed 0.
    """
    row = ROWS[name]
    if row.reference not in rows or name not in rows:
        return None
    references = seed_means(row.reference, row.measure, rows)
    if row.weights_of == row.reference or "-seed-" in name:
        references = references[:1]
    return rows[name][row.measure]["mean"] / (sum(references) / len(references)) - 1


def verdict(name: str, rows: dict[str, Figures], noise: Noise) -> str:
    """Whether the change agrees in direction with the paper's, or is within what seeds make."""
    found, row = change(name, rows), ROWS[name]
    if found is None or "-seed-" in name:
        return ""
    between = noise.get(_seeded(name), {})
    if not between:
        return "no seeds to compare"
    # Twice the usual difference between two seeds. Windows with pictures have no seeds of their
    # own; the other windows of the same network stand in.
    if abs(found) < 2 * between.get(row.measure, between["spread"]):
        return "within noise"
    direction = "worse" if found > 0 else "better"
    if row.published is None:
        return direction
    return "agrees" if (row.published < FULL_AJ) == (found > 0) else "disagrees"


def _seeded(name: str) -> str:
    """The row with several seeds whose noise is that of ``name``."""
    reference = ROWS[name].reference
    if reference is None:
        return SEEDED[0]
    return reference if reference in SEEDED else _seeded(reference)


def table(
    formulas: dict[str, Figures], rows: dict[str, Figures], noise: Noise
) -> tuple[list[str], list[list[str]]]:
    """Columns and rows of the one table."""
    cells = [["constant depth", *_cells(formulas["constant"]), "", "", ""]]
    cells.append(["density, Eq. 4", *_cells(formulas["density"]), "", f"{DENSITY_AJ:.1f}", ""])
    cells.append([FORMULAS["robust"], *_cells(formulas["robust"]), "", "", ""])
    for sigma in SIGMAS:
        title = f"per-frame depth, Gaussian of {sigma:g} frames" if sigma else "per-frame depth"
        cells.append([title, *_cells(formulas[f"smoothing {sigma:g}"]), "", "", ""])
    for name, figures in rows.items():
        row, found = ROWS[name], change(name, rows)
        compared = "" if found is None else f"{100 * found:+.0f} % ({row.measure})"
        published = f"{row.published:.1f}" if row.published else ""
        if name == "paper":
            published = f"{FULL_AJ:.1f}"
        cells.append([row.title, *_cells(figures), compared, published, verdict(name, rows, noise)])
    columns = [
        "mean error / within 10 % / mean, moving",
        "spread",
        "crowded",
        "clips",
        "with pictures",
        "against its reference",
        "published 3D-AJ",
        "direction",
    ]
    return columns, cells


def remarks(rows: dict[str, Figures], noise: Noise) -> str:
    """What the table cannot show: how much is noise, and what is missing."""
    usual = "; ".join(
        f"{ROWS[name].title}: " + ", ".join(f"{k} {100 * v:.1f} %" for k, v in found.items())
        for name, found in noise.items()
    )
    missing = ", ".join(name for name in ROWS if name not in rows)
    return (
        f"Usual difference between two seeds: {usual or 'not measured yet'}. "
        f"Rows not run yet: {missing or 'none'}."
    )


def put_into(page: Path, columns: list[str], cells: list[list[str]], notes: str) -> None:
    """Replace what stands between the marks in ``page`` by the table and the remarks."""
    before, rest = page.read_text().split(BEGIN)
    after = rest.split(END)[1]
    lines = [columns, ["---"] * len(columns), *cells]
    text = "\n".join(f"| {' | '.join(line)} |" for line in lines)
    page.write_text(f"{before}{BEGIN}\n{text}\n\n{notes}\n{END}{after}")


def _cells(figures: dict[str, Any]) -> list[str]:
    """One cell for each set."""
    return [
        f"{f['mean']:.4f} / {f['within_10']:.3f} / {f['moving']:.3f}"
        if (f := figures.get(where))
        else ""
        for where in SETS
    ]


if __name__ == "__main__":
    main()
