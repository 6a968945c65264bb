"""Ctrl-C that waits for the end of a step: a state saved in the middle of one is of no step."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Callable, Iterator
from types import FrameType

_INTERRUPTED = 130
"""Exit code after Ctrl-C: 128 + SIGINT, as shells have it."""


@contextlib.contextmanager
def ctrl_c_asked() -> Iterator[Callable[[], bool]]:
    """Inside the block, Ctrl-C only makes the function that it yields return True.

    A second Ctrl-C ends the program at once (``SystemExit``). Outside of a program's main thread,
    which alone hears of Ctrl-C, the function always returns False.
    """
    asked = threading.Event()

    def note(number: int, frame: FrameType | None) -> None:
        if asked.is_set():
            raise SystemExit(_INTERRUPTED)
        asked.set()

    if threading.current_thread() is not threading.main_thread():
        yield asked.is_set
        return
    before = signal.signal(signal.SIGINT, note)
    try:
        yield asked.is_set
    finally:
        signal.signal(signal.SIGINT, before)
