"""Time to contact on rendered clips of known closing speed, and on a drive up to queued traffic.

    python benchmarks/time_to_contact.py [--clips 2] [--sequences FOLDER] [--jerky FOLDER]

Clips of 40 frames of 480x270 at 30 a second, closing speed constant: a camera that moves forward
through a still scene, the same with a shaking and turning camera, and bodies that come towards
a still camera. The truth is -d / (dd / dt) of the true depths. ``--jerky`` takes the predictions
that ``tapvid3d_rendered.py`` made for its clips, in which camera and bodies change speed all the
time: there the intervals are put to the test. On kitti_sfnd (10 frames a second) the reference is
a line fitted to the lidar's depth. Each row stands twice: for the network's ratios alone, and for
those of rigid groups, which ``kinedepth ttc`` takes; the camera is not told to either.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from _report import print_table, write_results
from numpy.typing import NDArray

from kinedepth.camera import Intrinsics
from kinedepth.evaluation.sequences import load_depth_sequence, read_depth
from kinedepth.evaluation.tapvid3d_clips import load_prediction
from kinedepth.exporting.tracks_file import load_tracks3d, save_tracks3d
from kinedepth.geometry.refining import refine_ratios
from kinedepth.lifting import lift
from kinedepth.synthesis.clip_files import ClipTruth, read_clip_truth, write_clip
from kinedepth.synthesis.clips import STATIC_SCENE_CONFIG, Clip
from kinedepth.synthesis.raycast import cast
from kinedepth.synthesis.rendering import render, sample_photography
from kinedepth.synthesis.scene import Scenes, sample_scenes
from kinedepth.synthesis.textures import sample_textures
from kinedepth.synthesis.trajectories import follow, follow_points
from kinedepth.time_to_contact import TimeToContact, frame_times, time_to_contact
from kinedepth.tracks import Queries, Tracks, Tracks3D, grid, grid_points
from kinedepth.video import Video, load_video

KINDS = ("camera forward", "camera forward, shaken", "bodies approach")
MODES = ("network alone", "rigid groups")
FRAMES, WIDTH, HEIGHT, FPS = 40, 480, 270, 30.0
FIRST_CONTACT = (2.2, 4.0)
"""Seconds from the clip's beginning until the nearest surface would arrive."""
NEAREST = 0.2
LEAD_CAR = {0: (296, 108, 362, 160), 18: (290, 105, 372, 165)}
"""By first frame of a piece of kitti_sfnd, the box around the car ahead in that frame."""
LEAD_CAR_WINDOW = 0.8
"""Seconds; contact is some 10 s away, which a short window sees little of."""
KITTI_FRAMES = 24
SOON = 5.0
"""Figures are over points that are less than this many seconds away."""

STILL_CONFIG = replace(
    STATIC_SCENE_CONFIG, camera_still=1.0, camera_rotation=(1e-9, 1e-9), camera_shakes=0.0
)
SHAKEN_CONFIG = replace(
    STATIC_SCENE_CONFIG, camera_still=1.0, camera_rotation=(0.002, 0.02), camera_shakes=1.0
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--clips", type=int, default=2, help="of each kind")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--model", default="small")
    parser.add_argument("--clips-folder", type=Path, default=Path("runs/time_to_contact"))
    parser.add_argument("--sequences", type=Path, help="folder that holds kitti_sfnd")
    parser.add_argument("--jerky", type=Path, help="folder of predictions for rendered clips")
    parser.add_argument("--jerky-clips", type=Path, default=Path("runs/benchmark_clips"))
    arguments = parser.parse_args()
    arguments.clips_folder.mkdir(parents=True, exist_ok=True)

    figures: dict[str, dict[str, dict[str, float]]] = {}
    for kind in KINDS:
        parts = []
        for index in range(arguments.clips):
            name = f"{kind.replace(', ', '_').replace(' ', '_')}_{arguments.seed}_{index}"
            parts.append(_score_clip(arguments.clips_folder, name, kind, arguments, index))
            print(name, _by_mode(parts[-1:]), flush=True)
        figures[kind] = _by_mode(parts)
    if arguments.jerky is not None:
        figures["jerky motion"] = _by_mode(_score_jerky(arguments))
    if arguments.sequences is not None:
        figures["kitti_sfnd, lead car"] = _lead_car(arguments)
        figures["kitti_sfnd"] = _by_mode([_score_kitti(arguments)])
    keys = ["points", "median_error", "within_10", "within_20", "covered", "claimed", "false"]
    rows = [
        [f"{kind}, {mode}", *(f"{f[key]:.3g}" if key in f else "" for key in keys)]
        for kind, both in figures.items()
        for mode, f in both.items()
    ]
    print_table(f"time to contact, true contact within {SOON:g} s", ["", *keys], rows)
    print("written:", write_results("time_to_contact", figures).name)


