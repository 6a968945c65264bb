"""Workers that are processes of this machine."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Iterator
from multiprocessing.connection import Connection, wait
from pathlib import Path
from types import FrameType

from kinedepth.batch.attempt import Attempt, Work, attempt, use_one_thread

_SECONDS_TO_STOP = 10.0
"""A worker that is asked to stop has so long to remove its half-written files."""


class ProcessWorkers:
    """Processes that work on one video after the other; one that dies is replaced.

    They start when there is something to do, and end with this process, however it ends. The
    libraries they load stay loaded from video to video.

    Args:
        work: what to do with a video; has to be picklable.
        count: how many. Several get one thread each, unless OMP_NUM_THREADS says otherwise.
    """

    def __init__(self, work: Work, count: int = 1) -> None:
        self.count = count
        self._work = work
        self._idle: list[_Worker] = []
        self._busy: list[_Worker] = []

    def start(self, video: str, folder: Path) -> None:
        """Let a worker that has nothing to do begin a video."""
        worker = self._idle.pop() if self._idle else _Worker(self._work, self.count > 1)
        worker.begin(video, folder)
        self._busy.append(worker)

    def next(self) -> tuple[str, Attempt]:
        """Wait until a try has ended; returns the video and how it went."""
        ready = wait([worker.connection for worker in self._busy])
        worker = next(worker for worker in self._busy if worker.connection in ready)
        self._busy.remove(worker)
        ended, alive = worker.end()
        if alive:
            self._idle.append(worker)
        return worker.video, ended

    def close(self) -> None:
        """End all workers, and what they are doing."""
        for worker in (*self._idle, *self._busy):
            worker.process.terminate()
        deadline = time.monotonic() + _SECONDS_TO_STOP
        for worker in (*self._idle, *self._busy):
            worker.process.join(max(0.0, deadline - time.monotonic()))
            worker.process.kill()
            worker.process.join()
            worker.connection.close()
        self._idle, self._busy = [], []


class _Worker:
    """A process and the way to talk to it."""

    def __init__(self, work: Work, one_thread: bool) -> None:
        # Spawned: a fork lacks its parent's threads, and libraries that count on them hang.
        context = multiprocessing.get_context("spawn")
        self.connection, theirs = context.Pipe()
        self.process = context.Process(target=_serve, args=(theirs, work, one_thread), daemon=True)
        with _ctrl_c_held_back():
            self.process.start()
        theirs.close()  # So that the pipe ends when the worker does.
        self.video = ""
        self._began = 0.0

    def begin(self, video: str, folder: Path) -> None:
        self.video, self._began = video, time.perf_counter()
        with contextlib.suppress(OSError):  # A worker that died meanwhile is noticed at its end.
            self.connection.send((video, folder))

    def end(self) -> tuple[Attempt, bool]:
        """How the try ended, and whether the worker can go on."""
        try:
            return self.connection.recv(), True
        except (EOFError, OSError):
            self.process.join()
            self.connection.close()
            reason = _death(self.process.exitcode or 0)
            return Attempt(time.perf_counter() - self._began, reason, again=True), False


def _death(code: int) -> str:
    if code >= 0:
        return f"The process that worked on it ended with exit code {code}."
    name = signal.Signals(-code).name if -code in set(signal.Signals) else str(-code)
    perhaps = ", perhaps for want of memory" if name == "SIGKILL" else ""
    return f"The process that worked on it was ended by {name}{perhaps}."


def _serve(connection: Connection, work: Work, one_thread: bool) -> None:
    """The life of a worker."""
    signal.signal(signal.SIGTERM, _interrupt)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    if one_thread:
        use_one_thread()
    with contextlib.suppress(EOFError, KeyboardInterrupt):
        while True:
            connection.send(attempt(work, *connection.recv()))


def _interrupt(number: int, frame: FrameType | None) -> None:
    """End as by Ctrl-C, so that files that are being written are removed."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)  # Once is enough.
    raise KeyboardInterrupt


def _end_with_parent() -> None:
    """A worker must not write into folders that the next run of the batch works on."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    wait([parent.sentinel])
    os._exit(1)


@contextlib.contextmanager
def _ctrl_c_held_back() -> Iterator[None]:
    """Ctrl-C goes to all processes of a terminal; those started here leave it to their parent."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
