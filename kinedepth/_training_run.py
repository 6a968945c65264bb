"""``kinedepth train seurat``: a training run told on the terminal, with weights at the end."""

from __future__ import annotations

import dataclasses
import importlib.util
import math
import os
import sys
import time
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

import torch
import typer

from kinedepth._terminal import INTERRUPTED, say
from kinedepth._training_curve import draw_curve
from kinedepth.devices import find_device
from kinedepth.errors import KinedepthError
from kinedepth.seurat.checkpoint import save_checkpoint
from kinedepth.seurat.config import SeuratConfig
from kinedepth.seurat.model import Seurat
from kinedepth.training.seurat import SeuratTask
from kinedepth.training.trainer import LOG_FILE, Trainer, TrainingConfig

if TYPE_CHECKING:
    from rich.progress import Progress

MODELS = {"small": SeuratConfig, "base": SeuratConfig.base, "paper": SeuratConfig.paper}
"""What ``--model`` may name."""

PRECISIONS = ("float32", "bfloat16")

CURVE_FILE = "curve.png"


def train_seurat(
    folder: Path,
    *,
    model: str,
    steps: int,
    batch: int,
    learning_rate: float,
    minutes: float | None,
    device: str,
    precision: str,
    seed: int,
    test_every: int,
    weights: Path | None,
) -> None:
    """Train in ``folder``, going on where an earlier run there stopped; then export the weights.

    The options are those of the command, see :mod:`kinedepth.cli`. Stopped by Ctrl-C, it saves
    its state and exits with 130; out of time, it exports what there is.

    Raises:
        KinedepthError: if an option has no such value, or ``folder`` holds a run of another
            configuration.
    """
    if model not in MODELS:
        raise KinedepthError(f"There is no configuration {model!r}; choose {', '.join(MODELS)}.")
    if precision not in PRECISIONS:
        raise KinedepthError(f"Precision is {' or '.join(PRECISIONS)}; got {precision!r}.")
    if learning_rate <= 0 or (minutes is not None and minutes <= 0):
        raise KinedepthError("The learning rate and the minutes must be greater than zero.")
    if folder.exists() and not folder.is_dir():
        raise KinedepthError(f"{folder} is a file; give a folder for the training run.")
    target = weights or folder / f"{model}.safetensors"
    if weights is not None and not weights.parent.is_dir():
        raise KinedepthError(f"There is no folder {weights.parent} to write the weights into.")
    config = TrainingConfig(
        steps=steps,
        batch=batch,
        learning_rate=learning_rate,
        precision=precision,
        seed=seed,
        test_every=test_every,
    )
    task = SeuratTask(model=MODELS[model]())
    trainer = Trainer(task, config, folder, _process_device(device))
    first = trainer.rank == 0
    limit = math.inf if minutes is None else 60 * minutes
    try:
        with TrainingProgress(steps, shown=first) as progress:
            figures = trainer.run(progress.report, limit)
    except KeyboardInterrupt:
        if first:
            say(f"stopped by Ctrl-C at step {trainer.done}; run the same command to go on.")
        raise SystemExit(INTERRUPTED) from None
    if first:
        _export(trainer, target, config, figures or trainer.test())


def _process_device(name: str) -> torch.device:
    """The device of this process; under torchrun each process takes a GPU of its own."""
    device = find_device(name)
    local_rank = os.environ.get("LOCAL_RANK")
    if device.type == "cuda" and local_rank is not None:
        device = torch.device("cuda", int(local_rank))
        torch.cuda.set_device(device)
    return device


def _export(
    trainer: Trainer, target: Path, config: TrainingConfig, figures: dict[str, float]
) -> None:
    """Write the averaged weights, and the curve where it can be drawn."""
    assert isinstance(trainer.network, Seurat)
    trainer.network.load_state_dict(trainer.average)
    record: dict[str, Any] = {
        "steps": trainer.done,
        "processes": trainer.processes,
        "windows": trainer.done * config.batch * trainer.processes,
        "seconds": round(trainer.seconds, 1),
        "device": trainer.device.type,
        "config": dataclasses.asdict(config),
        "held_out": figures,
    }
    save_checkpoint(target, trainer.network, record)
    log = trainer.folder / LOG_FILE
    if importlib.util.find_spec("matplotlib") is not None and log.exists():
        draw_curve(log, trainer.folder / CURVE_FILE)
    typer.echo(f"Step {trainer.done} of {config.steps}; wrote {target}.")
    typer.echo(f"Use it: kinedepth lift my_clip.mp4 -o out --model {target}")


class TrainingProgress:
    """Shows steps, steps a second and held-out figures; one line a test when not on a terminal.

    Args:
        steps: in all.
        shown: False keeps it silent, for all processes of a run but the first.
    """

    def __init__(self, steps: int, shown: bool = True) -> None:
        self._steps = steps
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

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
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
        tested = "seurat_mean" in figures
        if tested:
            self._figures = (
                f"held-out error {figures['seurat_mean']:.4f} "
                f"(robust fit {figures.get('robust_mean', float('nan')):.4f})"
            )
        if self._bar is not None:
            description = ", ".join(filter(None, (speed, self._figures)))
            self._bar.update(self._task, completed=step, description=description)
        elif tested:
            line = ", ".join(filter(None, (f"step {step} of {self._steps}", speed, self._figures)))
            print(line, file=sys.stderr, flush=True)
