"""What ``--consistent`` does to depth whose scale and shift are off anew in every frame.

The "model" is the truth (holes filled with the nearest reading) with a log scale and a shift for
each frame drawn from normal distributions, as depth and as disparity. AbsRel and TAE are told
before, after, and TAE of the truth itself, which motion of bodies and sensor noise leave. Run
from the repository's root::

    python benchmarks/consistent_depth.py --rendered FOLDER --sequences FOLDER [--frames 32]
        [--only CLIP ...] [--results NAME]
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from _report import print_table, write_results
from numpy.typing import NDArray
from scipy.ndimage import distance_transform_edt

from kinedepth.camera import Intrinsics
from kinedepth.consistent_depth import follow_points
from kinedepth.dense.consistent import find_corrections
from kinedepth.depth import DepthKind, DepthVideo
from kinedepth.evaluation.depth_datasets import load_dataset
from kinedepth.evaluation.depth_truth import CameraPath, DepthTruth
from kinedepth.evaluation.video_depth import evaluate_depth
from kinedepth.tracking.registry import make_tracker
from kinedepth.video import load_video

LOG_SCALE_NOISE = 0.1
SHIFT_NOISE = 0.05
"""Relative to the median of all values."""
SPACES: dict[str, DepthKind] = {
    "depth": "scale_invariant",
    "disparity": "affine_invariant_disparity",
}


@dataclass(frozen=True)
class Footage:
    """A clip's truth, and where its frames are."""

    truth: DepthTruth
    frames: Path


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rendered", type=Path, help="folder of rendered clips")
    parser.add_argument("--sequences", type=Path, help="folder of RGB-D sequences")
    parser.add_argument("--frames", type=int, default=32, help="of each clip")
    parser.add_argument("--clips", type=int, default=4, help="of the rendered ones")
    parser.add_argument("--only", nargs="+", help="clips by name, e.g. tartanair_hospital")
    parser.add_argument("--results", default="consistent_depth", help="name of the results file")
    arguments = parser.parse_args()
    clips: list[Footage] = []
    if arguments.rendered:
        clips += [
            Footage(truth, arguments.rendered / f"{truth.name}.mp4")
            for truth in load_dataset(arguments.rendered, "synth")[: arguments.clips]
        ]
    if arguments.sequences:
        clips += [
            Footage(truth, arguments.sequences / truth.name / "rgb")
            for truth in load_dataset(arguments.sequences, "rgbd")
        ]
    figures: dict[str, Any] = {"frames": arguments.frames}
    for clip in clips:
        if arguments.only and clip.truth.name not in arguments.only:
            continue
        figures[clip.truth.name] = scored(clip, arguments.frames)
        print_table(
            f"{clip.truth.name}: before -> after",
            ["noise in", "AbsRel", "TAE", "TAE of truth", "AbsRel, no noise", "TAE, no noise"],
            [[space, *row(figures[clip.truth.name][space])] for space in SPACES],
        )
        path = write_results(arguments.results, figures)  # What is done is kept.
        print(f"Wrote {path}.")


def row(found: dict[str, dict[str, float | None]]) -> list[str]:
    """Figures of one space for the table."""

    def change(name: str, before: str, after: str) -> str:
        pair = (found[before][name], found[after][name])
        return " -> ".join("-" if value is None else f"{value:.4f}" for value in pair)

    truth = found["noised"]["tae_of_truth"]
    return [
        change("abs_rel", "noised", "noised_consistent"),
        change("tae", "noised", "noised_consistent"),
        "-" if truth is None else f"{truth:.3f}",
        change("abs_rel", "clean", "clean_consistent"),
        change("tae", "clean", "clean_consistent"),
    ]


def scored(clip: Footage, frames: int) -> dict[str, dict[str, dict[str, float | None]]]:
    """Scores with noise and without, before and after, in each space."""
    truth = first_frames(clip.truth, frames)
    depth = np.stack([filled(truth, frame) for frame in truth.read()])
    video = load_video(clip.frames, slice(0, truth.frames))
    followed = list(follow_points(video, make_tracker("flow")))
    result: dict[str, dict[str, dict[str, float | None]]] = {}
    for space, kind in SPACES.items():
        values = depth if space == "depth" else 1 / depth
        random = np.random.default_rng(0)
        scale = np.exp(LOG_SCALE_NOISE * random.standard_normal((len(depth), 1, 1)))
        shift = SHIFT_NOISE * np.median(values) * random.standard_normal((len(depth), 1, 1))
        result[space] = {}
        for name, given in (("clean", values), ("noised", scale * values + shift)):
            given = given.astype(np.float32)
            corrections = find_corrections(given, followed, kind)
            after = [corrections.applied(index, frame) for index, frame in enumerate(given)]
            for stage, frames_ in ((name, given), (f"{name}_consistent", np.stack(after))):
                scores = evaluate_depth(DepthVideo(frames_, kind, video.fps), truth)
                result[space][stage] = {
                    "abs_rel": scores.abs_rel,
                    "tae": scores.tae,
                    "tae_of_truth": scores.tae_of_truth,
                }
    return result


def first_frames(truth: DepthTruth, count: int) -> DepthTruth:
    """The first ``count`` frames of a clip."""
    count = min(count, truth.frames)

    def read() -> Iterable[NDArray]:
        return islice(truth.read(), count)

    cameras = truth.cameras
    if cameras is not None:
        intrinsics: list[Intrinsics] = list(cameras.intrinsics)[:count]
        cameras = CameraPath(intrinsics, cameras.camera_to_world[:count])
    return DepthTruth(
        truth.name,
        count,
        truth.height,
        truth.width,
        read,
        farthest=truth.farthest,
        cameras=cameras,
    )


def filled(truth: DepthTruth, frame: NDArray) -> NDArray[np.float64]:
    """A frame whose holes hold the nearest reading."""
    holes = ~truth.counts(frame)
    place = distance_transform_edt(holes, return_distances=False, return_indices=True)
    return np.asarray(frame, dtype=np.float64)[tuple(place)]


if __name__ == "__main__":
    main()
