"""Protocol ``window-8``: log depth ratios on RGB-D sequences, tracks ours, depth a sensor's.

Windows of 8 frames at frame steps 1 and 3, one starting every 8 (12) frames; supporting tracks
on a 16x12 grid and queries on a 15x11 grid shifted by 1.3 pixels, all seeded in the window's
first frame. Scored are the pairs (first frame, t), t = 3, 5, 7, in which the tracker says the
query is visible, the sensor reads both ends and |true log ratio| < 1.2.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from kinedepth.camera import Intrinsics
from kinedepth.errors import KinedepthError
from kinedepth.evaluation.methods import estimate, summarise, window_refiner
from kinedepth.seurat.estimation import to_tracklets
from kinedepth.seurat.model import Seurat
from kinedepth.seurat.uncertainty import Calibration
from kinedepth.tracking.base import Tracker, TrackingJob
from kinedepth.tracks import Queries, Tracks, grid_points
from kinedepth.video import Video, load_video

STARTS_EVERY = {1: 8, 3: 12}
"""Frames between windows, for each frame step."""
_WINDOW = 8
_SCORED_FRAMES = (3, 5, 7)
_LARGEST_CHANGE = 1.2
_LARGEST_SPREAD = 0.08


@dataclass(frozen=True)
class DepthSequence:
    """Frames with a sensor's depth.

    Attributes:
        video: the colour frames.
        depth: ``(T, H, W)`` float32 metres, 0 where the sensor has no reading.
        camera: of the colour frames.
    """

    video: Video
    depth: NDArray[np.float32]
    camera: Intrinsics


def load_depth_sequence(folder: Path) -> DepthSequence:
    """Read ``rgb/*.jpg``, ``depth/*.png`` (uint16), and ``depth_scale`` and ``intrinsics`` (fx,
    fy, cx, cy in pixels) of ``meta.json``."""
    try:
        meta = json.loads((folder / "meta.json").read_text())
        scale = float(meta["depth_scale"])
        fx, fy, cx, cy = (float(meta["intrinsics"][name]) for name in ("fx", "fy", "cx", "cy"))
    except (OSError, KeyError, TypeError, ValueError) as error:
        raise KinedepthError(
            f"{folder} is no RGB-D sequence: meta.json with a depth_scale and intrinsics is needed "
            f"({error})."
        ) from None
    video = load_video(folder / "rgb")
    files = sorted((folder / "depth").glob("*.png"))
    if len(files) != len(video):
        raise KinedepthError(
            f"{folder} has {len(video)} colour frames but {len(files)} depth maps."
        )
    depth = np.stack([_read_png(file) for file in files]) / np.float32(scale)
    return DepthSequence(video, depth, Intrinsics(fx, fy, cx, cy, video.width, video.height))


def _read_png(file: Path) -> NDArray[np.float32]:
    """A 16-bit depth map ``(H, W)`` in its own units."""
    image = cv2.imread(str(file), cv2.IMREAD_UNCHANGED)
    if image is None or image.ndim != 2:
        raise KinedepthError(f"{file} is not a depth map of one 16-bit channel.")
    return image.astype(np.float32)


def read_depth(depth: NDArray[np.float32], xy: NDArray[np.float32]) -> NDArray[np.float32]:
    """Depth ``(N,)`` at pixels ``(N, 2)``: median of the valid readings of 3x3 pixels.

    0 where there is none or where they spread by more than 8 % of the median.
    """
    height, width = depth.shape
    column = np.floor(xy[:, 0]).astype(int)
    row = np.floor(xy[:, 1]).astype(int)
    inside = (column >= 0) & (column < width) & (row >= 0) & (row < height)
    padded = np.pad(depth, 1)
    row, column = row.clip(0, height - 1), column.clip(0, width - 1)
    patch = np.stack([padded[row + i, column + j] for i in range(3) for j in range(3)])
    patch = np.where(patch > 0, patch, np.nan)
    known = np.isfinite(patch).any(0) & inside
    patch[:, ~known] = 1.0
    middle = np.nanmedian(patch, axis=0)
    spread = (np.nanmax(patch, axis=0) - np.nanmin(patch, axis=0)) / middle
    return np.where(known & (spread <= _LARGEST_SPREAD), middle, 0.0).astype(np.float32)


def score_sequence(
    sequence: DepthSequence,
    tracker: Tracker,
    step: int,
    network: Seurat | None,
    calibration: Calibration | None = None,
) -> dict[str, dict[str, float]]:
    """Figures (``methods.summarise``) of every method by the protocol at one frame step.

    Rigid groups need the ``calibration`` of the network and are left out without.
    """
    video = sequence.video
    span = step * (_WINDOW - 1) + 1
    starts = range(0, len(video) - span + 1, STARTS_EVERY[step])
    windows = [range(start, start + span, step) for start in starts]
    tracks = _follow(video, tracker, windows)
    errors: dict[str, list[torch.Tensor]] = {}
    true = []
    for window, (queries, support) in zip(windows, tracks, strict=True):
        truth, scored = _truth(sequence.depth, window, queries)
        true.append(truth[scored])
        size = (video.width, video.height)
        device = torch.device("cpu") if network is None else next(network.parameters()).device
        with torch.inference_mode():
            estimates = estimate(
                network,
                to_tracklets([queries], size, device),
                to_tracklets([support], size, device),
                refine=window_refiner(queries, sequence.camera, calibration),
            )
        for name, log_ratio in estimates.items():
            error = (log_ratio[0].cpu() - truth).abs()
            errors.setdefault(name, []).append(error[scored])
    flat = torch.cat(true)
    return {name: summarise(torch.cat(parts), flat) for name, parts in errors.items()}


def _follow(video: Video, tracker: Tracker, windows: list[range]) -> list[tuple[Tracks, Tracks]]:
    """Query and supporting tracks of each window."""
    support = grid_points(video.width, video.height, 16, 12)
    queries = grid_points(video.width, video.height, 15, 11) + np.float32(1.3)
    jobs = []
    for window in windows:
        first = np.array(window.start)
        jobs += [TrackingJob(Queries(points, first), window) for points in (queries, support)]
    found = dict(tracker.track(video, jobs))
    return [(found[2 * i], found[2 * i + 1]) for i in range(len(windows))]


def _truth(
    depth: NDArray[np.float32], window: range, queries: Tracks
) -> tuple[torch.Tensor, torch.Tensor]:
    """True log ratios ``(8, N)`` to the first frame, and which of them are scored."""
    readings = np.stack([read_depth(depth[f], queries.xy[t]) for t, f in enumerate(window)])
    known = (readings > 0) & (readings[:1] > 0) & queries.visible
    safe = np.where(readings > 0, readings, 1.0)
    log_ratio = np.log(safe / np.where(readings[:1] > 0, readings[:1], 1.0))
    scored = known & (np.abs(log_ratio) < _LARGEST_CHANGE)
    keep = np.isin(np.arange(len(window)), _SCORED_FRAMES)
    return torch.from_numpy(log_ratio), torch.from_numpy(scored & keep[:, None])
