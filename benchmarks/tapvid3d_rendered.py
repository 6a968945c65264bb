"""The paper's tables on rendered clips: predicted and scored as TAPVid-3D is.

    python benchmarks/tapvid3d_rendered.py [--clips 8] [--predictions-folder FOLDER]

The clips of ``ratio_accuracy.py``. Methods go through the door of ``kinedepth predict
tapvid3d``; predictions that are there are taken over. The paper's own data are other clips.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from _report import write_results
from ratio_accuracy import CLIP_SEED

from kinedepth.evaluation.tapvid3d_clips import load_prediction, load_truth
from kinedepth.evaluation.tapvid3d_files import ClipFile, find_clips
from kinedepth.evaluation.tapvid3d_scaling import Scaling
from kinedepth.evaluation.tapvid3d_split import score_split
from kinedepth.evaluation.tapvid3d_tables import format_table
from kinedepth.prediction.methods import make_method
from kinedepth.prediction.split import predict_split
from kinedepth.synthesis.clip_files import write_clips

METHODS = {
    "constant depth + flow": ("constant", "flow tracks"),
    "density, Eq. 4 + flow": ("density", "flow tracks"),
    "kinedepth small + flow": ("seurat", "flow"),
    "oracle depth + flow": ("oracle", "flow tracks"),
    "constant depth + oracle tracker": ("constant", "true tracks"),
    "density, Eq. 4 + oracle tracker": ("density", "true tracks"),
    "kinedepth small + oracle tracker": ("seurat", "true tracks"),
}
"""Depth and tracker of each row. "flow tracks" are those of kinedepth's own row, taken over: the
same 2D tracks under every depth. With tracks from files these are each other's neighbours."""

SCALINGS: tuple[Scaling, ...] = ("per_trajectory", "affine")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--clips", type=int, default=8)
    parser.add_argument("--clips-folder", type=Path, default=Path("runs/benchmark_clips"))
    parser.add_argument("--predictions-folder", type=Path, default=Path("runs/tapvid3d_rendered"))
    arguments = parser.parse_args()
    write_clips(arguments.clips_folder, arguments.clips, frames=48, seed=CLIP_SEED, tracks=512)
    clips = find_clips(arguments.clips_folder)[: arguments.clips]

    base = arguments.predictions_folder
    base.mkdir(parents=True, exist_ok=True)
    predict_split(clips, base / "seurat_flow", make_method())
    save_tracks(clips, base / "seurat_flow", base / "flow_tracks")
    trackers = {
        "flow": "flow",
        "flow tracks": f"file:{base}/flow_tracks/{{clip}}.npz",
        "true tracks": f"file:{arguments.clips_folder}/{{clip}}.npz",
    }
    rows = []
    for name, (depth, kind) in METHODS.items():
        tracker = trackers[kind]
        folder = base / f"{depth}_{kind.replace(' ', '_')}"
        outcome = predict_split(clips, folder, make_method(depth, tracker))
        if outcome.failed:
            raise SystemExit(f"failed: {outcome.failed}")
        rows.append(score_split(clips, folder, SCALINGS, name=name)[0])
    for table in zip(*rows, strict=True):
        print(format_table(table), end="\n\n")
    figures = {
        scaling: {scores.name: scores.average for scores in table}
        for scaling, table in zip(SCALINGS, zip(*rows, strict=True), strict=True)
    }
    print("written:", write_results("tapvid3d_rendered", figures).name)


def save_tracks(clips: list[ClipFile], predictions: Path, folder: Path) -> None:
    """The 2D tracks under 3D predictions, as files that ``file:PATH`` reads."""
    folder.mkdir(exist_ok=True)
    for clip in clips:
        truth = load_truth(clip.path)
        prediction = load_prediction(predictions / clip.place, truth)
        np.savez_compressed(
            folder / clip.place,
            tracks_xy=truth.intrinsics.project(prediction.xyz),
            visibility=prediction.visible,
            queries_xyt=truth.queries_xyt,
        )


if __name__ == "__main__":
    main()
