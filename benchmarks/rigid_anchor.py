"""Depth without any depth model: how well parallax alone gives depth in one common scale.

    python benchmarks/rigid_anchor.py [--static 12] [--moving 12] [--folder runs/rigid_anchor]
        [--sequences DIR] [--refusals 60]

Rendered clips (48 frames, 320x180, true intrinsics), static and with moving objects, `flow`
tracks and the shipped model's ratios. Scored in the first, middle and last frame, on points that
are seen there and stay where they are: |depth / truth - 1| after one global scale (the median),
and Spearman's rank correlation. Refusals: generated tracks with noise, cameras that only turn or
hardly move. A real RGB-D sequence against its sensor, where its folder is given.
"""

from __future__ import annotations

import argparse
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from _report import print_table, write_results
from numpy.typing import NDArray
from scipy.stats import spearmanr

from kinedepth.camera import Intrinsics
from kinedepth.errors import KinedepthError
from kinedepth.evaluation.sequences import load_depth_sequence, read_depth
from kinedepth.exporting.atomic import atomic_path
from kinedepth.geometry.rigid import LEAST_CONFIDENCE, solve_rigid
from kinedepth.lifting import lift
from kinedepth.synthesis.clip_files import ClipTruth, read_clip_truth, write_clips
from kinedepth.synthesis.clips import CLIP_CONFIG, STATIC_SCENE_CONFIG
from kinedepth.synthesis.noise import TrackerNoise, disturb
from kinedepth.synthesis.scene import SceneConfig, sample_scenes
from kinedepth.synthesis.trajectories import follow
from kinedepth.synthesis.windows import grid_seeds
from kinedepth.tracks import Queries, grid

CLIP_SEEDS = {"static": 4243, "moving": 4142}
"""Of the clips that figures are reported on; nothing was tuned on these."""
STILL, MOVING = 0.003, 0.01
"""Shift in the image by a point's own motion, in half widths: static below, moving above."""
LEAST_SCORED = 10
TINY_SPEED = (1e-5, 3e-4)
"""Camera travel in seven frames, in depths of the nearest body."""
REFUSAL_SEED, REFUSAL_FRAMES = 77_000, 24
REFUSAL_NOISE = TrackerNoise(clean_share=0.0, jitter=(1e-4, 1e-3))
KINDS = {"static": STATIC_SCENE_CONFIG, "moving": CLIP_CONFIG}


def lifted_clips(
    folder: Path, kind: str, count: int, seed: int
) -> list[tuple[ClipTruth, dict[str, NDArray[Any]]]]:
    """Truth and lifted tracks of ``count`` clips; what was made before is read back."""
    clips = folder / f"{kind}-{seed}"
    found = []
    for index in range(count):
        write_clips(clips, index + 1, 48, seed, 320, 180, "mixed", config=KINDS[kind], tracks=256)
        path = clips / f"clip{index:04d}.npz"
        truth = read_clip_truth(path)
        cache = path.with_name(f"{path.stem}_lifted.npz")
        if not cache.exists():
            queries = Queries(truth.queries_xyt[:, :2], truth.queries_xyt[:, 2].astype(np.int64))
            tracks = lift(path.with_suffix(".mp4"), queries, intrinsics=truth.intrinsics).tracks
            with atomic_path(cache) as temporary:
                np.savez(
                    temporary,
                    xy=tracks.tracks.xy,
                    visible=tracks.tracks.visible,
                    log_ratio=tracks.log_ratio,
                )
        with np.load(cache) as arrays:
            found.append((truth, dict(arrays)))
        print(kind, index + 1, "of", count, flush=True)
    return found


