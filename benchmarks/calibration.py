"""Is the standard deviation of the log ratio honest? Fits it, and tests it on other clips.

    python benchmarks/calibration.py [--model small] [--write]

Lifts points of rendered clips (some to fit, those of the benchmarks to test), compares with their
true depth, hidden points included, fits the coefficients of ``Calibration``
(``kinedepth/seurat/uncertainty.py``) to the first and prints how many errors of the second lie
inside one and two standard deviations: 68 and 95 % would be perfect. First for the network alone,
then, with what that gave, for network and rigid groups together; the camera is not told.
``--write`` stores the coefficients in the model's file.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
from _report import print_table, write_results
from numpy.typing import NDArray
from ratio_accuracy import CLIP_SEED
from scipy.optimize import minimize
from tracker_noise import CLIP_SEED as NOISE_SEED

from kinedepth.geometry.refining import refine_ratios
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
from kinedepth.tracks import Queries, Tracks3D
from kinedepth.video import load_video

FIT_SETS = ((Path("runs/noise_clips"), NOISE_SEED, 8), (Path("runs/joint_clips"), 61, 12))
"""Folder, seed and number of the clips it is fitted on. How windows weigh in fusion was chosen by
them, too."""
LARGEST_CHANGE = 2.0
SAMPLES = 40_000
ONE, TWO = 0.683, 0.954
"""Shares of a normal distribution inside one and two standard deviations."""

LogStd = Callable[[NDArray[np.float64]], NDArray[np.float64]]
"""Log standard deviation ``(M,)`` of features ``(M, F)``."""


@dataclass(frozen=True)
class Errors:
    """Errors of log ratios: what their deviation is read from ``(M, F)``, ``size (M,)``,
    ``seen (M,)``, ``clip (M,)``."""

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

    fit_lifts = [lift for each in FIT_SETS for lift in lifted(clips(*each), arguments)]
    test_lifts = lifted(clips(arguments.test_folder, CLIP_SEED, arguments.clips), arguments)
    errors = network_errors(fit_lifts), network_errors(test_lifts)
    calibration = fit(errors[0])
    figures: dict[str, object] = {"model": arguments.model}
    rows = table("network alone", errors, calibration.log_std, figures)
    errors = refined_errors(fit_lifts, calibration), refined_errors(test_lifts, calibration)
    calibration = fit_refined(errors[0], calibration)
    rows += table("with rigid groups", errors, refined_log_std(calibration), figures)
    figures["calibration"] = asdict(calibration)
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


@dataclass(frozen=True)
class Lift:
    """Points of a clip as the network alone sees them, and the truth ``(T, N)``."""

    tracks: Tracks3D
    times: NDArray[np.float64]
    features: NDArray[np.float64]  # (T, N, 4)
    true: NDArray[np.float64]
    seen: NDArray[np.bool_]

    def errors(
        self, features: NDArray[np.float64], log_ratio: NDArray[np.floating], clip: int
    ) -> Errors:
        """Errors of all points in all frames but their query frames."""
        start = self.tracks.query_frame
        kept = np.arange(len(self.true))[:, None] != start
        kept &= np.abs(self.true) < LARGEST_CHANGE
        size = np.abs(log_ratio - self.true)[kept]
        return Errors(features[kept], size, self.seen[kept], np.full(len(size), clip))


def lifted(paths: list[Path], arguments: argparse.Namespace) -> list[Lift]:
    """Lifts of the clips, without rigid groups."""
    found = []
    for path in paths:
        truth = read_clip_truth(path.with_suffix(".npz"))
        video = load_video(path.with_suffix(".mp4"))
        chosen = slice(None, None, max(1, truth.queries_xyt.shape[0] // arguments.points))
        start = truth.queries_xyt[chosen, 2].astype(np.int64)
        queries = Queries(truth.queries_xyt[chosen, :2], start)
        setup = prepare_lift(video, queries, model=arguments.model, device="cpu")
        work = WorkInMemory()
        ratios = estimate(setup, work, *track(setup, work))
        tracks = join(setup, work, ratios).whole()
        totals = running_totals(squared_doubts(ratios.all(), tracks.log_ratio))
        features = path_features(totals, QueryTotals.of(totals, start))
        depth = np.maximum(truth.tracks_xyz[:, chosen, 2], 1e-6)
        true = np.log(depth / depth[start, np.arange(len(start))])
        found.append(Lift(tracks, video.times, features, true, truth.visibility[:, chosen]))
    return found


def joined(parts: list[Errors]) -> Errors:
    """Errors of all clips in one."""
    return Errors(
        *(np.concatenate([getattr(part, name) for part in parts]) for name in vars(parts[0]))
    )


def network_errors(lifts: list[Lift]) -> Errors:
    """Errors of the network's joined windows, with ``doubt_features``."""
    return joined(
        [each.errors(each.features, each.tracks.log_ratio, n) for n, each in enumerate(lifts)]
    )


