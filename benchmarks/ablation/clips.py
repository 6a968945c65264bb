"""Stretches of rendered clips, followed by the embedded tracker, read window by window.

Each is 24 frames long. Queries are points that its first frame shows; a grid of supporting tracks
is seeded in every window's first frame. Scored is the log ratio to the first frame, where points
are truly visible.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ablation.budget import Budget
from ablation.networks import Carried
from ablation.windows import LONG
from kinedepth.evaluation.methods import summarise
from kinedepth.exporting.atomic import atomic_path
from kinedepth.lifting import follow
from kinedepth.seurat.estimation import estimate_windows, to_tracklets
from kinedepth.seurat.model import Seurat, Tracklets
from kinedepth.seurat.windows import Window, WindowEstimate, chain, fuse, plan_windows
from kinedepth.synthesis.clip_files import read_clip_truth, write_clips
from kinedepth.tracking.registry import make_tracker
from kinedepth.tracks import Queries, Tracks
from kinedepth.video import load_video

Reading = Literal["chained", "fused", "whole", "carried"]
"""How windows become one: chained or fused, as in the package; the whole stretch as one window; or
chained with each window told what the one before found."""

CLIP_SEED = 4242
_QUERIES = 96
_STEPS = (1, 2)
"""Frame steps of the windows that are fused; at step 4 a window does not fit into 24 frames."""


@dataclass(frozen=True)
class Stretch:
    """Tracks and truth of one stretch.

    Attributes:
        name: the clip's.
        size: width and height of the frames.
        log_ratio: ``(24, N)`` true log of depth over depth in the first frame.
        seen: ``(24, N)`` bool, truly visible.
        queries: tracks of the N points.
        support: supporting tracks of each window.
    """

    name: str
    size: tuple[int, int]
    log_ratio: NDArray[np.float32]
    seen: NDArray[np.bool_]
    queries: Tracks
    support: dict[Window, Tracks]


def stretches(folder: Path, clips_folder: Path, budget: Budget) -> list[Stretch]:
    """The first 24 frames of each clip; clips are rendered and tracked where they are missing."""
    write_clips(clips_folder, budget.clips, frames=48, seed=CLIP_SEED, tracks=512)
    found = []
    for path in sorted(clips_folder.glob("clip*.json"))[: budget.clips]:
        kept = folder / "tracks" / f"{path.stem}_{budget.grid}.npz"
        if not kept.exists():
            kept.parent.mkdir(parents=True, exist_ok=True)
            with atomic_path(kept) as temporary:
                np.savez(temporary, **_track(path, budget))
        with np.load(kept, allow_pickle=False) as arrays:
            found.append(_stretch(path.stem, dict(arrays)))
    return found


def _track(path: Path, budget: Budget) -> dict[str, NDArray]:
    truth = read_clip_truth(path.with_suffix(".npz"))
    video = load_video(path.with_suffix(".mp4"), f"0:{LONG}")
    chosen = np.flatnonzero(truth.visibility[0])[:: max(1, truth.visibility[0].sum() // _QUERIES)]
    windows = plan_windows(LONG, 8, 4, _STEPS)
    windows.append(Window(0, 1, LONG))
    queries = Queries(truth.tracks_xy[0, chosen], np.array(0))
    tracks, support = follow(make_tracker("flow"), video, queries, windows, budget.network(), None)
    depth = np.maximum(truth.tracks_xyz[:LONG, chosen, 2], 1e-6)
    arrays = {
        "size": np.array([video.width, video.height]),
        "log_ratio": np.log(depth / depth[0]),
        "seen": truth.visibility[:LONG, chosen],
        "queries xy": tracks.xy,
        "queries visible": tracks.visible,
    }
    for window, around in support.items():
        name = f"{window.start} {window.step} {window.length}"
        arrays |= {f"{name} xy": around.xy, f"{name} visible": around.visible}
    return arrays


def _stretch(name: str, arrays: dict[str, NDArray]) -> Stretch:
    def tracks(key: str) -> Tracks:
        return Tracks(arrays[f"{key} xy"], arrays[f"{key} visible"], np.array(0))

    keys = [key.removesuffix(" xy") for key in arrays if key.endswith(" xy")]
    windows = {key: Window(*map(int, key.split())) for key in keys if key != "queries"}
    return Stretch(
        name,
        (int(arrays["size"][0]), int(arrays["size"][1])),
        arrays["log_ratio"],
        arrays["seen"],
        tracks("queries"),
        {window: tracks(key) for key, window in windows.items()},
    )


def read_with_network(network: Seurat, stretch: Stretch, reading: Reading) -> NDArray:
    """Log ratio ``(24, N)`` to the first frame."""
    support = {
        window: tracks
        for window, tracks in stretch.support.items()
        if (window.length == LONG) == (reading == "whole")
        and (window.step == 1 or reading == "fused")
    }
    if reading == "carried":
        return _carry(network, stretch, support)
    estimates = estimate_windows(network, stretch.queries, support, stretch.size)
    joined = (fuse if reading == "fused" else chain)(estimates, LONG)
    return joined - joined[0]


def _carry(network: Seurat, stretch: Stretch, support: dict[Window, Tracks]) -> NDArray:
    """Windows one after another, each told what those before say of its first frame."""
    found = np.zeros(stretch.log_ratio.shape, np.float32)
    device = torch.device("cpu")
    for window in sorted(support, key=lambda window: window.start):
        seen = to_tracklets([stretch.queries.at(window.frames)], stretch.size, device)
        around = to_tracklets([support[window]], stretch.size, device)
        before = torch.from_numpy(found[window.start])[None]
        with torch.inference_mode():
            estimate = network(Carried(seen.position, seen.visible, before), around)
        found[list(window.frames)] = estimate.log_ratio[0].numpy()
    return found - found[0]


def read_with_formula(
    formula: Callable[[Tracklets, Tracklets], Tensor], stretch: Stretch
) -> NDArray:
    """The same, chained, from a formula that gives ``(1, 8, N)`` for a window's tracks."""
    estimates = []
    for window, tracks in stretch.support.items():
        if window.step > 1 or window.length == LONG:
            continue
        queries = stretch.queries.at(window.frames)
        shown = (to_tracklets([t], stretch.size, torch.device("cpu")) for t in (queries, tracks))
        ratio = formula(*shown)[0].numpy()
        estimates.append(WindowEstimate(window, ratio, np.ones_like(ratio), queries.visible))
    return chain(estimates, LONG)


def score(read: Callable[[Stretch], NDArray], found: list[Stretch]) -> dict[str, float]:
    """Figures (``methods.summarise``) over all stretches, in the frames after the first."""
    errors, true = [], []
    for stretch in found:
        scored = stretch.seen.copy()
        scored[0] = False
        errors.append(np.abs(read(stretch) - stretch.log_ratio)[scored])
        true.append(stretch.log_ratio[scored])
    return summarise(
        torch.from_numpy(np.concatenate(errors)).float(),
        torch.from_numpy(np.concatenate(true)).float(),
    )
