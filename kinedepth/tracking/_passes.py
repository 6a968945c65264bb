"""Driving a follower of points through a video, forwards and backwards, for many jobs at once.

A *follower* knows how to carry points from one frame to the next one it is shown. Everything
else that tracking asks for is here, once for all embedded trackers: points that start in
different frames, windows that report every fourth frame, the pass backwards in time, images
brought to working size, memory that does not grow with the length of the video, and going on
where an earlier run was stopped.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import cv2
import numpy as np
from numpy.typing import NDArray

from kinedepth.errors import KinedepthError
from kinedepth.tracking.base import FramePart, Progress, TrackingJob
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

    def state(self) -> dict[str, NDArray]:
        """All that decides on how the points go on from here; plain arrays by name."""
        ...

    def restore(self, state: Mapping[str, NDArray]) -> None:
        """Become what a follower was that gave this ``state``."""
        ...


MakeFollower = Callable[[int, int], Follower]
"""Makes a follower for working images of (width, height)."""


class Passes:
    """The passes over a video that serve some jobs, frame by frame.

    All points are carried together: first one pass forwards from the earliest query, then,
    only where a query lies behind its job's first frame, one pass backwards. A pass decodes
    the frames it needs as a stream and holds nothing but the follower's own memory.

    Args:
        video: the frames.
        jobs: the points; only read, job by job, so that they may be made as they are asked for.
        make_follower: makes what carries the points.
        state: what :meth:`state` gave in an earlier run with the same video and jobs.

    Raises:
        KinedepthError: a query lies outside the frame, or in a frame its job does not report.
    """

    def __init__(
        self,
        video: Video,
        jobs: Sequence[TrackingJob],
        make_follower: MakeFollower,
        state: Mapping[str, NDArray] | None = None,
    ) -> None:
        _check(video, jobs)
        self._video, self._jobs, self._make_follower = video, jobs, make_follower
        self._passes = [_Pass(jobs, 1)]
        if any(job.queries.frame.max() > job.frames[0] for job in jobs):
            self._passes.append(_Pass(jobs, -1))
        self.frames_in_all = sum(len(each.frames) for each in self._passes)
        self.frames_done = 0 if state is None else int(state["frames_done"])
        self._low = np.array([-0.5 * video.width, -0.5 * video.height])
        self._high = np.array([1.5 * video.width, 1.5 * video.height])
        self._size = working_size(video.width, video.height)
        self._scale = np.array(self._size) / [video.width, video.height]
        self._active = _Active.none()
        self._follower = make_follower(*self._size)
        if state is not None:
            self._active = _Active(state["job"], state["column"], state["end"])
            prefix = "follower."
            own = {k.removeprefix(prefix): v for k, v in state.items() if k.startswith(prefix)}
            self._follower.restore(own)

    def __iter__(self) -> Iterator[list[FramePart]]:
        """Where the jobs' points are, a list for each frame of each pass that is to come."""
        skipped = self.frames_done
        for each in self._passes:
            frames = each.frames[min(skipped, len(each.frames)) :]
            if len(frames) == len(each.frames):  # The pass begins; points of another are gone.
                self._follower, self._active = self._make_follower(*self._size), _Active.none()
            skipped -= len(each.frames) - len(frames)
            for frame, image in _images(self._video, frames):
                parts = self._advance(each, frame, shrink(image, *self._size))
                self.frames_done += 1
                yield parts

    def state(self) -> dict[str, NDArray]:
        """What is needed to go on after the frame given last, as plain arrays."""
        return {
            "frames_done": np.array(self.frames_done),
            "job": self._active.job,
            "column": self._active.column,
            "end": self._active.end,
            **{f"follower.{name}": value for name, value in self._follower.state().items()},
        }

    def _advance(self, each: _Pass, frame: int, image: NDArray[np.uint8]) -> list[FramePart]:
        """One frame: points are carried into it, those of its queries begin, others end."""
        follower = self._follower
        follower.advance(image)
        seeds = np.zeros((0, 2), np.float32)
        if frame in each.starts:
            new, seeds = each.seeded(self._jobs, frame)
            follower.seed(seeds.astype(np.float64) * self._scale - 0.5)
            self._active = self._active.joined(new)
        xy = (follower.positions() + 0.5) / self._scale
        places: NDArray[np.float32] = np.clip(xy, self._low, self._high).astype(np.float32)
        visible = follower.visible().copy()
        places[len(xy) - len(seeds) :] = seeds  # Exactly; scaling there and back rounds.
        visible[len(xy) - len(seeds) :] = True

        active, parts = self._active, []
        for index in np.unique(active.job):
            mine = np.flatnonzero(active.job == index)
            reported = self._jobs[index].frames
            ends = each.closes(self._jobs, int(index), frame)
            if frame in reported:
                row = reported.index(frame)
                part = (active.column[mine], places[mine], visible[mine])
                parts.append(FramePart(int(index), row, *part, complete=ends))
        staying = active.end != frame
        if not staying.all():
            follower.keep(staying)
            self._active = active.chosen(staying)
        return parts


