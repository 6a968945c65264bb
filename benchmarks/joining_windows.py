"""Whole clips: windows added up (Eq. 9) against windows at several steps, fused.

    python benchmarks/joining_windows.py [--model small] [--clips 8] [--tracker flow]

Error of the log depth ratio to the query frame over 48-frame rendered clips.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from _report import print_table, write_results
from numpy.typing import NDArray
from ratio_accuracy import CLIP_SEED

from kinedepth.evaluation.rendered import score_lift
from kinedepth.lifting.ratios import estimate
from kinedepth.lifting.setup import prepare_lift
from kinedepth.lifting.tracks2d import track
from kinedepth.lifting.work import WorkInMemory
from kinedepth.seurat.windows import chain, fuse
from kinedepth.synthesis.clip_files import ClipTruth, read_clip_truth, write_clips
from kinedepth.tracks import Queries

METHODS = {"chained": chain, "fused": fuse}


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
    change = [figures["fused"][key] / figures["chained"][key] - 1 for key in figures["fused"]]
    rows.append(["fused against chained", *(f"{100 * c:+.0f} %" for c in change)])
    better = np.mean(
        [f["mean"] < c["mean"] for f, c in zip(scores["fused"], scores["chained"], strict=True)]
    )
    columns = ["48-frame clips, flow tracks", "mean error", "in the last frame", "jitter"]
    print_table("error of the log depth ratio over whole clips", columns, rows)
    print(f"fused has the lower mean error in {100 * better:.0f} % of {arguments.clips} clips")
    results = {**figures, "each clip": scores, "share of clips where fused is better": better}
    print("written:", write_results("joining_windows", results).name)


def joined(
    video: Path, truth: ClipTruth, arguments: argparse.Namespace
) -> dict[str, NDArray[np.float32]]:
    """Log depth ratio ``(T, N)`` to the query frame, the same windows joined by every method."""
    queries = Queries(truth.queries_xyt[:, :2], truth.queries_xyt[:, 2].astype(np.int64))
    setup = prepare_lift(video, queries, tracker=arguments.tracker, model=arguments.model)
    work = WorkInMemory()
    windows = estimate(setup, work, *track(setup, work)).all()
    at_query = (queries.frame, np.arange(len(queries)))
    results = {}
    for name, join in METHODS.items():
        log_depth = join(windows, len(truth.visibility))
        results[name] = (log_depth - log_depth[at_query]).astype(np.float32)
    return results


if __name__ == "__main__":
    main()
