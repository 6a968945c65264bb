"""Per-frame depth made consistent along the tracks of a tracker."""

from __future__ import annotations

from collections.abc import Iterator

from kinedepth.dense.base import DepthModel
from kinedepth.dense.consistent import ConsistentDepth
from kinedepth.tracking.base import Tracker, TrackingJob
from kinedepth.tracking.registry import make_tracker
from kinedepth.tracks import Queries, Tracks, grid_points
from kinedepth.video import Video

WINDOW = 12
"""Frames through which points are followed: short, so that few get lost."""
STRIDE = 6
"""Frames between the beginnings of windows."""
_COLUMNS, _ROWS = 18, 12


def make_consistent(model: DepthModel, tracker: str | Tracker = "flow") -> ConsistentDepth:
    """A per-frame model whose scale and shift do not flicker.

    ::

        model = make_consistent(make_depth_model("depth-anything-v2-small"))
        depth = estimate_depth("clip.mp4", model)

    Args:
        model: whose depth flickers.
        tracker: follows the points; a name or ``file:PATH``.

    Raises:
        KinedepthError: no tracker has that name.
    """
    chosen = make_tracker(tracker) if isinstance(tracker, str) else tracker
    return ConsistentDepth(model, lambda video: follow_points(video, chosen))


def follow_points(video: Video, tracker: Tracker) -> Iterator[tuple[range, Tracks]]:
    """A grid of points through windows of :data:`WINDOW` frames, :data:`STRIDE` apart."""
    across, down = (_COLUMNS, _ROWS) if video.width >= video.height else (_ROWS, _COLUMNS)
    points = grid_points(video.width, video.height, across, down)
    last = max(len(video) - WINDOW, 0)
    starts = [*range(0, last, STRIDE), last]
    jobs = [
        TrackingJob(Queries(points, start), range(start, min(start + WINDOW, len(video))))
        for start in starts
    ]
    for index, tracks in tracker.track(video, jobs):
        yield jobs[index].frames, tracks