def score_clip(truth: ClipTruth, lifted: dict[str, NDArray[Any]]) -> dict[str, Any]:
    """Figures of one clip; see the top of this file for what they mean."""
    started = time.process_time()
    found = solve_rigid(lifted["log_ratio"], lifted["xy"], lifted["visible"], truth.intrinsics)
    seconds = time.process_time() - started
    shift = image_shift(truth)
    still, moving = shift < STILL, shift > MOVING
    seen = truth.visibility & lifted["visible"] & still
    scored = seen & np.isfinite(found.depth)
    frames = len(seen)
    figures = [
        compare(found.depth[t, scored[t]], truth.tracks_xyz[t, scored[t], 2])
        for t in (0, frames // 2, frames - 1)
        if scored[t].sum() >= LEAST_SCORED
    ]
    return {
        "observable": found.observable,
        "confidence": found.confidence,
        "scale_error": float(np.mean([f[0] for f in figures])) if figures else None,
        "rank_correlation": float(np.mean([f[1] for f in figures])) if figures else None,
        "static_points_with_depth": float(scored.sum() / max(seen.sum(), 1)),
        "moving_points": int(moving.sum()),
        "moving_flagged": int((~found.rigid & moving).sum()),
        "seconds": seconds,
    }


def compare(depth: NDArray[Any], true: NDArray[Any]) -> tuple[float, float]:
    """Median relative error after one global scale, and Spearman's rank correlation."""
    ratio = np.log(depth / true)
    error = np.abs(np.exp(ratio - np.median(ratio)) - 1)
    return float(np.median(error)), float(spearmanr(depth, true)[0])


def image_shift(truth: ClipTruth) -> NDArray[np.float64]:
    """``(N,)`` how far each point is seen, at most, from where it would be had it stayed.

    In half widths of the image.
    """
    assert truth.extrinsics_w2c is not None
    to_camera = truth.extrinsics_w2c.astype(np.float64)
    to_world = np.linalg.inv(to_camera)
    place = truth.tracks_xyz.astype(np.float64)
    start = place[0] @ to_world[0, :3, :3].T + to_world[0, :3, 3]
    stayed = np.einsum("tij,nj->tni", to_camera[:, :3, :3], start) + to_camera[:, None, :3, 3]
    ahead = [
        np.concatenate([p[..., :2], np.maximum(p[..., 2:], 1e-3)], -1) for p in (place, stayed)
    ]
    here, there = (truth.intrinsics.project(p) for p in ahead)
    shift = np.linalg.norm(here - there, axis=-1) / (truth.intrinsics.width / 2)
    return np.where(truth.visibility, shift, 0.0).max(0)


def refusals(count: int) -> dict[str, dict[str, float]]:
    """Share of ``count`` generated clips that are refused, for each kind of camera motion."""
    still = replace(STATIC_SCENE_CONFIG, camera_rotation=(0.005, 0.05), camera_fixates=0.0)
    kinds = {
        "pure rotation": replace(still, camera_still=1.0),
        "tiny baseline": replace(still, camera_speed=TINY_SPEED),
        "usual baseline": STATIC_SCENE_CONFIG,
    }
    figures = {}
    for name, config in kinds.items():
        confidence = np.array([noisy_clip_confidence(config, seed) for seed in range(count)])
        figures[name] = {
            "clips": count,
            "refused": float((confidence < LEAST_CONFIDENCE).mean()),
            "largest_confidence": float(confidence.max()),
            "least_confidence": float(confidence.min()),
        }
    return figures


def noisy_clip_confidence(config: SceneConfig, seed: int) -> float:
    """Confidence of the solution of a short clip with 100 noisy tracks of a scene of ``config``."""
    generator = torch.Generator().manual_seed(REFUSAL_SEED + seed)
    scenes = sample_scenes(generator, 1, REFUSAL_FRAMES, config, 9 / 16)
    seeds = grid_seeds(10, scenes.aspect)
    first = torch.zeros(seeds.shape[:2], dtype=torch.int64)
    truth = follow(scenes, seeds, first)
    position, visible = disturb(
        generator, truth.position, truth.visible, first, scenes.aspect, REFUSAL_NOISE
    )
    # As a network errs: slowly along a track.
    drift = 0.02 * torch.randn((1, 1, seeds.shape[1]), generator=generator)
    log_ratio = truth.log_ratio() + drift * torch.linspace(0, 1, REFUSAL_FRAMES)[None, :, None]
    focal = float(scenes.focal[0]) * 160
    camera = Intrinsics(focal, focal, 160, 90, 320, 180)
    xy = position[0].numpy() * 160 + np.array([160, 90])
    try:
        return solve_rigid(log_ratio[0].numpy(), xy, visible[0].numpy(), camera).confidence
    except KinedepthError:  # So few points stay in view that depth is refused as well.
        return 0.0


def score_sequence(folder: Path, cache: Path) -> dict[str, Any]:
    """Depth of tracked points of an RGB-D sequence against its sensor, every second frame."""
    sequence = load_depth_sequence(folder)
    camera = sequence.camera
    if not cache.exists():
        tracks = lift(folder / "rgb", grid(14), frames="0:60:2", intrinsics=camera).tracks
        arrays = {"xy": tracks.tracks.xy, "visible": tracks.tracks.visible}
        with atomic_path(cache) as temporary:
            np.savez(temporary, log_ratio=tracks.log_ratio, **arrays)
    with np.load(cache) as stored:
        lifted = dict(stored)
    found = solve_rigid(lifted["log_ratio"], lifted["xy"], lifted["visible"], camera)
    frames = len(lifted["xy"])
    sensor = np.stack([read_depth(sequence.depth[2 * t], lifted["xy"][t]) for t in range(frames)])
    known = (sensor > 0) & lifted["visible"] & np.isfinite(found.depth)
    # One scale for the whole sequence, not one for each frame.
    error, rank = compare(found.depth[known], sensor[known])
    ratio = np.log(found.depth[known] / sensor[known])
    off = np.abs(np.exp(ratio - np.median(ratio)) - 1)
    return {
        "observable": found.observable,
        "confidence": found.confidence,
        "median_error": error,
        "within_10_percent": float((off < 0.1).mean()),
        "rank_correlation": rank,
        "rigid": float(found.rigid.mean()),
    }


def summarise(clips: list[dict[str, Any]]) -> dict[str, Any]:
    told = [clip for clip in clips if clip["scale_error"] is not None]
    moving = sum(clip["moving_points"] for clip in clips)
    return {
        "clips": len(clips),
        "observable": sum(clip["observable"] for clip in clips),
        "scale_error_median": float(np.median([clip["scale_error"] for clip in told])),
        "scale_error_worst": float(np.max([clip["scale_error"] for clip in told])),
        "within_6_percent": sum(clip["scale_error"] < 0.06 for clip in told),
        "rank_correlation_median": float(np.median([c["rank_correlation"] for c in told])),
        "rank_correlation_mean": float(np.mean([c["rank_correlation"] for c in told])),
        "static_points_with_depth": float(np.mean([c["static_points_with_depth"] for c in clips])),
        "moving_points": moving,
        "moving_flagged": sum(c["moving_flagged"] for c in clips) / moving if moving else None,
        "seconds_median": float(np.median([clip["seconds"] for clip in clips])),
        "each": clips,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--static", type=int, default=12, help="clips")
    parser.add_argument("--moving", type=int, default=12, help="clips")
    parser.add_argument("--folder", type=Path, default=Path("runs/rigid_anchor"))
    parser.add_argument("--sequences", type=Path, help="folder that holds redkitchen")
    parser.add_argument("--refusals", type=int, default=60)
    arguments = parser.parse_args()
    figures: dict[str, Any] = {}
    arguments.folder.mkdir(parents=True, exist_ok=True)
    if arguments.sequences:
        cache = arguments.folder / "redkitchen_lifted.npz"
        figures["redkitchen"] = score_sequence(arguments.sequences / "redkitchen", cache)
        print(figures["redkitchen"], flush=True)
    rows = []
    for kind in KINDS:
        clips = lifted_clips(arguments.folder, kind, getattr(arguments, kind), CLIP_SEEDS[kind])
        summary = figures[kind] = summarise([score_clip(*clip) for clip in clips])
        # Long runs get interrupted; what was measured by then shall not be lost.
        write_results("rigid_anchor", figures)
        flagged = summary["moving_flagged"]
        rows.append(
            [
                kind,
                f"{summary['observable']} of {summary['clips']}",
                f"{summary['scale_error_median']:.3f}",
                f"{summary['scale_error_worst']:.3f}",
                f"{summary['rank_correlation_mean']:.3f}",
                f"{summary['static_points_with_depth']:.2f}",
                "-" if flagged is None else f"{flagged:.2f}",
                f"{summary['seconds_median']:.1f}",
            ]
        )
    columns = ["clips", "observable", "scale error, median", "worst", "rank correlation"]
    columns += ["static points with depth", "moving flagged", "seconds"]
    print_table("depth in one scale from parallax", columns, rows)
    if arguments.refusals:
        figures["refusals"] = refusals(arguments.refusals)
        rows = [
            [
                name,
                f"{f['refused']:.2f}",
                f"{f['least_confidence']:.2f}",
                f"{f['largest_confidence']:.2f}",
            ]
            for name, f in figures["refusals"].items()
        ]
        print_table("refused", ["camera", "share refused", "least confidence", "largest"], rows)
    print("written:", write_results("rigid_anchor", figures).name)


if __name__ == "__main__":
    main()