Part = tuple[NDArray, NDArray, TimeToContact]
"""True closing rates, which of them are scored, and the estimate."""


def _by_mode(parts: list[dict[str, Part]]) -> dict[str, dict[str, float]]:
    return {mode: _figures([part[mode] for part in parts]) for mode in MODES}


def _tracks_by_mode(tracks: Tracks3D, times: NDArray[np.float64]) -> dict[str, Tracks3D]:
    return dict(zip(MODES, (tracks, refine_ratios(tracks, times, focal_known=False)), strict=True))


def _figures(parts: list[Part]) -> dict[str, float]:
    """Figures over clips of (true closing rate, which are scored, estimate).

    ``median_error``, ``within_10`` and ``within_20``: relative error of the time to contact,
    contact being claimed or not, of points less than ``SOON`` away; ``covered``: share of all
    points whose closing rate lies in its interval; ``covered_soon``: of those less than ``SOON``
    away; ``claimed``: of these, those with a time; ``false``: of points that do not approach, those
    with a time.
    """
    true = np.concatenate([rate[scored] for rate, scored, _ in parts])
    said = np.concatenate([ttc.closing_rate[scored] for _, scored, ttc in parts])
    margin = np.concatenate([ttc.margin[scored] for _, scored, ttc in parts])
    soon = true > 1 / SOON
    error = np.abs(true[soon] / np.maximum(said[soon], 1e-9) - 1)
    claimed = said - margin > 0
    away = true <= 0
    return {
        "points": int(soon.sum()),
        "median_error": float(np.median(error)),
        "within_10": float((error < 0.1).mean()),
        "within_20": float((error < 0.2).mean()),
        "covered": float((np.abs(said - true) <= margin).mean()),
        "covered_soon": float((np.abs(said - true) <= margin)[soon].mean()),
        "claimed": float(claimed[soon].mean()),
        "false": float(claimed[away].mean()) if away.any() else float("nan"),
    }


def _lifted(folder: Path, name: str, source: Path | Video, queries: Any, model: str) -> Tracks3D:
    """Lifted tracks, taken over from an earlier run where there are."""
    path = folder / f"{name}_{Path(model).stem}_tracks.npz"
    if not path.is_file():
        save_tracks3d(path, lift(source, queries, model=model, rigid=False).tracks)
    return load_tracks3d(path)


def _score_clip(
    folder: Path, name: str, kind: str, arguments: argparse.Namespace, index: int
) -> dict[str, Part]:
    if not (folder / f"{name}.json").is_file():
        write_clip(_render_clip(kind, 1000 * arguments.seed + index), folder, name)
    truth = read_clip_truth(folder / f"{name}.npz")
    queries = Queries(truth.queries_xyt[:, :2], truth.queries_xyt[:, 2].astype(np.int64))
    tracks = _lifted(folder, name, folder / f"{name}.mp4", queries, arguments.model)
    return _compared(truth, tracks)


def _compared(truth: ClipTruth, lifted: Tracks3D) -> dict[str, Part]:
    times = frame_times(len(truth.visibility), FPS)
    depth = truth.tracks_xyz[..., 2].astype(np.float64)
    rate = -np.gradient(depth, times, axis=0) / np.maximum(depth, 1e-6)
    found = {}
    for mode, tracks in _tracks_by_mode(lifted, times).items():
        estimate = time_to_contact(tracks, times)
        scored = truth.visibility & tracks.tracks.visible & np.isfinite(estimate.closing_rate)
        found[mode] = rate, scored, estimate
    return found


def _score_kitti(arguments: argparse.Namespace) -> dict[str, Part]:
    """The drive in pieces of 24 frames, each with a grid of its own."""
    folder = arguments.sequences / "kitti_sfnd"
    fps = float(json.loads((folder / "meta.json").read_text())["fps"])
    sequence = load_depth_sequence(folder)
    parts: dict[str, list[Part]] = {mode: [] for mode in MODES}
    for first in range(0, len(sequence.video) - KITTI_FRAMES + 1, 18):
        frames = slice(first, first + KITTI_FRAMES)
        times = frame_times(KITTI_FRAMES, fps)
        for mode, tracks in _tracks_by_mode(_kitti_tracks(arguments, first), times).items():
            readings = np.stack(
                [
                    read_depth(d, xy)
                    for d, xy in zip(sequence.depth[frames], tracks.tracks.xy, strict=True)
                ]
            )
            reference = _lidar_rate(tracks, readings, times)
            estimate = time_to_contact(tracks, times)
            known = np.isfinite(reference) & np.isfinite(estimate.closing_rate)
            parts[mode].append((reference, known & tracks.tracks.visible, estimate))
    return {mode: _joined(each, frame_times(KITTI_FRAMES, fps)) for mode, each in parts.items()}


