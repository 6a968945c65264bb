"""One try at one video, in whatever process works on it."""

from __future__ import annotations

import contextlib
import os
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from kinedepth._terminal import say
from kinedepth.errors import KinedepthError
from kinedepth.exporting.atomic import disk_is_full

LOG_FILE = "log.txt"
"""In a video's folder: what was said while it was worked on."""

Work = Callable[[str, Path], None]
"""Called with a video and the folder of its results; raises KinedepthError for a bad video."""


@dataclass(frozen=True)
class Attempt:
    """How one try ended.

    Attributes:
        seconds: it took.
        reason: why it failed, in one sentence; empty where it worked.
        again: whether a second try may do better.
        disk_full: whether it failed for want of space.
    """

    seconds: float
    reason: str = ""
    again: bool = False
    disk_full: bool = False


def attempt(work: Work, video: str, folder: Path) -> Attempt:
    """Do the work on one video; what it says goes to :data:`LOG_FILE` in ``folder``.

    Nothing but Ctrl-C escapes: what the user can mend becomes a sentence, and so does a bug,
    whose traceback is in the log.
    """
    began = time.perf_counter()
    reason, again, full = "", False, False
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with (
            open(folder / LOG_FILE, "a", encoding="utf-8", errors="backslashreplace") as log,
            contextlib.redirect_stdout(log),
            contextlib.redirect_stderr(log),
        ):
            reason, again, full = _work(work, video, folder)
    except OSError as error:
        reason = f"{folder} cannot be written to ({error.strerror})."
        full = disk_is_full(error)
    return Attempt(time.perf_counter() - began, reason, again, full)


def use_one_thread() -> None:
    """Let the libraries that this process has yet to load use one thread, unless told otherwise."""
    threads = os.environ.setdefault("OMP_NUM_THREADS", "1")
    os.environ.setdefault("OPENCV_FOR_THREADS_NUM", threads)


def _work(work: Work, video: str, folder: Path) -> tuple[str, bool, bool]:
    """Why the work failed, whether to try again, and whether the disk is full."""
    try:
        work(video, folder)
    except KinedepthError as error:
        say(error)
        full = error.__cause__ is not None and disk_is_full(error.__cause__)
        return " ".join(str(error).split()), False, full
    except MemoryError:
        traceback.print_exc()
        return "Memory did not suffice.", True, False
    except Exception as error:
        traceback.print_exc()
        if disk_is_full(error):
            return "No space is left on the disk.", False, True
        kind = f"{type(error).__name__}: {error}"
        return f"A bug ({' '.join(kind.split())}); see {LOG_FILE}.", True, False
    return "", False, False
