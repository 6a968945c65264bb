"""How the command line talks: results on stdout, progress, warnings and failures on stderr."""

from __future__ import annotations

import contextlib
import sys
import time
import warnings
from collections.abc import Collection, Iterator
from typing import TYPE_CHECKING, Any

from kinedepth.errors import KinedepthError
from kinedepth.exporting.atomic import disk_is_full

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

BAD_INPUT = 2
"""Exit code when the input or the setup is wrong, the one typer uses for wrong usage as well."""
INTERRUPTED = 130
"""Exit code after Ctrl-C: 128 + SIGINT, as shells have it."""


def say(sentence: object) -> None:
    """Print one line on stderr, whatever line breaks the text holds."""
    print("kinedepth:", " ".join(str(sentence).split()), file=sys.stderr)


@contextlib.contextmanager
def plain_failures() -> Iterator[None]:
    """Turn what the user can cause or mend into one line on stderr and an exit code.

    Warnings become one line each. Every other exception is a bug and keeps its traceback.
    """
    with plain_warnings():
        try:
            yield
        except KinedepthError as error:
            say(error)
            sys.exit(BAD_INPUT)
        except KeyboardInterrupt:
            say("stopped by Ctrl-C; files that were not complete are removed.")
            sys.exit(INTERRUPTED)
        except Exception as error:
            if not disk_is_full(error):
                raise
            say("no space is left on the disk; free some and run again.")
            sys.exit(BAD_INPUT)


@contextlib.contextmanager
def plain_warnings() -> Iterator[None]:
    """Turn each warning into one line on stderr."""
    with warnings.catch_warnings():
        warnings.showwarning = _say_warning
        yield


def tell_log(line: str) -> None:
    """A line on stderr where no bar is shown."""
    if not sys.stderr.isatty():
        print(line, file=sys.stderr, flush=True)


def _say_warning(message: Warning | str, *_: Any, **__: Any) -> None:
    say(f"warning: {message}")


_LOG_SECONDS = 60.0
"""Between two lines of a timed stage in a log."""


class StageProgress:
    """Shows how far the stages of a run are.

    On a terminal a bar for each stage; elsewhere (a log file, a pipe) one line when a stage is
    done. Both on stderr, so that stdout holds results only.

    Args:
        timed: stages that count frames and may take hours. They tell frames per second, and a
            log gets a line of them once a minute.

    ::

        with StageProgress() as stages:
            lift(video, progress=stages.report)
    """

    def __init__(self, timed: Collection[str] = ()) -> None:
        self._timed = timed
        self._bars: Progress | None = None
        self._tasks: dict[str, TaskID] = {}
        self._finished: set[str] = set()
        self._stage_began = 0.0
        self._last_line = 0.0
        # Of a timed stage: when it was first heard of, and how much was done by then.
        self._first: dict[str, tuple[float, int]] = {}

    def __enter__(self) -> StageProgress:
        self._stage_began = self._last_line = time.perf_counter()
        if sys.stderr.isatty():
            from rich.console import Console
            from rich.progress import (
                BarColumn,
                Progress,
                TaskProgressColumn,
                TextColumn,
                TimeElapsedColumn,
                TimeRemainingColumn,
            )

            self._bars = Progress(
                TextColumn("{task.description:<12}"),
                BarColumn(),
                TaskProgressColumn(),
                TimeElapsedColumn(),
                TextColumn("left"),
                TimeRemainingColumn(),
                TextColumn("{task.fields[rate]}"),
                console=Console(stderr=True),
            )
            self._bars.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._bars is not None:
            self._bars.stop()

    def report(self, stage: str, done: int, total: int) -> None:
        """Say that ``done`` of ``total`` of a stage is done."""
        rate = self._rate(stage, done) if stage in self._timed else ""
        if self._bars is not None:
            if stage not in self._tasks:
                # What an earlier run did says nothing about the time that is left.
                self._tasks[stage] = self._bars.add_task(stage, completed=done, rate=rate)
            self._bars.update(self._tasks[stage], completed=done, total=total, rate=rate)
        elif rate and done < total and time.perf_counter() - self._last_line > _LOG_SECONDS:
            self._last_line = time.perf_counter()
            print(f"{stage}: {done} of {total}, {rate}", file=sys.stderr, flush=True)
        elif done >= total and stage not in self._finished:
            self._finished.add(stage)
            # A stage begins where the one before ended: its first report may come late.
            seconds = time.perf_counter() - self._stage_began
            self._stage_began += seconds
            line = f"{stage}: done in {seconds:.1f} s"
            print(", ".join(filter(None, (line, rate))), file=sys.stderr, flush=True)

    def _rate(self, stage: str, done: int) -> str:
        """Frames a second since the stage was first heard of."""
        now = time.perf_counter()
        began, before = self._first.setdefault(stage, (now, done))
        return f"{(done - before) / (now - began):.2f} frames/s" if done > before else ""