def _joined(parts: list[Part], times: NDArray[np.float64]) -> Part:
    """Pieces of as many frames each as one, of all their points."""
    rate, scored = (np.concatenate([part[i] for part in parts], axis=1) for i in (0, 1))
    joined = TimeToContact(
        times,
        *(
            np.concatenate([getattr(part[2], field) for part in parts], axis=1)
            for field in ("closing_rate", "closing_rate_std", "margin")
        ),
        confidence=parts[0][2].confidence,
    )
    return rate, scored, joined


def _kitti_tracks(arguments: argparse.Namespace, first: int) -> Tracks3D:
    video = load_video(
        arguments.sequences / "kitti_sfnd" / "rgb", slice(first, first + KITTI_FRAMES)
    )
    return _lifted(arguments.clips_folder, f"kitti_sfnd_{first}", video, grid(24), arguments.model)


def _score_jerky(arguments: argparse.Namespace) -> list[dict[str, Part]]:
    parts = []
    for path in sorted(arguments.jerky.glob("clip*.npz")):
        truth = read_clip_truth(arguments.jerky_clips / path.name)
        prediction = load_prediction(path)
        depth = prediction.xyz[..., 2]
        tracks = Tracks3D(
            xyz=prediction.xyz.astype(np.float32),
            log_ratio=np.log(depth).astype(np.float32),
            tracks=Tracks(truth.tracks_xy, prediction.visible, truth.queries_xyt[:, 2]),
            intrinsics=truth.intrinsics,
        )
        parts.append(_compared(truth, tracks))
    return parts


def _lead_car(arguments: argparse.Namespace) -> dict[str, dict[str, float]]:
    """The car ahead as a whole: median closing rate of its points against the lidar's.

    The lidar's depth of the car is the 20th percentile of its readings among the points; its rate
    comes from a line over the same frames.
    """
    sequence = load_depth_sequence(arguments.sequences / "kitti_sfnd")
    times = frame_times(KITTI_FRAMES, 10.0)
    ours: dict[str, list[NDArray]] = {mode: [] for mode in MODES}
    lidar = []
    for first, (left, top, right, bottom) in LEAD_CAR.items():
        lifted = _kitti_tracks(arguments, first)
        x, y = lifted.tracks.xy[0].T
        on_car = (x > left) & (x < right) & (y > top) & (y < bottom)
        depth = np.empty(KITTI_FRAMES)
        for frame in range(KITTI_FRAMES):
            seen = lifted.tracks.visible[frame] & on_car
            low, high = np.percentile(lifted.tracks.xy[frame, seen], [5, 95], axis=0).astype(int)
            patch = sequence.depth[first + frame][low[1] : high[1] + 1, low[0] : high[0] + 1]
            depth[frame] = np.percentile(patch[patch > 0], 20)
        half = round(LEAD_CAR_WINDOW * 10 / 2)
        for k in range(KITTI_FRAMES):
            near = slice(max(0, k - half), k + half + 1)
            lidar.append(-np.polyfit(times[near], depth[near], 1)[0] / depth[k])
        for mode, tracks in _tracks_by_mode(lifted, times).items():
            rates = time_to_contact(tracks, times, LEAD_CAR_WINDOW).closing_rate[:, on_car]
            ours[mode].append(np.nanmedian(rates, axis=1))
    true = np.array(lidar)
    print("lead car, s until contact, lidar:", np.round(1 / true[::4], 1))
    figures = {}
    for mode, each in ours.items():
        said = np.concatenate(each)
        print(f"lead car, s until contact, {mode}:", np.round(1 / said[::4], 1))
        figures[mode] = {
            "frames": len(true),
            "lidar_seconds_median": float(np.median(1 / true)),
            "seconds_median": float(np.median(1 / said)),
            "median_error": float(np.median(np.abs(true / said - 1))),
        }
    return figures


