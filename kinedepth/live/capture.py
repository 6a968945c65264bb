"""Taking frames as they come and keeping only the newest, so that nobody falls behind.

A thread of its own reads the source at its pace. It leaves each frame in a box with room for one;
whoever works on frames takes the newest from there when ready for it. A frame that was not taken
before the next one came is dropped and counted. So what is shown is never older than the work on
two frames: the one under way when a frame came, and its own.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from kinedepth.errors import KinedepthError

Clock = Callable[[], float]
"""Seconds that never go backwards."""


@dataclass(frozen=True)
class Captured:
    """A frame and when it came.

    Attributes:
        image: ``(H, W, 3)`` uint8 RGB.
        index: of the frame in its source, from 0; dropped ones count.
        time: seconds in the source's own time, the first frame's being near 0.
        arrived: by the clock of the run, when the source had it.
    """

    image: NDArray[np.uint8]
    index: int
    time: float
    arrived: float


class Source(Protocol):
    """Where frames come from."""

    @property
    def label(self) -> str:
        """What to call it in a sentence."""
        ...

    def frames(self, clock: Clock) -> Iterator[Captured]:
        """Open the source and yield its frames as they come.

        Raises:
            KinedepthError: if it cannot be opened, or breaks.
        """
        ...


class FrameBox:
    """Hands frames from the thread that captures to the one that works.

    Args:
        lossless: let capturing wait until a frame is taken, instead of dropping it.
    """

    def __init__(self, lossless: bool = False) -> None:
        self.dropped = 0
        self._lossless = lossless
        self._frame: Captured | None = None
        self._error: BaseException | None = None
        self._ended = False
        self._changed = threading.Condition()

    def put(self, frame: Captured) -> bool:
        """Leave a frame, in place of one that nobody took; False once nobody wants more."""
        with self._changed:
            if self._lossless:
                self._changed.wait_for(lambda: self._frame is None or self._ended)
            if self._ended:
                return False
            self.dropped += self._frame is not None
            self._frame = frame
            self._changed.notify_all()
        return True

    def take(self, patience: float) -> Captured | None:
        """The newest frame, waiting for it if need be; None once there are no more.

        Raises:
            TimeoutError: if none came for ``patience`` seconds.
        """
        with self._changed:
            if not self._changed.wait_for(lambda: self._frame is not None or self._ended, patience):
                raise TimeoutError
            frame, self._frame = self._frame, None
            self._changed.notify_all()
            if frame is None and self._error is not None:
                raise self._error
            return frame

    def end(self, error: BaseException | None = None) -> None:
        """No more frames: the source is at its end or broke, or nobody wants any.

        A frame that was left can still be taken; the error is raised after it.
        """
        with self._changed:
            self._error = self._error or error
            self._ended = True
            self._changed.notify_all()


def start_capture(source: Source, box: FrameBox, clock: Clock = time.monotonic) -> threading.Thread:
    """Begin to fill the box from the source, in a thread that does not keep the process alive.

    A read that waits for a camera or a network without end cannot be interrupted; the thread is
    left to its fate then.
    """

    def work() -> None:
        error: BaseException | None = None
        try:
            for frame in source.frames(clock):
                if not box.put(frame):
                    break
        except BaseException as failure:  # Whatever it is, the working thread has to know.
            error = failure
        box.end(error)

    thread = threading.Thread(target=work, name="kinedepth-capture", daemon=True)
    thread.start()
    return thread


def stalled(source: Source, patience: float) -> KinedepthError:
    """What to say of a source that gives nothing."""
    return KinedepthError(
        f"{source.label} gave no frame for {patience:g} s; check that it runs, or allow more time "
        f"with --stall."
    )
