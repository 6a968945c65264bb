"""What a tracker is: one method, so that adding one is one file and one registry line."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from kinedepth.tracks import Queries, Tracks
from kinedepth.video import Video

Progress = Callable[[int, int], None]
"""Called with (frames done, frames in all)."""


@dataclass(frozen=True)
class TrackingJob:
    """Points to follow through some frames of a video.

    Attributes:
        queries: where the points start; ``queries.frame`` counts frames of the video and lies
            within ``frames``.
        frames: the frames to report, ascending with a constant step, e.g. ``range(0, 48)`` for
            a whole clip or ``range(8, 16, 1)`` / ``range(8, 40, 4)`` for a window at step 1 / 4.
    """

    queries: Queries
    frames: range


@dataclass(frozen=True)
class FramePart:
    """Where points of one job are in one frame that it reports.

    Attributes:
        job: index of the job.
        row: index of the frame in the job's frames.
        columns: ``(M,)`` which of the job's queries.
        xy: ``(M, 2)`` float32 pixels.
        visible: ``(M,)`` bool.
        complete: the job has nothing more to come.
    """

    job: int
    row: int
    columns: NDArray[np.int64]
    xy: NDArray[np.float32]
    visible: NDArray[np.bool_]
    complete: bool


class TrackingPasses(Protocol):
    """Jobs on their way through a video, handed out frame by frame.

    Attributes:
        frames_done: frames handed out, those of an earlier run included.
        frames_in_all: frames to hand out; one that is visited twice counts twice.
    """

    frames_done: int
    frames_in_all: int

    def __iter__(self) -> Iterator[list[FramePart]]:
        """The parts of each frame that is to come; no row of a job is given twice whole."""
        ...

    def state(self) -> dict[str, NDArray]:
        """What is needed to go on after the frame given last, as plain arrays."""
        ...


class Tracker(Protocol):
    """Pixels to 2D tracks.

    A tracker that cannot follow points of the caller's choosing, because its tracks were made
    elsewhere, has besides an attribute ``seeds_own_points = True`` (others need not have it).
    It answers a job over the whole clip with all its tracks, and a window's job with those
    visible in the frame of the window's queries, whose positions it ignores; the job's number
    of points then says nothing about the number of tracks.
    """

    name: str

    def track(
        self, video: Video, jobs: Sequence[TrackingJob], progress: Progress | None = None
    ) -> Iterator[tuple[int, Tracks]]:
        """Yield ``(index of the job, its tracks)``, each job once, in any order.

        A job's tracks have ``T = len(job.frames)``; ``query_frame`` counts along ``job.frames``.
        All jobs are handed over together so that work between frames is done once for all.
        """
        ...


class StreamingTracker(Tracker, Protocol):
    """A tracker whose long jobs need not lie in memory, and which goes on where it was stopped."""

    def passes(
        self,
        video: Video,
        jobs: Sequence[TrackingJob],
        state: Mapping[str, NDArray] | None = None,
    ) -> TrackingPasses:
        """The same jobs as :meth:`track`, handed out frame by frame.

        Args:
            video, jobs: as of :meth:`track`.
            state: what :meth:`TrackingPasses.state` gave before the run was stopped.
        """
        ...
