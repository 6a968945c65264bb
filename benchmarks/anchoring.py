"""Anchoring to a depth source that flickers: paper's fit, robust fit, and the source itself.

    python benchmarks/anchoring.py [--tracker flow] [--clips 8] [--lifted-folder runs/lifted_clips]

The source is a rendered clip's true depth, blurred across edges, with blobs that are wrong by far
and a scale that differs by 10 % from frame to frame. "The source itself" reads it along the same
tracks and takes what it says.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
from _report import print_table, write_results
from numpy.typing import NDArray
from ratio_accuracy import CLIP_SEED

from kinedepth.anchoring import anchor_tracks, read_depth
from kinedepth.anchoring.paper import held
from kinedepth.evaluation.tapvid3d import average_scores, score_clip
from kinedepth.evaluation.tapvid3d_clips import ClipPrediction, ClipTruth, load_truth
from kinedepth.exporting.tracks_file import load_tracks3d, save_tracks3d
from kinedepth.lifting import lift
from kinedepth.synthesis.clip_files import read_clip_depth, write_clips
from kinedepth.tracks import Queries, Tracks3D

FLICKER = 0.1
"""Standard deviation of the log of the source's scale in a frame."""
BLUR = 1.5
"""Pixels (standard deviation) that edges are smeared over."""
BLOBS = 12
"""Blobs in view at a time, on average."""
SCALINGS = ("per_trajectory", "affine", "median", "none")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="small")
    parser.add_argument("--clips", type=int, default=8)
    parser.add_argument("--tracker", default="flow", help="A tracker, or true for true tracks.")
    parser.add_argument("--clips-folder", type=Path, default=Path("runs/benchmark_clips"))
    parser.add_argument("--lifted-folder", type=Path, help="Keeps lifted tracks between runs.")
    arguments = parser.parse_args()
    folder: Path = arguments.clips_folder
    if not folder.exists():
        write_clips(folder, arguments.clips, frames=48, seed=CLIP_SEED, tracks=512)

    scores: dict[str, dict[str, list[dict[str, float]]]] = {}
    for number, path in enumerate(sorted(folder.glob("clip*.json"))[: arguments.clips]):
        truth = load_truth(path.with_suffix(".npz"))
        depth = read_clip_depth(path.with_name(f"{path.stem}_depth.npz"))
        tracks = lifted_tracks(path, truth, arguments)
        for method, xyz in predictions(tracks, depth, seed=number).items():
            prediction = ClipPrediction(xyz, tracks.tracks.visible)
            for scaling in SCALINGS:
                clips = scores.setdefault(method, {}).setdefault(scaling, [])
                clips.append(score(truth, prediction, scaling))

    figures = {
        method: {scaling: average_scores(clips) for scaling, clips in by_scaling.items()}
        for method, by_scaling in scores.items()
    }
    for scaling in SCALINGS:
        source = figures["source itself"][scaling]["temporal_coherence"]
        rows = []
        for method, by_scaling in figures.items():
            found = by_scaling[scaling]
            share = found["temporal_coherence"] / source
            rows.append(
                [
                    method,
                    f"{100 * found['average_jaccard']:.1f}",
                    f"{100 * found['points_within']:.1f}",
                    f"{found['temporal_coherence']:.4f}",
                    f"{100 * share:.1f} %",
                ]
            )
        columns = [scaling, "3D-AJ", "APD", "TC", "TC against the source"]
        title = f"{arguments.clips} rendered clips, {arguments.tracker} tracks, flickering depth"
        print_table(title, columns, rows)
    print("written:", write_results(f"anchoring_{arguments.tracker}", figures).name)


def lifted_tracks(path: Path, truth: ClipTruth, arguments: argparse.Namespace) -> Tracks3D:
    """The clip's points, lifted; from an earlier run where ``--lifted-folder`` holds one."""
    kept = arguments.lifted_folder
    kept = kept and kept / f"{path.stem}_{arguments.tracker}_{arguments.model}.npz"
    if kept and kept.exists():
        return load_tracks3d(kept)
    true_tracks = arguments.tracker == "true"
    lifted = lift(
        path.with_suffix(".mp4"),
        None if true_tracks else Queries(truth.queries_xyt[:, :2], truth.query_frame),
        tracker=f"file:{path.with_suffix('.npz')}" if true_tracks else arguments.tracker,
        model=arguments.model,
        intrinsics=truth.intrinsics,
    )
    if kept:
        kept.parent.mkdir(parents=True, exist_ok=True)
        save_tracks3d(kept, lifted.tracks)
    return lifted.tracks


def predictions(
    tracks: Tracks3D, depth: NDArray[np.float32], seed: int
) -> dict[str, NDArray[np.float32]]:
    """Positions ``(T, N, 3)`` of every method."""
    size = (tracks.intrinsics.width, tracks.intrinsics.height)
    readings = read_depth(noised(depth, seed), tracks.tracks, size, "metric")
    # Where nothing is read, the last reading holds; where there never is one, the middle of all.
    read = held(readings.value.astype(np.float64))
    read = np.where(np.isfinite(read), read, np.nanmedian(read))
    return {
        "source itself": tracks.intrinsics.unproject(tracks.tracks.xy, read).astype(np.float32),
        "not anchored": tracks.xyz,
        "paper (Eq. 10-11)": anchor_tracks(tracks, readings, "paper").tracks.xyz,
        "robust": anchor_tracks(tracks, readings, "robust").tracks.xyz,
    }


def noised(depth: NDArray[np.float32], seed: int) -> Iterator[NDArray[np.float32]]:
    """Frames of a source that is wrong in the ways that depth models are."""
    rng = np.random.default_rng(seed)
    frames, height, width = depth.shape
    blobs = [_Blob(rng, frames, width, height) for _ in range(BLOBS * frames // 8)]
    rows, columns = np.mgrid[:height, :width]
    for frame in range(frames):
        # In disparity, as most models work: an edge becomes a slope between both surfaces.
        smeared = 1 / cv2.GaussianBlur(1 / depth[frame].clip(1e-3), (0, 0), BLUR)
        log_factor = np.full((height, width), rng.normal(0, FLICKER))
        for blob in blobs:
            if blob.start <= frame < blob.stop:
                distance = np.hypot(columns - blob.x, rows - blob.y) / blob.radius
                log_factor += blob.strength * np.exp(-(distance**2))
        yield (smeared * np.exp(log_factor)).astype(np.float32)


class _Blob:
    """A round patch where the source is wrong by far for some frames (8 on average)."""

    def __init__(self, rng: np.random.Generator, frames: int, width: int, height: int) -> None:
        self.x, self.y = rng.uniform(0, width), rng.uniform(0, height)
        self.radius = rng.uniform(0.03, 0.1) * width
        self.strength = rng.choice([-1, 1]) * rng.uniform(0.3, 0.8)
        length = int(rng.integers(1, 16))
        self.start = int(rng.integers(-length, frames))
        self.stop = self.start + length


def score(truth: ClipTruth, prediction: ClipPrediction, scaling: str) -> dict[str, float]:
    """The scores that are reported."""
    found = score_clip(truth, prediction, scaling)  # type: ignore[arg-type]
    return {key: found[key] for key in ("average_jaccard", "points_within", "temporal_coherence")}


if __name__ == "__main__":
    main()
