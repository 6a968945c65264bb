"""How far are live ratios off, beside those of a lift, and what do dropped frames cost?

    python benchmarks/live_accuracy.py [--clips 4] [--points 100]

Rendered clips. Points are those that the live run puts down; the truth is the rendered depth where
each is seen, over that where it was put down. ``lift`` follows the same points from the same
frames and is scored in the frames in which live has a ratio. Scored are points that are visible,
with their whole surroundings on one surface (3x3 pixels within 8 %).
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from _report import print_table, write_results
from lift_speed import CLIP_SEED
from numpy.typing import NDArray

from kinedepth.evaluation.sequences import read_depth
from kinedepth.lifting import lift
from kinedepth.live import LiveLifter, LiveSettings, LiveState
from kinedepth.synthesis.clip_files import write_clips
from kinedepth.tracking._passes import WORKING_SIDE
from kinedepth.tracking.flow import FlowSettings
from kinedepth.tracks import Queries
from kinedepth.video import Video, load_video

MOVING = np.log(1.05)
DEFAULT = LiveSettings()
SETTINGS = {
    "live": DEFAULT,
    "live, windows both ways": replace(DEFAULT, both_ways=True),
    "live, a window every second frame": replace(DEFAULT, every=2),
    "live, the lift's tracker": replace(DEFAULT, side=WORKING_SIDE, flow=FlowSettings()),
}

Errors = NDArray[np.float64]
"""``(K, 2)``: estimated and true log ratio."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--clips", type=int, default=4)
    parser.add_argument("--points", type=int, default=100)
    parser.add_argument("--clips-folder", type=Path, default=Path("runs/benchmark_clips"))
    arguments = parser.parse_args()
    write_clips(arguments.clips_folder, arguments.clips, frames=48, seed=CLIP_SEED, tracks=512)
    errors: dict[str, list[Errors]] = {}
    for clip in range(arguments.clips):
        path = arguments.clips_folder / f"clip{clip:04d}"
        video = load_video(path.with_suffix(".mp4"))
        with np.load(f"{path}_depth.npz", allow_pickle=False) as file:
            depth = file["depth"].astype(np.float32)
        for name, found in score_clip(video, depth, arguments.points, clip).items():
            errors.setdefault(name, []).append(found)
    figures = {name: summary(np.concatenate(parts)) for name, parts in errors.items()}
    show(figures)
    print("written:", write_results("live_accuracy", figures).name)


def score_clip(video: Video, depth: NDArray[np.float32], points: int, seed: int) -> dict:
    """Errors of every way to follow one clip."""
    frames = np.concatenate([block for _, block in video.blocks()])
    every = range(len(frames))
    states = push(frames, every, points, DEFAULT)
    results = {"live": live_errors(states, every, depth)}
    results["lift, same points and frames"] = lift_errors(video, states, depth)
    for name, settings in list(SETTINGS.items())[1:]:
        results[name] = live_errors(push(frames, every, points, settings), every, depth)
    half = list(every)[::2]
    results["live, every second frame dropped"] = live_errors(
        push(frames, half, points, DEFAULT), half, depth
    )
    # As on a machine that is busy at times: after a frame, none, one or two are dropped.
    steps = np.random.default_rng(seed).integers(1, 4, len(frames))
    uneven = [int(i) for i in np.cumsum(steps) - steps[0] if i < len(frames)]
    results["live, 0 to 2 frames dropped at random"] = live_errors(
        push(frames, uneven, points, DEFAULT), uneven, depth
    )
    return results


def push(
    frames: NDArray[np.uint8], chosen: Sequence[int], points: int, settings: LiveSettings
) -> list[LiveState]:
    lifter = LiveLifter(points, settings=settings, device="cpu")
    return [lifter.push(frames[index], index / 30) for index in chosen]


def live_errors(
    states: list[LiveState], chosen: Sequence[int], depth: NDArray[np.float32]
) -> Errors:
    """Of all points in all frames; ``chosen`` says which of the clip's frames were pushed."""
    start: dict[int, float] = {}
    found = []
    for state, frame in zip(states, chosen, strict=True):
        here = read_depth(depth[frame], state.xy)
        for number, now in zip(state.number, here, strict=True):
            start.setdefault(int(number), float(now))
        before = np.array([start[int(number)] for number in state.number])
        known = state.visible & np.isfinite(state.log_ratio) & (here > 0) & (before > 0)
        true = np.log(here[known] / before[known])
        found.append(np.stack([state.log_ratio[known], true], axis=-1))
    return np.concatenate(found)


def lift_errors(video: Video, states: list[LiveState], depth: NDArray[np.float32]) -> Errors:
    """Of a lift of the same points, in the frames in which live tells a ratio."""
    born: dict[int, tuple[int, NDArray[np.float32]]] = {}
    for state in states:
        for number, xy in zip(state.number, state.xy, strict=True):
            born.setdefault(int(number), (state.frame, xy))
    numbers = np.array(sorted(born))
    frame = np.array([born[number][0] for number in numbers])
    queries = Queries(np.stack([born[number][1] for number in numbers]), frame)
    lifted = lift(video, queries, device="cpu").tracks
    found = []
    for state in states:
        told = np.isfinite(state.log_ratio) & state.visible
        column = np.searchsorted(numbers, state.number[told])
        here = read_depth(depth[state.frame], lifted.tracks.xy[state.frame, column])
        before = np.array(
            [read_depth(depth[frame[c]], queries.xy[c][None])[0] for c in column]
        ).reshape(-1)
        known = lifted.tracks.visible[state.frame, column] & (here > 0) & (before > 0)
        true = np.log(here[known] / before[known])
        found.append(np.stack([lifted.log_ratio[state.frame, column[known]], true], axis=-1))
    return np.concatenate(found)


def summary(values: Errors) -> dict[str, float]:
    """Mean and median error of the log ratio, over all and over moving pairs."""
    error = np.abs(values[:, 0] - values[:, 1])
    moving = np.abs(values[:, 1]) > MOVING
    return {
        "pairs": len(values),
        "mean": float(error.mean()),
        "median": float(np.median(error)),
        "moving_mean": float(error[moving].mean()),
        "moving_median": float(np.median(error[moving])),
        "constant_mean": float(np.abs(values[:, 1]).mean()),
    }


def show(figures: dict[str, dict[str, float]]) -> None:
    rows = [
        [
            name,
            f"{f['mean']:.4f}",
            f"{f['median']:.4f}",
            f"{f['moving_mean']:.4f}",
            f"{f['moving_median']:.4f}",
            f"{f['constant_mean']:.4f}",
            str(f["pairs"]),
        ]
        for name, f in figures.items()
    ]
    columns = ["error of the log ratio", "mean", "median", "moving, mean", "moving, median"]
    print_table("live on rendered clips", [*columns, "constant depth", "pairs"], rows)


if __name__ == "__main__":
    main()
