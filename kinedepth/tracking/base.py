"""What a tracker is: one method, so that adding one is one file and one registry line."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

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
