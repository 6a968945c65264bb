"""Many videos, one after the other or several at a time, each whatever becomes of the others."""

from __future__ import annotations

import json
from collections import Counter, deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from kinedepth.batch.attempt import Attempt
from kinedepth.errors import KinedepthError

MOST_TRIES = 2
"""Of a video that met a bug or whose worker died."""


@dataclass(frozen=True)
class Outcome:
    """What became of a video.

    Attributes:
        video: its path.
        folder: of its results.
        state: ``done``; ``earlier``, done by an earlier run; ``failed``; or ``open``.
        frames, points: that were worked on, where its summary tells.
        seconds: the work took.
        reason: why it failed, in one sentence.
    """

    video: str
    folder: Path
    state: str
    frames: int | None = None
    points: int | None = None
    seconds: float | None = None
    reason: str = ""


class Workers(Protocol):
    """Who works on videos, :attr:`count` at a time."""

    count: int

    def start(self, video: str, folder: Path) -> None:
        """Let one of them begin a video."""
        ...

    def next(self) -> tuple[str, Attempt]:
        """Wait until a try has ended; returns the video and how it went."""
        ...

    def close(self) -> None:
        """End whatever still runs."""
        ...


Report = Callable[[Outcome], None]
"""Called with what became of a video, once it is known."""


def run_batch(
    folders: Mapping[str, Path], make_workers: Callable[[], Workers], report: Report
) -> dict[str, Outcome]:
    """Work on every video whose folder holds no finished run.

    A bad video fails and the others go on. So they do where a bug or the death of a worker
    strikes; that video is tried once more, after all others.

    Args:
        folders: of the videos, by path.
        make_workers: called if there is something to do.
        report: see :data:`Report`; those done earlier come first.

    Returns:
        What became of each, in the order of ``folders``.

    Raises:
        KinedepthError: if the disk is full: all others would fail as well.
    """
    outcomes: dict[str, Outcome] = {}

    def settle(outcome: Outcome) -> None:
        outcomes[outcome.video] = outcome
        report(outcome)

    for video, folder in folders.items():
        if read_summary(folder) is not None:
            settle(_finished(video, folder, "earlier"))
    waiting = deque(video for video in folders if video not in outcomes)
    if waiting:
        workers = make_workers()
        try:
            _work_off(waiting, folders, workers, settle)
        finally:
            workers.close()
    return {video: outcomes[video] for video in folders}


def read_summary(folder: Path) -> dict[str, Any] | None:
    """What a finished run tells of itself; None where none is finished."""
    try:
        summary = json.loads((folder / "summary.json").read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return None
    return summary if isinstance(summary, dict) else None


def _work_off(
    waiting: deque[str], folders: Mapping[str, Path], workers: Workers, settle: Report
) -> None:
    tries: Counter[str] = Counter()
    running = 0
    while waiting or running:
        while waiting and running < workers.count:
            video = waiting.popleft()
            tries[video] += 1
            workers.start(video, folders[video])
            running += 1
        video, ended = workers.next()
        running -= 1
        if not ended.reason:
            settle(_finished(video, folders[video], "done"))
        elif ended.disk_full:
            raise KinedepthError(
                "No space is left on the disk; free some and run the same command to go on."
            )
        elif ended.again and tries[video] < MOST_TRIES:
            waiting.append(video)
        else:
            seconds = round(ended.seconds, 1)
            settle(Outcome(video, folders[video], "failed", seconds=seconds, reason=ended.reason))


def _finished(video: str, folder: Path, state: str) -> Outcome:
    summary = read_summary(folder)
    if summary is None:
        reason = "It ended without a summary.json."
        return Outcome(video, folder, "failed", reason=reason)
    stages = summary.get("seconds")
    seconds = sum(stages.values()) if isinstance(stages, dict) else None
    return Outcome(
        video,
        folder,
        state,
        summary.get("frames"),
        summary.get("tracks"),
        None if seconds is None else round(seconds, 1),
    )
