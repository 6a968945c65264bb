"""A live run: frames from a source through the lifter to the outputs, and how late they come."""

from __future__ import annotations

import contextlib
import signal
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from kinedepth.errors import KinedepthError
from kinedepth.live.capture import Captured, Clock, FrameBox, Source, stalled, start_capture
from kinedepth.live.lifter import LiveLifter
from kinedepth.live.outputs import Output, OutputClosedError

STALL = 10.0
"""Seconds without a frame after which a source counts as broken."""

_LATE_WINDOWS = 2
"""Windows of the network that a frame may be late by."""

_REMEMBERED = 100_000
"""Frames whose latency is kept for the report: an hour and more."""

_RECENT = 50
"""Frames that the figures told on the way are taken from."""

_TELL_EVERY = 5.0
"""Seconds between them."""


@dataclass(frozen=True)
class LiveReport:
    """How a run went.

    Attributes:
        shown: frames that were followed and shown.
        dropped: frames that a newer one took the place of.
        seconds: from the first frame's arrival to the last one's showing.
        rate: frames shown a second.
        median, high, largest: seconds from a frame's arrival to its overlay being out: the
            median, what 95 % stay under, and the worst.
        bound: seconds that two windows of the network span at this rate.
        alive: points in the last frame.
    """

    shown: int
    dropped: int
    seconds: float
    rate: float
    median: float
    high: float
    largest: float
    bound: float
    alive: int

    def sentence(self) -> str:
        """For the user."""
        if self.shown == 0:
            return "No frame was shown."
        return (
            f"Showed {self.shown} frames in {self.seconds:.1f} s ({self.rate:.1f} a second), "
            f"dropped {self.dropped}; latency {_milliseconds(self.median)} median, "
            f"{_milliseconds(self.high)} for 95 %, {_milliseconds(self.largest)} at most, where "
            f"two windows are {_milliseconds(self.bound)}."
        )


class LatencyRecord:
    """Collects when frames came and when they were out."""

    def __init__(self, window: int) -> None:
        self._window = window
        self._latencies: deque[float] = deque(maxlen=_REMEMBERED)
        self._recent: deque[tuple[float, float]] = deque(maxlen=_RECENT)
        self._began = self._ended = 0.0
        self.shown = 0

    def add(self, arrived: float, out: float) -> None:
        """A frame was out, by the run's clock."""
        if self.shown == 0:
            self._began = arrived
        self.shown += 1
        self._ended = out
        self._latencies.append(out - arrived)
        self._recent.append((arrived, out))

    def report(self, dropped: int, alive: int) -> LiveReport:
        """Of the whole run so far."""
        if self.shown == 0:
            return LiveReport(0, dropped, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0)
        seconds = self._ended - self._began
        rate = self.shown / seconds if seconds > 0 else float("inf")
        median, high = np.percentile(self._latencies, [50, 95])
        return LiveReport(
            shown=self.shown,
            dropped=dropped,
            seconds=seconds,
            rate=rate,
            median=float(median),
            high=float(high),
            largest=max(self._latencies),
            bound=_LATE_WINDOWS * self._window / rate,
            alive=alive,
        )

    def recent(self, dropped: int, alive: int) -> str:
        """Of the last frames, as one line."""
        arrived, out = np.array(self._recent).T
        rate = (len(out) - 1) / max(out[-1] - out[0], 1e-9)
        late = out - arrived
        return (
            f"{rate:.1f} frames/s, {dropped} dropped, latency {_milliseconds(np.median(late))} "
            f"(95 % {_milliseconds(np.percentile(late, 95))}), {alive} points"
        )


def _milliseconds(seconds: float) -> str:
    return f"{1000 * seconds:.0f} ms"


def run_live(
    source: Source,
    lifter: LiveLifter,
    outputs: Sequence[Output],
    *,
    lossless: bool = False,
    stall: float = STALL,
    seconds: float | None = None,
    stop: threading.Event | None = None,
    tell: Callable[[str], None] | None = None,
    clock: Clock = time.monotonic,
) -> LiveReport:
    """Show frames with their points until the source ends, or nobody wants more.

    Args:
        source: of the frames.
        lifter: fresh, or one that already follows points of this source.
        outputs: opened here and closed at the end, whatever happens.
        lossless: let the source wait for the work instead of dropping frames; not live then.
        stall: seconds to wait for a frame.
        seconds: stop after so many; None for no end.
        stop: ends the run between two frames once it is set.
        tell: is given a line on how it goes every few seconds.
        clock: seconds that never go backwards.

    Raises:
        KinedepthError: the source cannot be opened, breaks or gives no frame for ``stall``
            seconds, or an output cannot be written.
    """
    record = LatencyRecord(lifter.window)
    box = FrameBox(lossless)
    stop = stop or threading.Event()
    alive = 0
    with contextlib.ExitStack() as stack:
        for output in outputs:
            stack.enter_context(output)
        stack.callback(box.end)
        start_capture(source, box, clock)
        began = told = clock()
        with contextlib.suppress(OutputClosedError):
            for frame in _frames(source, box, stall, stop):
                state = lifter.push(frame.image, frame.time)
                if state.restarted and tell is not None:
                    height, width = frame.image.shape[:2]
                    tell(f"frames are now {width}x{height}; all points begin anew")
                for output in outputs:
                    output.write(frame, state)
                now = clock()
                record.add(frame.arrived, now)
                alive = len(state)
                if tell is not None and now - told >= _TELL_EVERY:
                    told = now
                    tell(record.recent(box.dropped, alive))
                if seconds is not None and now - began >= seconds:
                    break
    return record.report(box.dropped, alive)


_POLL = 0.2
"""Seconds between two looks at whether to stop, while no frame comes."""


def _frames(
    source: Source, box: FrameBox, stall: float, stop: threading.Event
) -> Iterator[Captured]:
    """The newest frame, each time it is asked for."""
    waited = 0.0
    while not stop.is_set():
        try:
            frame = box.take(min(_POLL, stall))
        except TimeoutError:
            waited += min(_POLL, stall)
            if waited >= stall:
                raise stalled(source, stall) from None
            continue
        if frame is None:
            return
        waited = 0.0
        yield frame


@contextlib.contextmanager
def stopping_on_signals(stop: threading.Event) -> Iterator[None]:
    """Let Ctrl-C, and a polite kill, set ``stop`` instead of cutting work short.

    A second Ctrl-C interrupts at once. Only in the main thread; elsewhere nothing changes.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def handle(number: int, _: object) -> None:
        stop.set()
        signal.signal(number, before[number])

    numbers = [int(signal.SIGINT), int(signal.SIGTERM)]
    before = {number: signal.getsignal(number) for number in numbers}
    try:
        for number in numbers:
            signal.signal(number, handle)
        yield
    finally:
        for number in numbers:
            signal.signal(number, before[number])


def check_arguments(stall: float, seconds: float | None) -> None:
    """Raise KinedepthError unless both are positive and finite."""
    for name, value in (("--stall", stall), ("--seconds", seconds)):
        if value is not None and not 0 < value < float("inf"):
            raise KinedepthError(f"{name} takes a positive number of seconds; got {value}.")
