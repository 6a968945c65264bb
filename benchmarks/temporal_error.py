"""What TAE says of true depth, and what the depth benchmark says of errors that were put in.

    python benchmarks/temporal_error.py --sequences FOLDER

The first table takes the sensor's own depth of RGB-D sequences for a prediction: a perfect one,
so all there is to see is noise of the sensor, objects that move, and flaws of the metric. The
second takes its disparity, scaled and shifted, each frame off by a factor of 2 % on average
(normal noise, seed 0; holes are filled with the nearest reading): the alignment has to find scale
and shift, AbsRel the mean magnitude of the noise.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np
from _report import print_table, write_results
from numpy.typing import NDArray
from scipy.ndimage import distance_transform_edt

from kinedepth.depth import DepthVideo
from kinedepth.evaluation.depth_datasets import load_dataset
from kinedepth.evaluation.depth_truth import DepthTruth
from kinedepth.evaluation.temporal import as_published, temporal_alignment_error, temporal_error
from kinedepth.evaluation.video_depth import evaluate_depth

NOISE = 0.02


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sequences", type=Path, required=True, help="folder of RGB-D sequences")
    clips = load_dataset(parser.parse_args().sequences, "rgbd")
    figures: dict[str, Any] = {
        clip.name: {"of_truth": of_truth(clip), "of_noise": of_noise(clip)} for clip in clips
    }
    known = {name: each["of_truth"] for name, each in figures.items() if each["of_truth"]}
    print_table(
        "TAE of the truth",
        ["sequence", "TAE", "compared", "as published"],
        [
            [name, f"{each['tae']:.3f}", f"{each['compared']:.2f}", f"{each['as_published']:.3f}"]
            for name, each in known.items()
        ],
    )
    print_table(
        "A prediction off by 2 % a frame",
        ["sequence", "mean |noise|", "AbsRel", "delta1", "TAE"],
        [
            [
                name,
                *("-" if value is None else f"{value:.4f}" for value in each["of_noise"].values()),
            ]
            for name, each in figures.items()
        ],
    )
    print(f"Wrote {write_results('temporal_error', figures)}.")


def of_truth(clip: DepthTruth) -> dict[str, float | None] | None:
    """Both kinds of TAE; None without poses."""
    if clip.cameras is None:
        return None
    frames = [np.where(clip.counts(frame), frame, np.nan) for frame in clip.read()]
    path = (clip.cameras.intrinsics, clip.cameras.camera_to_world)
    mended = temporal_alignment_error(frames, *path, temporal_error)
    filled = [np.nan_to_num(frame) for frame in frames]
    published = temporal_alignment_error(filled, *path, as_published)
    return {"tae": mended.tae, "compared": mended.coverage, "as_published": published.tae}


def of_noise(clip: DepthTruth) -> dict[str, float | None]:
    """The benchmark's figures for a prediction whose error is known."""
    noise = NOISE * np.random.default_rng(0).standard_normal(clip.frames)
    depth = np.stack([filled(clip, frame) for frame in clip.read()])
    disparity = 3 / depth * (1 + noise[:, None, None]) + 0.7
    prediction = DepthVideo(disparity.astype(np.float32), "affine_invariant_disparity", 25.0)
    scores = evaluate_depth(prediction, clip)
    return {
        "noise": float(np.abs(noise).mean()),
        "abs_rel": scores.abs_rel,
        "delta1": scores.delta1,
        "tae": scores.tae,
    }


def filled(clip: DepthTruth, frame: NDArray) -> NDArray[np.float64]:
    """A frame whose holes hold the nearest reading."""
    place = distance_transform_edt(~clip.counts(frame), return_distances=False, return_indices=True)
    return np.asarray(frame, dtype=np.float64)[tuple(place)]


if __name__ == "__main__":
    main()
