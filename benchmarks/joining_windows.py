"""Whole clips: windows added up (Eq. 9), windows at several steps fused, and rigid groups.

    python benchmarks/joining_windows.py [--model small] [--clips 8] [--tracker flow]

Error of the log depth ratio to the query frame over 48-frame rendered clips. The camera is not
told: rigid groups assume a field of view of 60 degrees, as a lift does.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from _report import print_table, write_results
from numpy.typing import NDArray
from ratio_accuracy import CLIP_SEED

from kinedepth.evaluation.rendered import score_lift
from kinedepth.lifting.joining import join
from kinedepth.lifting.ratios import estimate
from kinedepth.lifting.rigid import refine
from kinedepth.lifting.setup import prepare_lift
from kinedepth.lifting.tracks2d import track
from kinedepth.lifting.work import WorkInMemory
from kinedepth.seurat.windows import chain
from kinedepth.synthesis.clip_files import ClipTruth, read_clip_truth, write_clips
from kinedepth.tracks import Queries

METHODS = ("chained", "fused", "rigid groups")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="small")
    parser.add_argument("--clips", type=int, default=20)
    parser.add_argument("--tracker", default="flow")
    parser.add_argument("--clips-folder", type=Path, default=Path("runs/benchmark_clips"))
    arguments = parser.parse_args()
    write_clips(arguments.clips_folder, arguments.clips, frames=48, seed=CLIP_SEED, tracks=512)

    scores: dict[str, list[dict[str, float]]] = {"constant depth": []}
    for path in sorted(arguments.clips_folder.glob("clip*.json"))[: arguments.clips]:
        truth = read_clip_truth(path.with_suffix(".npz"))
        scores["constant depth"].append(score_lift(truth, np.zeros_like(truth.tracks_xy[..., 0])))
        for method, log_ratio in joined(path.with_suffix(".mp4"), truth, arguments).items():
            scores.setdefault(method, []).append(score_lift(truth, log_ratio))
    figures = {
        method: {key: float(np.mean([clip[key] for clip in clips])) for key in clips[0]}
        for method, clips in scores.items()
    }
    rows = [
        [method, *(f"{f[key]:.4f}" for key in ("mean", "end", "jitter"))]
        for method, f in figures.items()
    ]
    better = {}
    for method in METHODS[1:]:
        change = [figures[method][key] / figures["chained"][key] - 1 for key in figures[method]]
        rows.append([f"{method} against chained", *(f"{100 * c:+.0f} %" for c in change)])
        pairs = zip(scores[method], scores["chained"], strict=True)
        better[method] = float(np.mean([ours["mean"] < theirs["mean"] for ours, theirs in pairs]))
    columns = ["48-frame clips, flow tracks", "mean error", "in the last frame", "jitter"]
    print_table("error of the log depth ratio over whole clips", columns, rows)
    for method, share in better.items():
        print(f"{method}: a lower mean error than chained in {100 * share:.0f} % of the clips")
    results = {**figures, "each clip": scores, "share of clips better than chained": better}
    print("written:", write_results("joining_windows", results).name)


def joined(
    video: Path, truth: ClipTruth, arguments: argparse.Namespace
) -> dict[str, NDArray[np.float32]]:
    """Log depth ratio ``(T, N)`` to the query frame, the same windows joined in every way."""
    queries = Queries(truth.queries_xyt[:, :2], truth.queries_xyt[:, 2].astype(np.int64))
    setup = prepare_lift(video, queries, tracker=arguments.tracker, model=arguments.model)
    work = WorkInMemory()
    ratios = estimate(setup, work, *track(setup, work))
    chained = chain(ratios.all(), len(truth.visibility))
    chained -= chained[queries.frame, np.arange(len(queries))]
    fused = join(setup, work, ratios)
    before = fused.whole().log_ratio.copy()
    together = refine(setup, work, fused).whole().log_ratio
    return dict(zip(METHODS, (chained.astype(np.float32), before, together), strict=True))


if __name__ == "__main__":
    main()
