"""How far a training run is, told on the terminal."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.progress import Progress

Describe = Callable[[dict[str, float]], str | None]
"""Figures of a step or a test in a few words; None if they are no test's."""


class TrainingProgress:
    """Shows steps, steps a second and held-out figures; one line a test when not on a terminal.

    Args:
        steps: in all.
        describe: held-out figures in a few words; None for what is logged at other steps.
        shown: False keeps it silent, for all processes of a run but the first.
    """

    def __init__(self, steps: int, describe: Describe, shown: bool = True) -> None:
        self._steps = steps
        self._describe = describe
        self._shown = shown
        self._bar: Progress | None = None
        self._began: tuple[int, float] | None = None
        self._figures = ""

    def __enter__(self) -> TrainingProgress:
        if self._shown and sys.stderr.isatty():
            from rich.console import Console
            from rich.progress import (
                BarColumn,
                MofNCompleteColumn,
                Progress,
                TextColumn,
                TimeElapsedColumn,
                TimeRemainingColumn,
            )

            self._bar = Progress(
                MofNCompleteColumn(),
                BarColumn(),
                TimeElapsedColumn(),
                TextColumn("left"),
                TimeRemainingColumn(),
                TextColumn("{task.description}"),
                console=Console(stderr=True),
            )
            self._task = self._bar.add_task("", total=self._steps)
            self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._bar is not None:
            self._bar.stop()

    def report(self, step: int, figures: dict[str, float]) -> None:
        """Take what the trainer says after a step or a test."""
        if not self._shown:
            return
        now = time.perf_counter()
        if self._began is None:
            # The run may begin at any step, and its first one warms up caches: count from here.
            self._began = (step, now)
        steps, seconds = step - self._began[0], now - self._began[1]
        speed = f"{steps / seconds:.2f} steps/s" if steps else ""
        described = self._describe(figures)
        if described is not None:
            self._figures = described
        if self._bar is not None:
            description = ", ".join(filter(None, (speed, self._figures)))
            self._bar.update(self._task, completed=step, description=description)
        elif described is not None:
            line = ", ".join(filter(None, (f"step {step} of {self._steps}", speed, self._figures)))
            print(line, file=sys.stderr, flush=True)
