"""First stage of a lift: 2D tracks of the queries, and supporting tracks in every window.

What is found goes to the work's arrays row by row, so a long video is never held. A tracker that
can be stopped (:class:`kinedepth.tracking.base.StreamingTracker`) leaves its state every
:data:`CHECKPOINT_FRAMES` frames; others begin anew.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from kinedepth.lifting.setup import LiftJobs, LiftSetup
from kinedepth.lifting.work import LiftWork
from kinedepth.rows import Rows
from kinedepth.seurat.config import SeuratConfig
from kinedepth.seurat.windows import Window
from kinedepth.tracking.base import StreamingTracker, Tracker, TrackingJob
from kinedepth.tracks import Queries, Tracks
from kinedepth.video import Video

CHECKPOINT_FRAMES = 64
"""Frames tracked between two checkpoints: what a kill costs at most."""

_STAGE, _FINISHED = "tracking", "tracked"
_BLOCK = 256
"""Frames of finished tracks copied at once."""

Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class QueryTracks:
    """The queries' 2D tracks.

    Attributes:
        xy: ``(T, N, 2)`` float32 pixels.
        visible: ``(T, N)`` bool.
        query_frame: ``(N,)`` int64.
    """

    xy: Rows
    visible: Rows
    query_frame: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.query_frame)

    def at(self, frames: range) -> Tracks:
        """The tracks in some frames only; their query frames are then the first of these."""
        return Tracks(self.xy.read(frames), self.visible.read(frames), np.array(0))

    def whole(self) -> Tracks:
        """All of them, in memory."""
        frames = range(self.xy.shape[0])
        return Tracks(self.xy.read(frames), self.visible.read(frames), self.query_frame)


class Support(Protocol):
    """Supporting tracks of the windows, by the window's index."""

    def counts(self) -> list[int]:
        """How many there are in each window."""
        ...

    def of(self, window: int) -> Tracks:
        """Those of a window, in its frames."""
        ...


def track(
    setup: LiftSetup, work: LiftWork, progress: Progress | None = None
) -> tuple[QueryTracks, Support]:
    """Follow the queries through the video, and supporting points through each window.

    Raises:
        KinedepthError: the video cannot be read, the tracker does not fit it, or the disk is
            full.
    """
    if setup.queries is None:
        return _own_points(setup, work, progress)
    tracks = _query_tracks(setup, work, setup.queries.frame)
    points = setup.network.config.support_grid**2
    cells = len(setup.windows) * setup.windows[0].length
    support = GridSupport(
        setup.windows,
        work.rows("support_xy", (cells, points, 2), np.float32),
        work.rows("support_visible", (cells, points), bool),
    )
    jobs = LiftJobs(setup.video, setup.queries, setup.windows, setup.network.config.support_grid)
    if not work.done(_FINISHED):
        if callable(getattr(setup.tracker, "passes", None)):
            _stream(setup, work, jobs, tracks, support, progress)
        else:
            _collect(setup, jobs, tracks, support, progress)
        work.checkpoint(_FINISHED, 1)
    return tracks, support


def follow(
    tracker: Tracker,
    video: Video,
    queries: Queries,
    windows: Sequence[Window],
    config: SeuratConfig,
    progress: Progress | None = None,
) -> tuple[Tracks, dict[Window, Tracks]]:
    """The same in memory, for windows of any length: query tracks and support of each window."""
    jobs = LiftJobs(video, queries, windows, config.support_grid)
    found = dict(tracker.track(video, jobs, progress))
    return found[0], {window: found[index + 1] for index, window in enumerate(windows)}


class GridSupport:
    """Supporting tracks seeded on a grid in each window's first frame.

    Args:
        windows: all of one length W.
        xy: ``(windows * W, S, 2)`` float32 pixels, window after window.
        visible: ``(windows * W, S)`` bool.
    """

    def __init__(self, windows: Sequence[Window], xy: Rows, visible: Rows) -> None:
        self._length = windows[0].length
        self._count = len(windows)
        self._xy, self._visible = xy, visible

    def counts(self) -> list[int]:
        """As of :class:`Support`."""
        return [self._xy.shape[1]] * self._count

    def of(self, window: int) -> Tracks:
        """As of :class:`Support`."""
        rows = range(window * self._length, (window + 1) * self._length)
        return Tracks(self._xy.read(rows), self._visible.read(rows), np.array(0))

    def put(
        self, window: int, row: int, xy: NDArray[np.float32], visible: NDArray[np.bool_]
    ) -> None:
        """Keep ``xy (R, S, 2)`` and ``visible (R, S)`` of R rows of a window from ``row`` on."""
        self._xy.write(window * self._length + row, xy)
        self._visible.write(window * self._length + row, visible)


