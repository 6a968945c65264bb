"""Methods that say where the queries of a clip are in 3D."""

from __future__ import annotations

import hashlib
import inspect
from collections.abc import Callable
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from kinedepth.errors import KinedepthError
from kinedepth.evaluation.tapvid3d_clips import ClipPrediction
from kinedepth.lifting import WINDOW_STEPS, lift
from kinedepth.prediction.clips import BenchmarkClip
from kinedepth.prediction.depth_sources import (
    ConstantDepth,
    DepthSource,
    FileDepth,
    OracleDepth,
)
from kinedepth.prediction.trackers import (
    check_count,
    check_tracker,
    follow_queries,
    tracker_for,
)
from kinedepth.seurat.checkpoint import find_model, read_record
from kinedepth.seurat.density import density_log_ratio
from kinedepth.seurat.estimation import to_tracklets
from kinedepth.seurat.windows import WindowEstimate, chain, fuse, plan_windows
from kinedepth.tracking.base import TrackingJob
from kinedepth.tracks import Queries, Tracks, grid_points

Progress = Callable[[str, int, int], None]
"""Called with a stage, how much of it is done and how much there is."""

_WINDOW, _STRIDE, _SUPPORT = 8, 4, 24
"""Windows and supporting grid of the density baseline: those of the paper."""
_CERTAIN = 0.01


class ClipMethod(Protocol):
    """What predicts a clip.

    Attributes:
        settings: all that fixes its predictions, in plain values.
    """

    settings: dict[str, Any]

    def predict(self, clip: BenchmarkClip, progress: Progress | None = None) -> ClipPrediction:
        """3D tracks of the clip's queries, in their order.

        Raises:
            KinedepthError: if the clip cannot be predicted.
        """
        ...


class LiftMethod:
    """Seurat: :func:`kinedepth.lifting.lift` with the clip's queries and camera.

    Args:
        tracker: see :func:`kinedepth.prediction.trackers.tracker_for`.
        model, method, device: as of ``lift``.
        anchor: further arguments of ``lift`` (``anchor``, ``anchor_fit``); in text, ``{clip}``
            stands for the clip's name.
    """

    def __init__(
        self,
        tracker: str = "flow",
        model: str = "small",
        method: str = "fused",
        device: str = "auto",
        anchor: dict[str, str] | None = None,
    ) -> None:
        check_tracker(tracker)
        _check_method(method)
        weights = find_model(model)
        self._options: dict[str, Any] = {"model": model, "method": method, "device": device}
        self._tracker = tracker
        self._anchor = dict(anchor or {})
        unknown = set(self._anchor) - set(inspect.signature(lift).parameters)
        if unknown:
            raise KinedepthError("This version lifts without anchors; leave out --anchor.")
        self.settings = {
            "depth": "seurat",
            "tracker": tracker,
            "model": read_record(weights)[0].name,
            "weights_sha256": hashlib.sha256(weights.read_bytes()).hexdigest(),
            "method": method,
            **self._anchor,
        }

    def predict(self, clip: BenchmarkClip, progress: Progress | None = None) -> ClipPrediction:
        """As :class:`ClipMethod`."""
        tracker = tracker_for(self._tracker, clip)
        own_points = getattr(tracker, "seeds_own_points", False)
        anchor: dict[str, Any] = {key: clip.fill_in(value) for key, value in self._anchor.items()}
        lifted = lift(
            clip.video,
            None if own_points else clip.queries,
            tracker=tracker,
            progress=progress,
            **self._options,
            **anchor,
        )
        check_count(clip, len(lifted.tracks.tracks), self._tracker)
        return ClipPrediction(lifted.tracks.xyz.astype(np.float64), lifted.tracks.tracks.visible)


class UnprojectMethod:
    """The paper's "X + tracker": 2D tracks unprojected with the depth of X.

    Args:
        source: of the depth.
        tracker: see :func:`kinedepth.prediction.trackers.tracker_for`.
    """

    def __init__(self, source: DepthSource, tracker: str = "flow") -> None:
        check_tracker(tracker)
        self._source, self._tracker = source, tracker
        self.settings = {"depth": source.name, "tracker": tracker}

    def predict(self, clip: BenchmarkClip, progress: Progress | None = None) -> ClipPrediction:
        """As :class:`ClipMethod`."""
        report = None if progress is None else lambda done, all_: progress("tracking", done, all_)
        tracks = follow_queries(clip, self._tracker, report)
        return unprojected(clip, tracks, self._source.along(clip, tracks))


