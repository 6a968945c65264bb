"""What does the embedded tracker do wrong? Its errors, and those the training noise draws.

    python benchmarks/tracker_noise.py [--clips 8]

Renders clips (seed 31, half of them with poor texture), tracks points seeded at their true places
through windows of 8 frames at frame steps 1, 2 and 4, and prints the figures that
``TrackerNoise`` (``kinedepth/synthesis/noise.py``) was fitted to beside those of the noise itself.
Lengths are in half widths of the image; tracks are compared where they are truly seen and the
tracker says so.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from _report import print_table, write_results
from numpy.typing import NDArray

from kinedepth.seurat.windows import plan_windows
from kinedepth.synthesis.clip_files import read_clip_truth, write_clips
from kinedepth.synthesis.noise import TrackerNoise, disturb
from kinedepth.synthesis.scene import SceneConfig, sample_scenes
from kinedepth.synthesis.trajectories import follow
from kinedepth.synthesis.windows import grid_seeds
from kinedepth.tracking.base import TrackingJob
from kinedepth.tracking.registry import make_tracker
from kinedepth.tracks import Queries
from kinedepth.video import load_video

CLIP_SEED = 31
FRAMES = 8
LEAST_TRACKS = 20


@dataclass(frozen=True)
class Window:
    """True and disturbed tracks: ``true``, ``found (8, N, 2)``, ``seen``, ``claimed (8, N)``."""

    true: NDArray[np.float64]
    found: NDArray[np.float64]
    seen: NDArray[np.bool_]
    claimed: NDArray[np.bool_]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--clips", type=int, default=8)
    parser.add_argument("--tracker", default="flow")
    parser.add_argument("--clips-folder", type=Path, default=Path("runs/noise_clips"))
    arguments = parser.parse_args()
    write_clips(arguments.clips_folder, arguments.clips, frames=48, seed=CLIP_SEED, tracks=512)
    paths = sorted(arguments.clips_folder.glob("clip*.json"))[: arguments.clips]
    figures = {}
    for step in (1, 2, 4):
        windows = [w for path in paths for w in tracked(path, arguments.tracker, step)]
        figures[f"{arguments.tracker}, step {step}"] = describe(windows)
    for name, noise in (("fitted", TrackerNoise()), ("mild", TrackerNoise.mild())):
        figures[f"noise, {name}"] = describe(drawn(noise, 96))
    columns = ["", *figures]
    rows = [
        [name, *(f"{f[name]:.3g}" for f in figures.values())]
        for name in next(iter(figures.values()))
    ]
    print_table("errors of tracks through windows of 8 frames", columns, rows)
    print("written:", write_results("tracker_noise", figures).name)


def tracked(path: Path, tracker: str, step: int) -> list[Window]:
    """Windows of one clip, as the tracker follows them."""
    truth = read_clip_truth(path.with_suffix(".npz"))
    video = load_video(path.with_suffix(".mp4"))
    windows = [
        w
        for w in plan_windows(len(video), FRAMES, FRAMES, (step,))
        if w.step == step and truth.visibility[w.start].sum() >= LEAST_TRACKS
    ]
    points = [np.flatnonzero(truth.visibility[w.start]) for w in windows]
    jobs = [
        TrackingJob(Queries(truth.tracks_xy[w.start, p], np.array(w.start)), w.frames)
        for w, p in zip(windows, points, strict=True)
    ]
    found = dict(make_tracker(tracker).track(video, jobs))
    half = max(video.width, video.height) / 2
    result = []
    for job, (window, index) in enumerate(zip(windows, points, strict=True)):
        frames = list(window.frames)
        result.append(
            Window(
                truth.tracks_xy[frames][:, index] / half,
                found[job].xy / half,
                truth.visibility[frames][:, index],
                found[job].visible,
            )
        )
    return result


def drawn(noise: TrackerNoise, count: int) -> list[Window]:
    """Procedural windows with the noise that training draws, none of them clean or clamped."""
    generator = torch.Generator().manual_seed(5)
    noise = TrackerNoise(**{**vars(noise), "clean_share": 0.0, "clamped": 0.0})
    result = []
    for _ in range(count // 8):
        scenes = sample_scenes(generator, 8, FRAMES, SceneConfig())
        seeds = grid_seeds(19, scenes.aspect)
        first = torch.zeros(seeds.shape[:2], dtype=torch.long)
        truth = follow(scenes, seeds, first)
        found, claimed = disturb(
            generator, truth.position, truth.visible, first, scenes.aspect, noise
        )
        for n in range(8):
            kept = truth.visible[n, 0].numpy()
            if kept.sum() >= LEAST_TRACKS:
                each = (truth.position, found, truth.visible, claimed)
                result.append(Window(*(value[n].numpy()[:, kept] for value in each)))
    return result


def describe(windows: list[Window]) -> dict[str, float]:
    """The figures of a set of windows."""
    figures: dict[str, float] = {"windows": len(windows)}
    for frame in (1, 3, 7):
        sizes = [error(w)[frame][(w.seen & w.claimed)[frame]] for w in windows]
        for share in (50, 90, 99):
            value = np.percentile(np.concatenate(sizes), share)
            figures[f"error after {frame} frames, {share} %"] = float(value)
    typical = [np.median(error(w)[1:][(w.seen & w.claimed)[1:]]) for w in windows]
    for share in (10, 50, 90):
        value = np.percentile(typical, share)
        figures[f"a window's median error, {share} %"] = float(value)
    whole = [w for w in windows if throughout(w).sum() >= LEAST_TRACKS]
    figures["spread of the log of tracks' errors"] = float(np.mean([spread(w) for w in whole]))
    figures["correlation of steps one frame apart"] = float(np.mean([memory(w) for w in whole]))
    for low, high in ((0.0, 0.06), (0.06, 0.12), (0.12, 0.3)):
        shared = [s for w in whole if np.isfinite(s := common(w, low, high))]
        name = f"correlation of tracks {low:g} to {high:g} apart"
        figures[name] = float(np.mean(shared)) if shared else float("nan")
    visible = np.concatenate([w.seen[1:].ravel() for w in windows])
    claims = np.concatenate([w.claimed[1:].ravel() for w in windows])
    figures["seen points called hidden"] = float((~claims[visible]).mean())
    figures["hidden points called seen"] = float(claims[~visible].mean())
    lost = [w.claimed[:-1] & w.seen[:-1] & w.seen[1:] for w in windows]
    figures["lost a frame"] = rate(lost, [~w.claimed[1:] for w in windows])
    again = [~w.claimed[:-1] & w.seen[1:] for w in windows]
    figures["found again a frame"] = rate(again, [w.claimed[1:] for w in windows])
    wrong = [error(w)[1:][(w.seen & ~w.claimed)[1:]] for w in windows]
    figures["median error of lost points"] = float(np.median(np.concatenate(wrong)))
    hidden = [error(w)[1:][~w.seen[1:]] for w in windows]
    figures["median error of hidden points"] = float(np.median(np.concatenate(hidden)))
    return figures


def error(window: Window) -> NDArray[np.float64]:
    """Error a coordinate, ``(8, N)``: root mean square of x and y."""
    return np.sqrt(((window.found - window.true) ** 2).mean(axis=-1))


def throughout(window: Window) -> NDArray[np.bool_]:
    """Tracks that are seen, and said to be, in all frames."""
    return (window.seen & window.claimed).all(axis=0)


def spread(window: Window) -> float:
    """Standard deviation of the log of tracks' errors within a window."""
    size = np.sqrt((error(window)[:, throughout(window)] ** 2).mean(axis=0))
    return float(np.log(size + 1e-9).std())