def refined_errors(lifts: list[Lift], calibration: Calibration) -> Errors:
    """Errors with rigid groups; both standard deviations that theirs is read from."""
    parts = []
    for number, each in enumerate(lifts):
        alone = calibration.std(each.features)
        alone[each.tracks.query_frame, np.arange(alone.shape[1])] = 0
        tracks = replace(each.tracks, log_ratio_std=alone.astype(np.float32))
        refined = refine_ratios(tracks, each.times, focal_known=False)
        both = np.stack([refined.log_ratio_std, alone], axis=-1)
        parts.append(each.errors(both, refined.log_ratio, number))
    return joined(parts)


def fit(errors: Errors) -> Calibration:
    """Coefficients for the network alone."""
    start = np.array([-0.3, 0.7, 0.2, 0.1, 0.3])
    best = fitted(errors, lambda features, c: Calibration(*c).log_std(features), start)
    return Calibration(*best)


def fit_refined(errors: Errors, calibration: Calibration) -> Calibration:
    """The same with those for rigid groups."""

    def with_rigid(coefficients: Sequence[float]) -> Calibration:
        names = ("rigid_offset", "rigid_own", "rigid_network")
        return replace(calibration, **dict(zip(names, coefficients, strict=True)))

    def log_std(features: NDArray[np.float64], c: Sequence[float]) -> NDArray[np.float64]:
        return refined_log_std(with_rigid(c))(features)

    return with_rigid(fitted(errors, log_std, np.array([-0.3, 0.45, 0.5])))


def refined_log_std(calibration: Calibration) -> LogStd:
    """Log standard deviation of features ``(M, 2)``, see :func:`refined_errors`."""
    return lambda features: calibration.log_refined_std(features[..., 0], features[..., 1])


def fitted(
    errors: Errors,
    log_std: Callable[[NDArray[np.float64], Sequence[float]], NDArray[np.float64]],
    start: NDArray[np.float64],
) -> list[float]:
    """Coefficients with which one and two standard deviations are the quantiles they should be.

    The pinball loss of both quantiles, in the logarithm, by Nelder and Mead's simplex.
    """
    some = np.random.default_rng(0).permutation(len(errors.size))[:SAMPLES]
    features, size = errors.features[some], np.log(errors.size[some] + 1e-5)

    def loss(coefficients: NDArray[np.float64]) -> float:
        left = size - log_std(features, coefficients.tolist())
        return pinball(left, ONE) + 2 * pinball(left - np.log(2), TWO)

    simplex = np.vstack([start, start + 0.2 * np.eye(len(start))])
    best = minimize(
        loss,
        start,
        method="Nelder-Mead",
        options={"maxiter": 6000, "xatol": 1e-4, "fatol": 1e-7, "initial_simplex": simplex},
    )
    return [round(float(value), 4) for value in best.x]


def pinball(left: NDArray[np.float64], share: float) -> float:
    """Least where ``share`` of what is left is below zero."""
    return float(np.where(left > 0, share * left, (share - 1) * left).mean())


def table(
    name: str, errors: tuple[Errors, Errors], log_std: LogStd, figures: dict[str, object]
) -> list[list[str]]:
    """Rows of shares inside one and two standard deviations; adds them to ``figures``."""
    rows = []
    for where, each in zip(("fitted on", "other clips"), errors, strict=True):
        for part, chosen in (
            ("all", np.ones_like(each.seen)),
            ("seen", each.seen),
            ("hidden", ~each.seen),
        ):
            inside = coverage(log_std, each, chosen)
            figures[f"{name}, {where}, {part}"] = inside
            rows.append([f"{name}, {where}, {part}", *(f"{100 * s:.1f} %" for s in inside)])
    tested = errors[1]
    by_clip = [coverage(log_std, tested, tested.clip == n) for n in np.unique(tested.clip)]
    figures[f"{name}, other clips, each"] = by_clip
    spread = [
        f"{100 * min(c[k] for c in by_clip):.0f} to {100 * max(c[k] for c in by_clip):.0f} %"
        for k in (0, 1)
    ]
    return [*rows, [f"{name}, other clips, one by one", *spread]]


def coverage(log_std: LogStd, errors: Errors, chosen: NDArray[np.bool_]) -> tuple[float, float]:
    """Shares of the chosen errors inside one and two standard deviations."""
    std = np.exp(log_std(errors.features[chosen]))
    size = errors.size[chosen]
    return float((size < std).mean()), float((size < 2 * std).mean())


if __name__ == "__main__":
    main()