@dataclass(frozen=True)
class _Active:
    """Which points the follower carries, in its order."""

    job: NDArray[np.int64]  # (N,) which job each belongs to
    column: NDArray[np.int64]  # (N,) which query of that job
    end: NDArray[np.int64]  # (N,) last frame of the pass that the job asks for

    @classmethod
    def none(cls) -> _Active:
        return cls(*(np.zeros(0, np.int64) for _ in range(3)))

    def joined(self, other: _Active) -> _Active:
        return _Active(
            np.concatenate([self.job, other.job]),
            np.concatenate([self.column, other.column]),
            np.concatenate([self.end, other.end]),
        )

    def chosen(self, mask: NDArray[np.bool_]) -> _Active:
        return _Active(self.job[mask], self.column[mask], self.end[mask])


class _Pass:
    """One pass over the video: its frames in order, and which jobs have queries in which.

    Attributes:
        direction: 1 forwards, -1 backwards in time.
        starts: for each frame with queries the jobs that they belong to, ascending.
        frames: those that it visits.
    """

    def __init__(self, jobs: Sequence[TrackingJob], direction: int) -> None:
        self.direction = direction
        self.starts: dict[int, list[int]] = {}
        ends = []
        for index, job in enumerate(jobs):
            goal = self._goal(job)
            here = [int(f) for f in np.unique(job.queries.frame) if self._wants(goal, int(f))]
            for frame in here:
                self.starts.setdefault(frame, []).append(index)
            ends += [goal] if here else []
        visited = [*self.starts, *ends]
        first, last = (min(visited), max(visited))[::direction]
        self.frames = range(first, last + direction, direction)

    def seeded(
        self, jobs: Sequence[TrackingJob], frame: int
    ) -> tuple[_Active, NDArray[np.float32]]:
        """The points that begin in ``frame``, and their pixels ``(M, 2)``."""
        new, xy = _Active.none(), [np.zeros((0, 2), np.float32)]
        for index in self.starts[frame]:
            job = jobs[index]
            column = np.flatnonzero(job.queries.frame == frame)
            goal = np.full(len(column), self._goal(job))
            new = new.joined(_Active(np.full(len(column), index), column, goal))
            xy.append(job.queries.xy[column])
        return new, np.concatenate(xy)

    def closes(self, jobs: Sequence[TrackingJob], index: int, frame: int) -> bool:
        """Whether a job has all its rows once this pass is through with ``frame``."""
        job = jobs[index]
        if frame != self._goal(job):
            return False
        return self.direction < 0 or job.queries.frame.max() == job.frames[0]

    def _goal(self, job: TrackingJob) -> int:
        return job.frames[-1] if self.direction > 0 else job.frames[0]

    def _wants(self, goal: int, frame: int) -> bool:
        # A point seeded in the goal frame itself only needs the forward pass to record it.
        return self.direction > 0 or goal < frame


def follow(
    video: Video,
    jobs: Sequence[TrackingJob],
    make_follower: MakeFollower,
    progress: Progress | None = None,
) -> Iterator[tuple[int, Tracks]]:
    """Track every job's points through its frames; yield each job as soon as it is complete.

    Raises:
        KinedepthError: as :class:`Passes`.
    """
    passes = Passes(video, jobs, make_follower)
    # Taken into memory on first use, released when complete.
    under_way: dict[int, tuple[NDArray[np.float32], NDArray[np.bool_]]] = {}
    for parts in passes:
        if progress is not None:
            progress(passes.frames_done, passes.frames_in_all)
        for part in parts:
            queries, frames = jobs[part.job].queries, jobs[part.job].frames
            if part.job not in under_way:
                shape = (len(frames), len(queries))
                under_way[part.job] = (np.zeros((*shape, 2), np.float32), np.zeros(shape, bool))
            xy, visible = under_way[part.job]
            xy[part.row, part.columns] = part.xy
            visible[part.row, part.columns] = part.visible
            if part.complete:
                del under_way[part.job]
                start = (queries.frame - frames.start) // frames.step
                yield part.job, Tracks(xy, visible, start)


class FollowingTracker:
    """A tracker whose points a follower carries; a subclass has a name and says which."""

    name: str

    def make_follower(self, width: int, height: int) -> Follower:
        """For working images of this size."""
        raise NotImplementedError

    def track(
        self, video: Video, jobs: Sequence[TrackingJob], progress: Progress | None = None
    ) -> Iterator[tuple[int, Tracks]]:
        """As :class:`kinedepth.tracking.base.Tracker` asks."""
        return follow(video, jobs, self.make_follower, progress)

    def passes(
        self,
        video: Video,
        jobs: Sequence[TrackingJob],
        state: Mapping[str, NDArray] | None = None,
    ) -> Passes:
        """As :class:`kinedepth.tracking.base.StreamingTracker` asks."""
        return Passes(video, jobs, self.make_follower, state)


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


def _images(video: Video, frames: range) -> Iterator[tuple[int, NDArray[np.uint8]]]:
    """The frames at ``frames``, neighbours in either direction of time, one by one."""
    if not frames:
        return
    if frames.step > 0:
        for start, block in video.blocks(BLOCK, frames.start, frames.stop):
            for offset, image in enumerate(block):
                yield start + offset, image
        return
    last = frames[-1]
    for stop in range(frames.start + 1, last, -BLOCK):
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
