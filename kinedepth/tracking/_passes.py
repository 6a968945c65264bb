"""Driving a follower of points through a video, forwards and backwards, for many jobs at once.

A *follower* knows how to carry points from one frame to the next one it is shown. Everything
else that tracking asks for is here, once for all embedded trackers: points that start in
different frames, windows that report every fourth frame, the pass backwards in time, images
brought to working size, and memory that does not grow with the length of the video.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import cv2
import numpy as np
from numpy.typing import NDArray

from kinedepth.errors import KinedepthError
from kinedepth.tracking.base import Progress, TrackingJob
from kinedepth.tracks import Tracks
from kinedepth.video import Video

WORKING_SIDE = 768
"""Longest image side, in pixels, that the embedded trackers work at; larger frames shrink."""

BLOCK = 16
"""Frames decoded at once when a pass runs backwards in time."""


class Follower(Protocol):
    """Carries a changing set of points through frames shown one after another.

    Positions are in the working image, in OpenCV's convention: pixel centres at whole numbers.
    """

    def advance(self, image: NDArray[np.uint8]) -> None:
        """Carry all points into the next frame, ``image (h, w, 3)`` RGB."""
        ...

    def seed(self, xy: NDArray[np.float64]) -> None:
        """Add points ``(M, 2)``, behind the present ones, to the frame shown last."""
        ...

    def keep(self, mask: NDArray[np.bool_]) -> None:
        """Forget every point whose entry of ``mask (N,)`` is false."""
        ...

    def positions(self) -> NDArray[np.float64]:
        """``(N, 2)`` positions in the frame shown last."""
        ...

    def visible(self) -> NDArray[np.bool_]:
        """``(N,)`` whether each point is seen in the frame shown last."""
        ...


MakeFollower = Callable[[int, int], Follower]
"""Makes a follower for working images of (width, height)."""


@dataclass(frozen=True)
class _Points:
    """The points of all jobs in one pass, stacked."""

    job: NDArray[np.int64]  # (N,) which job each belongs to
    column: NDArray[np.int64]  # (N,) which query of that job
    start: NDArray[np.int64]  # (N,) frame of the query
    end: NDArray[np.int64]  # (N,) last frame of the pass that the job asks for
    xy: NDArray[np.float64]  # (N, 2) pixels of the original frame


class _Results:
    """The tracks of jobs under way: taken into memory on first use, released when complete."""

    def __init__(self, jobs: Sequence[TrackingJob], size: tuple[int, int]) -> None:
        self._jobs = jobs
        self._low = np.array([-0.5 * size[0], -0.5 * size[1]])
        self._high = np.array([1.5 * size[0], 1.5 * size[1]])
        self._arrays: dict[int, tuple[NDArray[np.float32], NDArray[np.bool_]]] = {}

    def record(
        self,
        job: int,
        frame: int,
        column: NDArray[np.int64],
        xy: NDArray[np.float64],
        visible: NDArray[np.bool_],
    ) -> None:
        """Note where points of a job are in ``frame``, if the job reports that frame."""
        frames = self._jobs[job].frames
        if frame not in frames:
            return
        if job not in self._arrays:
            shape = (len(frames), len(self._jobs[job].queries))
            self._arrays[job] = (np.zeros((*shape, 2), np.float32), np.zeros(shape, bool))
        positions, seen = self._arrays[job]
        row = frames.index(frame)
        positions[row, column] = np.clip(xy, self._low, self._high)
        seen[row, column] = visible

    def complete(self, job: int) -> Tracks:
        """Hand a finished job's tracks over."""
        xy, visible = self._arrays.pop(job)
        queries, frames = self._jobs[job].queries, self._jobs[job].frames
        row = (queries.frame - frames.start) // frames.step
        column = np.arange(len(queries))
        xy[row, column] = queries.xy
        visible[row, column] = True
        return Tracks(xy, visible, row)


def follow(
    video: Video,
    jobs: Sequence[TrackingJob],
    make_follower: MakeFollower,
    progress: Progress | None = None,
) -> Iterator[tuple[int, Tracks]]:
    """Track every job's points through its frames; yield each job as soon as it is complete.

    All points are carried together: first one pass forwards from the earliest query, then,
    only where a query lies behind its job's first frame, one pass backwards. A pass decodes
    the frames it needs as a stream and holds nothing but the follower's own memory.

    Raises:
        KinedepthError: a query lies outside the frame, or in a frame its job does not report.
    """
    _check(video, jobs)
    backward_jobs = {i for i, job in enumerate(jobs) if job.queries.frame.max() > job.frames[0]}
    passes = [(_stack(jobs, direction=1), 1)]
    if backward_jobs:
        passes.append((_stack(jobs, direction=-1), -1))
    in_all = sum(_span(points) for points, _ in passes)
    results = _Results(jobs, (video.width, video.height))
    done = 0
    for points, direction in passes:
        for finished in _run(video, points, direction, make_follower, results):
            done += 1
            if progress is not None:
                progress(done, in_all)
            for job in finished:
                if direction < 0 or job not in backward_jobs:
                    yield job, results.complete(job)


