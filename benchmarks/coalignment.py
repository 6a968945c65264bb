"""Co-alignment of snippets: solved by reweighted least squares against the published descent.

Snippets of three frames at two dilations are cut from a made-up video of 768x432, each with a
scale and shift of its own and noise. Both solvers get the same; times are of one run, ratios of
them are the figures that count. Merging the frames at full size, which is the same work for both,
is left out. Where fewer than the published 2,000 steps are run, the descent's time is scaled up
to these, every step being the same work, and its loss is that after the steps that were run.
Run from the repository's root::

    python benchmarks/coalignment.py [--frames 100] [--steps 2000] [--reference FOLDER]
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from _report import print_table, write_results
from numpy.typing import NDArray

from kinedepth.dense.rolling_depth.coalignment import (
    Solver,
    coalign,
    coalignment_loss,
    merge_snippets,
)

DILATIONS = (1, 25)
NOISE = 0.03


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--frames", type=int, default=100)
    parser.add_argument("--steps", type=int, default=2000, help="of the descent to run")
    parser.add_argument("--reference", type=Path, help="folder of published runs, *.npz")
    arguments = parser.parse_args()
    snippets, covered = made_up(arguments.frames)
    coalign(snippets[:4], covered[:4], solver="adam", iterations=2)  # Loads what is needed.
    figures: dict[str, Any] = {
        "frames": arguments.frames,
        "dilations": DILATIONS,
        "threads": torch.get_num_threads(),
        "irls": timed(snippets, covered, "irls", None),
        "adam": timed(snippets, covered, "adam", arguments.steps),
        "steps_run": arguments.steps,
    }
    for clock in ("seconds", "processor_seconds"):
        figures["adam"][clock] *= 2000 / arguments.steps
    print_table(
        f"{arguments.frames} frames of 768x432, dilations {DILATIONS}, {arguments.steps} steps run",
        ["", "irls", "adam", "ratio"],
        [
            [name, f"{solved:.4g}", f"{descended:.4g}", f"{descended / solved:.1f}"]
            for (name, solved), descended in zip(
                figures["irls"].items(), figures["adam"].values(), strict=True
            )
        ],
    )
    if arguments.reference:
        figures["published"] = published(arguments.reference)
        print_table(
            "Loss on published runs",
            ["run", "solved", "published end", "published least"],
            [[run, *(f"{loss:.6f}" for loss in row)] for run, row in figures["published"].items()],
        )
    print(f"Wrote {write_results('coalignment', figures)}.")


def timed(
    snippets: list[NDArray[np.float32]],
    covered: list[NDArray[np.int64]],
    solver: Solver,
    steps: int | None,
) -> dict[str, float]:
    """Loss, and seconds without merging: on the clock, and of the processor."""
    start = time.perf_counter(), time.process_time()
    found = coalign(snippets, covered, solver=solver, iterations=steps)
    solved = time.perf_counter(), time.process_time()
    merge_snippets(snippets, covered, found.scale, found.shift, found.lowest)
    merged = time.perf_counter(), time.process_time()
    wall, cpu = (2 * solved[i] - start[i] - merged[i] for i in (0, 1))
    return {"loss": found.loss, "seconds": wall, "processor_seconds": cpu}


def made_up(frames: int) -> tuple[list[NDArray[np.float32]], list[NDArray[np.int64]]]:
    """Snippets ``(3, 432, 768)`` and their frames."""
    random = np.random.default_rng(0)
    x, y = np.meshgrid(np.linspace(0, 1, 768), np.linspace(0, 0.56, 432))
    snippets, covered = [], []
    for dilation in DILATIONS:
        for first in range(frames - 2 * dilation):
            which = first + dilation * np.arange(3)
            time_ = which[:, None, None] / 25
            ball = np.hypot(x - 0.2 - 0.1 * time_, y - 0.3) < 0.1
            clean = 0.2 + 0.6 * y + 0.2 * np.sin(9 * x + time_) * np.cos(7 * y) ** 2 + 0.4 * ball
            told = np.exp(0.3 * random.standard_normal()) * clean + 0.1 * random.standard_normal()
            snippets.append(told.astype(np.float32))
            snippets[-1] += random.normal(0, NOISE, told.shape).astype(np.float32)
            covered.append(which)
    return snippets, covered


def published(folder: Path) -> dict[str, Sequence[float]]:
    """Loss of the solver, and of the published descent at its end and at its least."""
    losses = {}
    for run in ("coalign_a", "fast", "full", "uncapped"):
        stored = np.load(folder / f"{run}.npz")
        groups = range(len(stored["dilations"]))
        pairs = [
            (snippet[:, 0], start + int(dilation) * np.arange(3))
            for group, dilation in zip(groups, stored["dilations"], strict=True)
            for start, snippet in enumerate(stored[f"snip{group}"])
        ]
        snippets, covered = [snippet for snippet, _ in pairs], [which for _, which in pairs]
        end = [
            np.concatenate([stored[f"{name}{group}"].ravel() for group in groups])
            for name in ("scale", "shift")
        ]
        losses[run] = (
            coalign(snippets, covered).loss,
            coalignment_loss(snippets, covered, end[0], end[1]),
            float(stored["loss_history"][:, 0].min()),
        )
    return losses


if __name__ == "__main__":
    main()