def memory(window: Window) -> float:
    """Correlation of an error's steps with those one frame later: -0.5 for errors of each frame
    alone, 0 for a walk."""
    steps = np.diff((window.found - window.true)[:, throughout(window)], axis=0)
    steps = bounded(steps)
    return float((steps[:-1] * steps[1:]).mean() / max((steps**2).mean(), 1e-12))


def common(window: Window, low: float, high: float) -> float:
    """Correlation of the last frame's errors of tracks that lie ``low`` to ``high`` apart."""
    kept = throughout(window)
    place = window.true[0, kept]
    last = bounded((window.found - window.true)[-1, kept])
    apart = np.linalg.norm(place[:, None] - place, axis=-1)
    pairs = (apart > max(low, 1e-6)) & (apart <= high)
    if not pairs.any():
        return float("nan")
    return float((last @ last.T / 2)[pairs].mean() / max((last**2).mean(), 1e-12))


def bounded(value: NDArray[np.float64]) -> NDArray[np.float64]:
    """In units of the median, within ±6: one outlier shall not decide a correlation."""
    return np.clip(value / max(float(np.median(np.abs(value))), 1e-9), -6, 6)


def rate(cases: list[NDArray[np.bool_]], events: list[NDArray[np.bool_]]) -> float:
    """Share of the cases that are events."""
    happened = sum(int((c & e).sum()) for c, e in zip(cases, events, strict=True))
    return happened / max(1, sum(int(c.sum()) for c in cases))


if __name__ == "__main__":
    main()
