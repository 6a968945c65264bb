"""Is noise read as motion? Films in which nothing moves but the sensor's noise, or a shaking hand.

    python benchmarks/still_points.py [--model small] [--clips 4]

One frame of each rendered clip is shown 48 times, with Gaussian noise of 4 grey levels, once as
it is and once turned about the camera's centre by a random walk (which changes no depth ratio).
The true log ratio is 0 everywhere. Printed are the mean and 95th percentile of what is read
instead, beside the local fit's, and the share of points that say "still within two standard
deviations".
"""

from __future__ import annotations

import argparse
from pathlib import Path

import cv2
import numpy as np
import torch
from _report import print_table, write_results
from numpy.typing import NDArray
from tracker_noise import CLIP_SEED

from kinedepth.lifting import WINDOW_STEPS, follow, lift
from kinedepth.seurat.config import SeuratConfig
from kinedepth.seurat.estimation import to_tracklets
from kinedepth.seurat.local_motion import robust_log_ratio
from kinedepth.seurat.windows import WindowEstimate, fuse, plan_windows
from kinedepth.synthesis.clip_files import read_clip_truth, write_clips
from kinedepth.tracking.registry import make_tracker
from kinedepth.tracks import grid
from kinedepth.video import Video, load_video

FRAMES = 48
NOISE = 4.0
"""Standard deviation of the sensor's noise in grey levels of 256."""
SHAKE = 0.002
"""Radians a frame by which the camera turns about each axis."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="small")
    parser.add_argument("--clips", type=int, default=4)
    parser.add_argument("--clips-folder", type=Path, default=Path("runs/noise_clips"))
    arguments = parser.parse_args()
    write_clips(arguments.clips_folder, arguments.clips, frames=48, seed=CLIP_SEED, tracks=512)
    figures = {}
    for kind in ("still", "shaken"):
        found: dict[str, list[NDArray]] = {"seurat": [], "local fit": [], "inside": []}
        for path in sorted(arguments.clips_folder.glob("clip*.json"))[: arguments.clips]:
            video = film(path, kind == "shaken")
            tracks = lift(video, grid(12), model=arguments.model).tracks
            seen = tracks.tracks.visible[1:]
            found["seurat"].append(np.abs(tracks.log_ratio[1:])[seen])
            found["local fit"].append(np.abs(local_fit(video)[1:]))
            std = tracks.log_ratio_std
            assert std is not None
            found["inside"].append((np.abs(tracks.log_ratio) < 2 * std)[1:][seen])
        size = {k: np.concatenate([v.ravel() for v in values]) for k, values in found.items()}
        figures[kind] = {
            "mean": float(size["seurat"].mean()),
            "95 %": float(np.percentile(size["seurat"], 95)),
            "local fit, mean": float(size["local fit"].mean()),
            "local fit, 95 %": float(np.percentile(size["local fit"], 95)),
            "inside two": float(size["inside"].mean()),
        }
    columns = ["nothing changes its depth", *figures["still"]]
    rows = [[kind, *(f"{value:.4f}" for value in f.values())] for kind, f in figures.items()]
    print_table(f"log ratio read over {FRAMES} frames, model {arguments.model}", columns, rows)
    print("written:", write_results("still_points", figures).name)


def film(path: Path, shaken: bool) -> Video:
    """The clip's first frame shown many times, with noise, and turned if asked for."""
    still = load_video(path.with_suffix(".mp4")).frame(0)
    camera = read_clip_truth(path.with_suffix(".npz")).intrinsics
    matrix = np.array([[camera.fx, 0, camera.cx], [0, camera.fy, camera.cy], [0, 0, 1]])
    generator = np.random.default_rng(0)
    turn = np.zeros(3)
    frames = []
    for _ in range(FRAMES):
        image = still
        if shaken:
            turn = 0.9 * turn + SHAKE * generator.normal(size=3)
            homography = matrix @ cv2.Rodrigues(turn)[0] @ np.linalg.inv(matrix)
            size = (camera.width, camera.height)
            image = cv2.warpPerspective(still, homography, size, borderMode=cv2.BORDER_REFLECT)
        noisy = image + NOISE * generator.normal(size=image.shape)
        frames.append(np.clip(np.rint(noisy), 0, 255).astype(np.uint8))
    return Video.from_array(np.stack(frames), fps=30.0)


def local_fit(video: Video) -> NDArray[np.float64]:
    """What the robust local fit reads of the same grid, its windows fused with like weights."""
    config = SeuratConfig()
    queries = grid(12).at(video.width, video.height, 0)
    windows = plan_windows(len(video), config.window, config.stride, WINDOW_STEPS["fused"])
    tracks, support = follow(make_tracker("flow"), video, queries, windows, config, None)
    size = (video.width, video.height)
    estimates = []
    for window in windows:
        inside = to_tracklets([tracks.at(window.frames)], size, torch.device("cpu"))
        around = to_tracklets([support[window]], size, torch.device("cpu"))
        ratio = robust_log_ratio(inside.position, around.position, around.visible)[0].numpy()
        visible = tracks.visible[list(window.frames)]
        estimates.append(WindowEstimate(window, ratio, np.full_like(ratio, 0.01), visible))
    joined = fuse(estimates, len(video))
    return (joined - joined[0])[:, tracks.visible.all(axis=0)]


if __name__ == "__main__":
    main()