class DensityMethod:
    """The paper's hand-crafted baseline (Eq. 1-4) in the windows that ``lift`` looks through.

    Args:
        tracker: see :func:`kinedepth.prediction.trackers.tracker_for`. Tracks from a file are each
            other's neighbours; other trackers follow a grid of supporting points besides.
        method: how windows are joined, fused or chained.
    """

    def __init__(self, tracker: str = "flow", method: str = "fused") -> None:
        check_tracker(tracker)
        _check_method(method)
        self._tracker, self._method = tracker, method
        self.settings = {"depth": "density", "tracker": tracker, "method": method}

    def predict(self, clip: BenchmarkClip, progress: Progress | None = None) -> ClipPrediction:
        """As :class:`ClipMethod`."""
        video = clip.video
        size = (video.width, video.height)
        windows = plan_windows(len(video), _WINDOW, _STRIDE, WINDOW_STEPS[self._method])
        seeds = grid_points(*size, _SUPPORT, _SUPPORT)
        jobs = [TrackingJob(clip.queries, range(len(video)))]
        jobs += [TrackingJob(Queries(seeds, np.array(w.start)), w.frames) for w in windows]
        report = None if progress is None else lambda done, all_: progress("tracking", done, all_)
        tracker = tracker_for(self._tracker, clip)
        own_points = getattr(tracker, "seeds_own_points", False)
        found = dict(tracker.track(video, jobs, report))
        tracks = found[0]
        check_count(clip, len(tracks), self._tracker)
        estimates = []
        for index, window in enumerate(windows, start=1):
            queries = tracks.at(window.frames)
            near, around = (
                to_tracklets([each], size, torch.device("cpu")) for each in (queries, found[index])
            )
            log_ratio = density_log_ratio(
                near.position, around.position, around.visible, exclude_self=own_points
            )[0]
            scale = np.full(queries.visible.shape, _CERTAIN, np.float32)
            estimates.append(WindowEstimate(window, log_ratio.numpy(), scale, queries.visible))
        joined = (fuse if self._method == "fused" else chain)(estimates, len(video))
        return unprojected(clip, tracks, np.exp(joined))


DEPTHS = ("seurat", "density", "constant", "oracle", "files:PATH")
"""What ``make_method`` takes for depth; PATH holds ``{clip}``."""


def make_method(
    depth: str = "seurat",
    tracker: str = "flow",
    model: str = "small",
    method: str = "fused",
    device: str = "auto",
    anchor: dict[str, str] | None = None,
) -> ClipMethod:
    """The method that a command line asks for.

    Raises:
        KinedepthError: for an unknown name, or an anchor with a depth that is none of Seurat.
    """
    if depth == "seurat":
        return LiftMethod(tracker, model, method, device, anchor)
    if anchor:
        raise KinedepthError(
            f"Only depth ratios are anchored; leave out --anchor or --depth {depth}."
        )
    if depth == "density":
        return DensityMethod(tracker, method)
    if depth == "constant":
        return UnprojectMethod(ConstantDepth(), tracker)
    if depth == "oracle":
        return UnprojectMethod(OracleDepth(), tracker)
    kind, _, path = depth.partition(":")
    if kind == "files" and path:
        return UnprojectMethod(FileDepth(path), tracker)
    raise KinedepthError(f"There is no depth called {depth!r}; choose one of {', '.join(DEPTHS)}.")


def unprojected(clip: BenchmarkClip, tracks: Tracks, depth: NDArray[np.float64]) -> ClipPrediction:
    """2D tracks at a depth ``(T, N)``, with the clip's camera."""
    camera = clip.video.intrinsics
    assert camera is not None, "a clip of TAPVid-3D has intrinsics"
    return ClipPrediction(camera.unproject(tracks.xy.astype(np.float64), depth), tracks.visible)


def _check_method(method: str) -> None:
    if method not in WINDOW_STEPS:
        raise KinedepthError(f"Unknown method '{method}'; choose {' or '.join(WINDOW_STEPS)}.")
