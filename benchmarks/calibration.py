"""Is the standard deviation of the log ratio honest? Fits it, and tests it on other clips.

    python benchmarks/calibration.py [--model small] [--write]

Lifts points of rendered clips (some to fit, those of the benchmarks to test), compares with their
true depth, hidden points included, fits the coefficients of ``Calibration``
(``kinedepth/seurat/uncertainty.py``) to the first and prints how many errors of the second lie
inside one and two standard deviations: 68 and 95 % would be perfect. ``--write`` stores the
coefficients in the model's file.
"""

from __future__ import annotations

import argparse
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from _report import print_table, write_results
from numpy.typing import NDArray
from ratio_accuracy import CLIP_SEED
from scipy.optimize import minimize
from tracker_noise import CLIP_SEED as NOISE_SEED

from kinedepth.lifting.joining import join
from kinedepth.lifting.ratios import estimate
from kinedepth.lifting.setup import prepare_lift
from kinedepth.lifting.tracks2d import track
from kinedepth.lifting.work import WorkInMemory
from kinedepth.seurat.checkpoint import find_model, write_calibration
from kinedepth.seurat.uncertainty import (
    Calibration,
    QueryTotals,
    path_features,
    running_totals,
    squared_doubts,
)
from kinedepth.synthesis.clip_files import read_clip_truth, write_clips
from kinedepth.tracks import Queries
from kinedepth.video import load_video

FIT_SETS = ((Path("runs/noise_clips"), NOISE_SEED, 8), (Path("runs/joint_clips"), 61, 12))
"""Folder, seed and number of the clips it is fitted on. How windows weigh in fusion was chosen by
them, too."""
LARGEST_CHANGE = 2.0
SAMPLES = 40_000
ONE, TWO = 0.683, 0.954
"""Shares of a normal distribution inside one and two standard deviations."""


@dataclass(frozen=True)
class Errors:
    """Errors of log ratios: ``features (M, 4)``, ``size (M,)``, ``seen (M,)``, ``clip (M,)``."""

    features: NDArray[np.float64]
    size: NDArray[np.float64]
    seen: NDArray[np.bool_]
    clip: NDArray[np.int64]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="small")
    parser.add_argument("--clips", type=int, default=20, help="to test on")
    parser.add_argument("--points", type=int, default=256, help="of each clip")
    parser.add_argument("--test-folder", type=Path, default=Path("runs/benchmark_clips"))
    parser.add_argument("--write", action="store_true", help="store the fit in the model's file")
    arguments = parser.parse_args()

    fit_sets = [clips(*each) for each in FIT_SETS]
    fitted = gather([path for paths in fit_sets for path in paths], arguments)
    calibration = fit(fitted)
    tested = gather(clips(arguments.test_folder, CLIP_SEED, arguments.clips), arguments)
    figures: dict[str, object] = {"model": arguments.model, "calibration": asdict(calibration)}
    rows = []
    for name, errors in (("fitted on", fitted), ("other clips", tested)):
        for part, chosen in (
            ("all", np.ones_like(errors.seen)),
            ("seen", errors.seen),
            ("hidden", ~errors.seen),
        ):
            inside = coverage(calibration, errors, chosen)
            figures[f"{name}, {part}"] = inside
            rows.append([f"{name}, {part}", *(f"{100 * share:.1f} %" for share in inside)])
    each = [coverage(calibration, tested, tested.clip == n) for n in np.unique(tested.clip)]
    figures["other clips, each"] = each
    spread = [
        f"{100 * min(c[k] for c in each):.0f} to {100 * max(c[k] for c in each):.0f} %"
        for k in (0, 1)
    ]
    rows.append(["other clips, one by one", *spread])
    columns = ["errors of the log ratio over 48-frame clips", "inside one", "inside two"]
    print_table("standard deviations (68 and 95 % would be perfect)", columns, rows)
    print("calibration:", calibration)
    if arguments.write:
        write_calibration(find_model(arguments.model), calibration)
        print("stored in", find_model(arguments.model).name)
    print("written:", write_results("calibration", figures).name)


def clips(folder: Path, seed: int, count: int) -> list[Path]:
    """The first clips of a set, rendered where they are not there yet."""
    write_clips(folder, count, frames=48, seed=seed, tracks=512)
    return sorted(folder.glob("clip*.json"))[:count]


def gather(paths: list[Path], arguments: argparse.Namespace) -> Errors:
    """Errors of all points in all frames but their query frames."""
    parts = []
    for number, path in enumerate(paths):
        truth = read_clip_truth(path.with_suffix(".npz"))
        video = load_video(path.with_suffix(".mp4"))
        chosen = slice(None, None, max(1, truth.queries_xyt.shape[0] // arguments.points))
        start = truth.queries_xyt[chosen, 2].astype(np.int64)
        queries = Queries(truth.queries_xyt[chosen, :2], start)
        setup = prepare_lift(video, queries, model=arguments.model, device="cpu")
        work = WorkInMemory()
        ratios = estimate(setup, work, *track(setup, work))
        joined = join(setup, work, ratios).whole().log_ratio
        totals = running_totals(squared_doubts(ratios.all(), joined))
        depth = np.maximum(truth.tracks_xyz[:, chosen, 2], 1e-6)
        true = np.log(depth / depth[start, np.arange(len(start))])
        kept = np.arange(len(video))[:, None] != start
        kept &= np.abs(true) < LARGEST_CHANGE
        parts.append(
            Errors(
                path_features(totals, QueryTotals.of(totals, start))[kept],
                np.abs(joined - true)[kept],
                truth.visibility[:, chosen][kept],
                np.full(int(kept.sum()), number),
            )
        )
    return Errors(
        *(np.concatenate([getattr(part, name) for part in parts]) for name in vars(parts[0]))
    )


def fit(errors: Errors) -> Calibration:
    """Coefficients with which one and two standard deviations are the quantiles they should be.

    The pinball loss of both quantiles, in the logarithm, by Nelder and Mead's simplex.
    """
    some = np.random.default_rng(0).permutation(len(errors.size))[:SAMPLES]
    features, size = errors.features[some], np.log(errors.size[some] + 1e-5)

    def loss(coefficients: NDArray[np.float64]) -> float:
        left = size - Calibration(*coefficients).log_std(features)
        return pinball(left, ONE) + 2 * pinball(left - np.log(2), TWO)

    start = np.array([-0.3, 0.7, 0.2, 0.1, 0.3])
    simplex = np.vstack([start, start + 0.2 * np.eye(5)])
    best = minimize(
        loss,
        start,
        method="Nelder-Mead",
        options={"maxiter": 6000, "xatol": 1e-4, "fatol": 1e-7, "initial_simplex": simplex},
    )
    return Calibration(*(round(float(value), 4) for value in best.x))


def pinball(left: NDArray[np.float64], share: float) -> float:
    """Least where ``share`` of what is left is below zero."""
    return float(np.where(left > 0, share * left, (share - 1) * left).mean())


def coverage(
    calibration: Calibration, errors: Errors, chosen: NDArray[np.bool_]
) -> tuple[float, float]:
    """Shares of the chosen errors inside one and two standard deviations."""
    std = np.exp(calibration.log_std(errors.features[chosen]))
    size = errors.size[chosen]
    return float((size < std).mean()), float((size < 2 * std).mean())


if __name__ == "__main__":
    main()
