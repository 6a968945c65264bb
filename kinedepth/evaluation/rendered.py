"""Log depth ratios on rendered clips, whose tracks and depth are exact.

Windows of 8 frames at frame steps 1, 2 and 4. In each, the clip's points that are visible in
the first frame are dealt in turn: one is a query, the next a supporting track. Tracks are the
true ones or a tracker's, seeded at the true places; the truth is the point's own depth, so an
error of the tracker counts as an error. Scored are queries where they are truly visible, in
the frames after the first.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from kinedepth.evaluation.methods import estimate, summarise, window_refiner
from kinedepth.seurat.estimation import to_tracklets
from kinedepth.seurat.model import Seurat
from kinedepth.seurat.uncertainty import Calibration
from kinedepth.seurat.windows import plan_windows
from kinedepth.synthesis.clip_files import ClipTruth
from kinedepth.tracking.base import Tracker, TrackingJob
from kinedepth.tracks import Queries, Tracks
from kinedepth.video import Video

_WINDOW = 8
_STEPS = (1, 2, 4)
_LEAST_POINTS = 20


@dataclass
class RatioErrors:
    """Errors gathered over clips, by method, and the true log ratios they belong to."""

    errors: dict[str, list[torch.Tensor]]
    truth: list[torch.Tensor]

    @classmethod
    def empty(cls) -> RatioErrors:
        """Nothing gathered yet."""
        return cls({}, [])

    def summary(self) -> dict[str, dict[str, float]]:
        """Figures (``methods.summarise``) of every method."""
        flat = torch.cat(self.truth)
        return {name: summarise(torch.cat(parts), flat) for name, parts in self.errors.items()}


def gather_clip(
    gathered: RatioErrors,
    truth: ClipTruth,
    network: Seurat | None,
    tracker: Tracker | None = None,
    video: Video | None = None,
    calibration: Calibration | None = None,
) -> None:
    """Add one clip's errors; with ``tracker`` its tracks of ``video``, else the true ones.

    Rigid groups need the ``calibration`` of the network and are left out without.
    """
    windows = [
        window.frames
        for window in plan_windows(len(truth.visibility), _WINDOW, _WINDOW, _STEPS)
        if truth.visibility[window.start].sum() >= _LEAST_POINTS
    ]
    points = [np.flatnonzero(truth.visibility[window.start]) for window in windows]
    size = (truth.intrinsics.width, truth.intrinsics.height)
    device = torch.device("cpu") if network is None else next(network.parameters()).device
    tracks = _tracks(truth, windows, points, tracker, video)
    for window, index, found in zip(windows, points, tracks, strict=True):
        queries, support = _every_other(found, 0), _every_other(found, 1)
        with torch.inference_mode():
            estimates = estimate(
                network,
                to_tracklets([queries], size, device),
                to_tracklets([support], size, device),
                refine=window_refiner(queries, truth.intrinsics, calibration),
            )
        true, scored = _truth(truth, window, index[0::2])
        gathered.truth.append(true[scored])
        for name, log_ratio in estimates.items():
            error = (log_ratio[0].cpu() - true).abs()
            gathered.errors.setdefault(name, []).append(error[scored])


def _tracks(
    truth: ClipTruth,
    windows: list[range],
    points: list[NDArray[np.int64]],
    tracker: Tracker | None,
    video: Video | None,
) -> list[Tracks]:
    """Tracks of the chosen points through each window."""
    if tracker is None:
        return [
            Tracks(
                truth.tracks_xy[list(window)][:, index],
                truth.visibility[list(window)][:, index],
                np.array(0),
            )
            for window, index in zip(windows, points, strict=True)
        ]
    assert video is not None, "a tracker needs the video"
    jobs = [
        TrackingJob(Queries(truth.tracks_xy[window.start, index], np.array(window.start)), window)
        for window, index in zip(windows, points, strict=True)
    ]
    found = dict(tracker.track(video, jobs))
    return [found[job] for job in range(len(jobs))]


def _every_other(tracks: Tracks, first: int) -> Tracks:
    return Tracks(tracks.xy[:, first::2], tracks.visible[:, first::2], np.array(0))


def _truth(
    truth: ClipTruth, window: range, index: NDArray[np.int64]
) -> tuple[torch.Tensor, torch.Tensor]:
    """True log ratios ``(8, N)`` to the window's first frame, and which of them are scored."""
    depth = truth.tracks_xyz[list(window)][:, index, 2]
    scored = truth.visibility[list(window)][:, index]
    log_ratio = np.log(np.maximum(depth, 1e-6) / depth[:1])
    scored[0] = False
    return torch.from_numpy(log_ratio), torch.from_numpy(scored)


def score_lift(truth: ClipTruth, log_ratio: NDArray[np.float32]) -> dict[str, float]:
    """Figures of log depth ratios ``(T, N)`` over a whole clip, against each query frame.

    Returns:
        ``mean`` absolute error where points are truly visible; ``end``, the same in the last
        frame; ``jitter``, the mean absolute error of the second difference over frames, where
        a point is visible in all three (the part of an error that flickers).
    """
    query_frame = truth.queries_xyt[:, 2].astype(int)
    depth = np.maximum(truth.tracks_xyz[..., 2], 1e-6)
    true = np.log(depth / depth[query_frame, np.arange(depth.shape[1])])
    seen = truth.visibility
    error = log_ratio - true
    three = seen[:-2] & seen[1:-1] & seen[2:]
    second = error[:-2] - 2 * error[1:-1] + error[2:]
    return {
        "mean": float(np.abs(error)[seen].mean()),
        "end": float(np.abs(error[-1])[seen[-1]].mean()),
        "jitter": float(np.abs(second)[three].mean()),
    }