def _lidar_rate(
    tracks: Tracks3D, readings: NDArray[np.float32], times: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Closing rate ``(T, N)`` of the sensor's own depth; NaN where it is not sure to 0.02 / s."""
    known = readings > 0
    log_depth = np.log(np.where(known, readings, 1.0))
    seen = replace(tracks.tracks, visible=tracks.tracks.visible & known)
    measured = time_to_contact(
        # The lidar's depth has nothing to do with how far the tracks' ratios may be off.
        replace(tracks, log_ratio=log_depth, tracks=seen, log_ratio_std=None),
        times,
        window=0.6,
        systematic_error=0.0,
    )
    return np.where(measured.closing_rate_std < 0.02, measured.closing_rate, np.nan)


def _render_clip(kind: str, seed: int) -> Clip:
    """The first scene drawn for ``seed`` in which nothing comes too near and much comes soon."""
    config = SHAKEN_CONFIG if "shaken" in kind else STILL_CONFIG
    aspect = HEIGHT / WIDTH
    for attempt in range(500):
        generator = torch.Generator().manual_seed(500 * seed + attempt)
        scenes = sample_scenes(generator, 1, FRAMES, config, aspect)
        scenes = (_approach if kind == "bodies approach" else _advance)(generator, scenes)
        if _is_fit(scenes):
            return _rendered(generator, scenes, seed, config)
    raise SystemExit(f"no scene for {kind}, seed {seed}")


def _first_contact(generator: torch.Generator) -> float:
    low, high = FIRST_CONTACT
    return low + (high - low) * float(torch.rand((), generator=generator))


def _advance(generator: torch.Generator, scenes: Scenes) -> Scenes:
    """The camera moves forward, a little to the side, at constant speed."""
    nearest = float(cast(scenes, _lattice(1, scenes)).depth[0, 0].amin())
    speed = nearest / _first_contact(generator)
    side = 0.15 * torch.randn(2, generator=generator)
    velocity = speed * torch.tensor([float(side[0]), 0.3 * float(side[1]), 1.0])
    rotation = scenes.camera_to_world[0, :, :, :3]
    moved = velocity * torch.arange(FRAMES)[:, None] / FPS
    to_camera = scenes.to_camera.clone()
    # World axes are those of the camera in the first frame.
    world = rotation[0] @ moved[..., None]
    to_camera[0, ..., 3] -= (rotation.transpose(1, 2) @ world)[:, None, :, 0]
    pose = scenes.camera_to_world.clone()
    pose[0, ..., 3] += world[..., 0]
    return replace(scenes, to_camera=to_camera, camera_to_world=pose)


def _approach(generator: torch.Generator, scenes: Scenes) -> Scenes:
    """Every body but the surroundings comes towards the still camera at a speed of its own."""
    to_camera = scenes.to_camera.clone()
    time = torch.arange(FRAMES) / FPS
    for body in range(to_camera.shape[2] - 1):
        centre = to_camera[0, 0, body, :, 3]
        contact = _first_contact(generator) * (1 + float(torch.rand((), generator=generator)))
        to_camera[0, :, body, :, 3] -= time[:, None] * (0.9 * centre / contact)
    return replace(scenes, to_camera=to_camera)


def _lattice(frames: int, scenes: Scenes) -> torch.Tensor:
    cells = torch.from_numpy(grid_points(2, 2, 32, 18)) - 1
    return (cells * torch.tensor([1.0, float(scenes.aspect[0])])).expand(1, frames, -1, -1)


def _is_fit(scenes: Scenes) -> bool:
    view = cast(scenes, _lattice(FRAMES, scenes).expand(1, scenes.frames, -1, -1)).depth
    if float(view.amin()) < NEAREST:
        return False
    first = torch.zeros((1, view.shape[2]), dtype=torch.int64)
    truth = follow(scenes, _lattice(1, scenes)[:, 0], first)
    depth = truth.depth[0]
    rate = -(depth[1:] - depth[:-1]) * FPS / depth[:-1]
    seen = truth.visible[0, :-1]
    return float(seen.float().mean()) > 0.5 and float((rate > 1 / SOON)[seen].float().mean()) > 0.2


def _rendered(generator: torch.Generator, scenes: Scenes, seed: int, config: object) -> Clip:
    textures = sample_textures(generator, scenes, 0, "rich")
    photography = sample_photography(generator, FRAMES)
    pictures = [render(scenes, 0, f, WIDTH, HEIGHT, textures, photography) for f in range(FRAMES)]
    half = WIDTH / 2
    centre = torch.tensor([half, HEIGHT / 2])
    places = torch.from_numpy(grid_points(WIDTH, HEIGHT, 20, 20))
    seeds, first = ((places - centre) / half)[None], torch.zeros((1, 400), dtype=torch.int64)
    truth = follow(scenes, seeds, first)
    points, body = follow_points(scenes, seeds, first)
    focal = float(scenes.focal[0]) * half
    return Clip(
        frames=np.stack([rgb for rgb, _ in pictures]),
        depth=np.stack([depth for _, depth in pictures]),
        tracks_xyz=points[0].numpy(),
        tracks_xy=(truth.position[0] * half + centre).numpy(),
        visibility=truth.visible[0].numpy(),
        queries_xyt=np.concatenate([places.numpy(), np.zeros((400, 1), np.float32)], axis=1),
        intrinsics=Intrinsics(focal, focal, half, HEIGHT / 2, WIDTH, HEIGHT),
        extrinsics_w2c=np.repeat(np.eye(4, dtype=np.float32)[None], FRAMES, axis=0),
        body=body[0].numpy(),
        fps=FPS,
        seed=seed,
        richness="rich",
        config=config,  # type: ignore[arg-type]
    )


if __name__ == "__main__":
    main()