class OwnSupport:
    """Tracks of someone else support each other: those seen when a window begins.

    Args:
        windows: where.
        tracks: all of them.
    """

    def __init__(self, windows: Sequence[Window], tracks: QueryTracks) -> None:
        self._windows, self._tracks = windows, tracks

    def counts(self) -> list[int]:
        """As of :class:`Support`."""
        return [len(self._chosen(window)) for window in self._windows]

    def of(self, window: int) -> Tracks:
        """As of :class:`Support`."""
        chosen = self._chosen(self._windows[window])
        inside = self._tracks.at(self._windows[window].frames)
        return Tracks(inside.xy[:, chosen], inside.visible[:, chosen], np.array(0))

    def _chosen(self, window: Window) -> NDArray[np.intp]:
        # With nothing seen at first there is nothing to compare with; all tracks then stand in.
        seen = self._tracks.visible.read(range(window.start, window.start + 1))[0]
        return np.flatnonzero(seen) if seen.any() else np.arange(len(seen))


def _query_tracks(setup: LiftSetup, work: LiftWork, query_frame: NDArray[np.int64]) -> QueryTracks:
    shape = (len(setup.video), len(query_frame))
    xy = work.rows("tracks_xy", (*shape, 2), np.float32)
    return QueryTracks(xy, work.rows("visibility", shape, bool), query_frame)


def _stream(
    setup: LiftSetup,
    work: LiftWork,
    jobs: LiftJobs,
    tracks: QueryTracks,
    support: GridSupport,
    progress: Progress | None,
) -> None:
    """Let the tracker hand out its points frame by frame, from where it was stopped."""
    tracker: StreamingTracker = setup.tracker  # type: ignore[assignment]
    passes = tracker.passes(setup.video, jobs, work.state(_STAGE))
    if progress is not None:
        progress(passes.frames_done, passes.frames_in_all)
    for parts in passes:
        for part in parts:
            if part.job > 0:
                support.put(part.job - 1, part.row, part.xy[None], part.visible[None])
                continue
            row = range(part.row, part.row + 1)
            xy, visible = tracks.xy.read(row).copy(), tracks.visible.read(row).copy()
            xy[0, part.columns], visible[0, part.columns] = part.xy, part.visible
            tracks.xy.write(part.row, xy)
            tracks.visible.write(part.row, visible)
        if passes.frames_done % CHECKPOINT_FRAMES == 0:
            work.checkpoint(_STAGE, passes.frames_done, passes.state)
        if progress is not None:
            progress(passes.frames_done, passes.frames_in_all)


def _collect(
    setup: LiftSetup,
    jobs: LiftJobs,
    tracks: QueryTracks,
    support: GridSupport,
    progress: Progress | None,
) -> None:
    """Take whole jobs from a tracker that knows nothing else."""
    for index, found in setup.tracker.track(setup.video, jobs, progress):
        if index > 0:
            support.put(index - 1, 0, found.xy, found.visible)
        else:
            tracks.xy.write(0, found.xy)
            tracks.visible.write(0, found.visible)


def _own_points(
    setup: LiftSetup, work: LiftWork, progress: Progress | None
) -> tuple[QueryTracks, OwnSupport]:
    """Tracks of someone else as queries and as support; they are read anew each time."""
    nothing = Queries(np.zeros((1, 2), np.float32), np.array(0))
    job = TrackingJob(nothing, range(len(setup.video)))
    (_, found), *_ = setup.tracker.track(setup.video, [job], progress)
    tracks = _query_tracks(setup, work, found.query_frame)
    for first in range(0, found.frames, _BLOCK):
        tracks.xy.write(first, found.xy[first : first + _BLOCK])
        tracks.visible.write(first, found.visible[first : first + _BLOCK])
    return tracks, OwnSupport(setup.windows, tracks)