def _check(video: Video, jobs: Sequence[TrackingJob]) -> None:
    for job in jobs:
        job.queries.check_inside(video.width, video.height, len(video))
        frames = job.frames
        if len(frames) == 0 or frames.step < 1 or frames[0] < 0 or frames[-1] >= len(video):
            raise KinedepthError(
                f"A tracking job asks for frames {frames}, but the clip has frames 0 to "
                f"{len(video) - 1}; give an ascending range within them."
            )
        strays = [int(f) for f in np.unique(job.queries.frame) if int(f) not in frames]
        if strays:
            raise KinedepthError(
                f"A tracking job holds a query in frame {strays[0]}, which its frames {frames} "
                f"do not report."
            )


def _stack(jobs: Sequence[TrackingJob], direction: int) -> _Points:
    """All points that a pass in ``direction`` has to carry, in the order they start."""
    job, column, start, end, xy = [], [], [], [], []
    for index, each in enumerate(jobs):
        goal = each.frames[-1] if direction > 0 else each.frames[0]
        # A point seeded in the goal frame itself only needs the forward pass to record it.
        chosen = np.flatnonzero(direction * (goal - each.queries.frame) >= (direction < 0))
        job.append(np.full(len(chosen), index))
        column.append(chosen)
        start.append(each.queries.frame[chosen])
        end.append(np.full(len(chosen), goal))
        xy.append(each.queries.xy[chosen].astype(np.float64))
    starts = np.concatenate(start)
    order = np.argsort(direction * starts, kind="stable")
    return _Points(
        np.concatenate(job)[order],
        np.concatenate(column)[order],
        starts[order],
        np.concatenate(end)[order],
        np.concatenate(xy)[order],
    )


def _span(points: _Points) -> int:
    """How many frames a pass visits."""
    ends = np.concatenate([points.start, points.end])
    return int(ends.max() - ends.min()) + 1


def _run(
    video: Video,
    points: _Points,
    direction: int,
    make_follower: MakeFollower,
    results: _Results,
) -> Iterator[list[int]]:
    """One pass; yields, frame by frame, the jobs that are through with it."""
    width, height = working_size(video.width, video.height)
    scale = np.array([width / video.width, height / video.height])
    follower = make_follower(width, height)
    active = np.zeros(0, np.int64)  # indices into points, in the follower's order
    last = {int(j): int(e) for j, e in zip(points.job, points.end, strict=True)}
    first_frame = int(points.start.min() if direction > 0 else points.start.max())
    last_frame = int(points.end.max() if direction > 0 else points.end.min())
    for frame, image in _frames(video, first_frame, last_frame, direction):
        follower.advance(shrink(image, width, height))
        new = np.flatnonzero(points.start == frame)
        if len(new):
            follower.seed(points.xy[new] * scale - 0.5)
            active = np.concatenate([active, new])
        xy = (follower.positions() + 0.5) / scale
        visible = follower.visible()
        for job in np.unique(points.job[active]):
            mine = np.flatnonzero(points.job[active] == job)
            results.record(int(job), frame, points.column[active[mine]], xy[mine], visible[mine])
        staying = points.end[active] != frame
        if not staying.all():
            follower.keep(staying)
            active = active[staying]
        yield [job for job, end in last.items() if end == frame]


def _frames(
    video: Video, first: int, last: int, direction: int
) -> Iterator[tuple[int, NDArray[np.uint8]]]:
    """Frames ``first`` to ``last``, both included, one by one in either direction of time."""
    if direction > 0:
        for start, block in video.blocks(BLOCK, first, last + 1):
            for offset, image in enumerate(block):
                yield start + offset, image
        return
    for stop in range(first + 1, last, -BLOCK):
        start = max(stop - BLOCK, last)
        images = np.concatenate([block for _, block in video.blocks(BLOCK, start, stop)])
        for offset in range(len(images) - 1, -1, -1):
            yield start + offset, images[offset]


def working_size(width: int, height: int, side: int = WORKING_SIDE) -> tuple[int, int]:
    """Size of the working image: as the frame, or shrunk until its longer side is ``side``."""
    factor = min(1.0, side / max(width, height))
    return max(1, round(width * factor)), max(1, round(height * factor))


def shrink(image: NDArray[np.uint8], width: int, height: int) -> NDArray[np.uint8]:
    """``image`` at working size, averaged over areas so that fine texture does not alias."""
    if image.shape[1] == width and image.shape[0] == height:
        return image
    return cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA)  # type: ignore[return-value]
