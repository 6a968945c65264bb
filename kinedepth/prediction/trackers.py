"""Trackers for a clip of a benchmark, the oracle among them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from kinedepth.errors import KinedepthError
from kinedepth.evaluation.tapvid3d_clips import ClipTruth
from kinedepth.prediction.clips import BenchmarkClip
from kinedepth.tracking._track_table import held
from kinedepth.tracking.base import Progress, Tracker, TrackingJob
from kinedepth.tracking.registry import make_tracker
from kinedepth.tracks import Queries, Tracks
from kinedepth.video import Video

_NEAREST = 1e-6


class OracleTracker:
    """The true 2D tracks of a clip's queries; all other points are left to another tracker.

    The truth knows the queries alone, while Seurat also wants supporting tracks around them.

    Args:
        truth: of the clip.
        queries: the clip's; a job with these gets the true tracks.
        support: follows all other points.
    """

    name = "oracle"

    def __init__(self, truth: ClipTruth, queries: Queries, support: Tracker) -> None:
        self.tracks = true_tracks(truth)
        self._queries = queries
        self._support = support

    def track(
        self, video: Video, jobs: Sequence[TrackingJob], progress: Progress | None = None
    ) -> Iterator[tuple[int, Tracks]]:
        """As :class:`kinedepth.tracking.base.Tracker`."""
        whole = range(len(video))
        others = []
        for index, job in enumerate(jobs):
            if job.frames == whole and np.array_equal(job.queries.xy, self._queries.xy):
                yield index, self.tracks
            else:
                others.append(index)
        if others:
            left = [jobs[index] for index in others]
            for position, tracks in self._support.track(video, left, progress):
                yield others[position], tracks


def tracker_for(spec: str, clip: BenchmarkClip) -> Tracker:
    """The tracker that ``spec`` names for one clip.

    Args:
        spec: a name of ``kinedepth.tracking``, ``file:PATH`` with ``{clip}`` where the clip's
            name belongs, or ``oracle``.
        clip: to track.

    Raises:
        KinedepthError: no tracker has that name.
    """
    if spec == "oracle":
        return OracleTracker(clip.truth, clip.queries, make_tracker("flow"))
    return make_tracker(clip.fill_in(spec))


def check_tracker(spec: str) -> None:
    """Raise KinedepthError unless :func:`tracker_for` knows ``spec``."""
    if spec.startswith("file:") and "{clip}" not in spec:
        raise KinedepthError(
            f"{spec} is one file, but each clip needs its own; put {{clip}} where the clip's name "
            f"belongs, e.g. file:tracks/{{clip}}.npz."
        )
    if spec != "oracle":
        make_tracker(spec)


def follow_queries(clip: BenchmarkClip, spec: str, progress: Progress | None = None) -> Tracks:
    """The clip's queries through the whole clip.

    Raises:
        KinedepthError: as the tracker; or if a file holds other tracks than the clip asks for.
    """
    job = TrackingJob(clip.queries, range(len(clip.video)))
    (_, tracks), *_ = tracker_for(spec, clip).track(clip.video, [job], progress)
    check_count(clip, len(tracks), spec)
    return tracks


def check_count(clip: BenchmarkClip, tracks: int, spec: str) -> None:
    """Raise unless there is a track for every query of the clip."""
    if tracks != len(clip.queries):
        raise KinedepthError(
            f"{spec} holds {tracks} tracks for {clip.file.name}, which has {len(clip.queries)} "
            f"queries; give one track for each, in their order."
        )


def true_tracks(truth: ClipTruth) -> Tracks:
    """The projections of true 3D tracks; where unknown or behind the camera, the nearest known."""
    known = truth.xyz[..., 2:] > _NEAREST  # False for NaN
    xy = truth.intrinsics.project(np.where(known, truth.xyz, 1.0))
    return Tracks(held(np.where(known, xy, np.nan)), truth.visible, truth.query_frame)
