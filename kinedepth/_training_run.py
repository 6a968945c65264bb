"""Training runs on the terminal: told as they go, stopped and gone on with, weights at the end."""

from __future__ import annotations

import dataclasses
import importlib.util
import math
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import torch
import typer

from kinedepth._terminal import INTERRUPTED, say
from kinedepth._training_curve import Curve, draw_curve
from kinedepth._training_progress import Describe, TrainingProgress
from kinedepth.devices import find_device
from kinedepth.errors import KinedepthError
from kinedepth.seurat.checkpoint import save_checkpoint
from kinedepth.seurat.config import SeuratConfig
from kinedepth.seurat.model import Seurat
from kinedepth.training.seurat import SeuratTask
from kinedepth.training.trainer import LOG_FILE, Task, Trainer, TrainingConfig

MODELS = {"small": SeuratConfig, "base": SeuratConfig.base, "paper": SeuratConfig.paper}
"""What ``--model`` may name."""

PRECISIONS = ("float32", "bfloat16")

CURVE_FILE = "curve.png"

_HELD_OUT_SHARE, _MOST_HELD_OUT = 10, 16

Footage = TypeVar("Footage")

_SEURAT_CURVE = Curve(
    label="mean error of the log depth ratio",
    lines={"seurat_mean": "network", "robust_mean": "robust local fit, without a network"},
)


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

    The options are those of the command, see :mod:`kinedepth.commands.train_seurat`. Stopped by
    Ctrl-C, it saves its state and exits with 130; out of time, it exports what there is.

    Raises:
        KinedepthError: if an option has no such value, or ``folder`` holds a run of another
            configuration.
    """
    if model not in MODELS:
        raise KinedepthError(f"There is no configuration {model!r}; choose {', '.join(MODELS)}.")
    target = weights or folder / f"{model}.safetensors"
    check_run_options(folder, target, learning_rate, minutes, precision)
    config = TrainingConfig(
        steps=steps,
        batch=batch,
        learning_rate=learning_rate,
        precision=precision,
        seed=seed,
        test_every=test_every,
    )

    def export(trainer: Trainer, record: dict[str, Any]) -> None:
        assert isinstance(trainer.network, Seurat)
        windows = trainer.done * config.batch * trainer.processes
        save_checkpoint(target, trainer.network, {**record, "windows": windows})

    run_training(
        SeuratTask.for_model(MODELS[model]()),
        config,
        folder,
        device=device,
        minutes=minutes,
        describe=_describe_seurat,
        curve=_SEURAT_CURVE,
        export=export,
        target=target,
    )
    if is_first_process():
        typer.echo(f"Use it: kinedepth lift my_clip.mp4 -o out --model {target}")


def _describe_seurat(figures: dict[str, float]) -> str | None:
    if "seurat_mean" not in figures:
        return None
    return (
        f"held-out error {figures['seurat_mean']:.4f} "
        f"(robust fit {figures.get('robust_mean', float('nan')):.4f})"
    )


def check_run_options(
    folder: Path, target: Path, learning_rate: float, minutes: float | None, precision: str
) -> None:
    """Raise unless the options that all training commands have make sense.

    Raises:
        KinedepthError: with what is wrong.
    """
    if precision not in PRECISIONS:
        raise KinedepthError(f"Precision is {' or '.join(PRECISIONS)}; got {precision!r}.")
    if learning_rate <= 0 or (minutes is not None and minutes <= 0):
        raise KinedepthError("The learning rate and the minutes must be greater than zero.")
    if folder.exists() and not folder.is_dir():
        raise KinedepthError(f"{folder} is a file; give a folder for the training run.")
    if target.parent != folder and not target.parent.is_dir():
        raise KinedepthError(f"There is no folder {target.parent} to write the weights into.")


def run_training(
    task: Task,
    config: TrainingConfig,
    folder: Path,
    *,
    device: str,
    minutes: float | None,
    describe: Describe,
    curve: Curve,
    export: Callable[[Trainer, dict[str, Any]], None],
    target: Path,
) -> None:
    """Train a task to its last step or for ``minutes``, then export the averaged weights.

    Args:
        task, config, folder: as of the trainer.
        device: auto, cpu, cuda or mps; under torchrun each process takes a GPU of its own.
        minutes: None for no limit.
        describe: held-out figures in a few words.
        curve: what to draw of the log, where matplotlib is installed.
        export: called in the first process with the trainer, whose network then has the averaged
            weights, and a record of the run (plain values); writes ``target``.
        target: named to the user.

    Raises:
        KinedepthError: if there is no such device, or ``folder`` holds a run of another
            configuration.
        SystemExit: with 130 when stopped by Ctrl-C; the state is saved.
    """
    trainer = Trainer(task, config, folder, _process_device(device))
    first = trainer.rank == 0
    limit = math.inf if minutes is None else 60 * minutes
    try:
        with TrainingProgress(config.steps, describe, shown=first) as progress:
            figures = trainer.run(progress.report, limit)
    except KeyboardInterrupt:
        if first:
            say(f"stopped by Ctrl-C at step {trainer.done}; run the same command to go on.")
        raise SystemExit(INTERRUPTED) from None
    if not first:
        return
    figures = figures or trainer.test()
    trainer.network.load_state_dict(trainer.average)
    record: dict[str, Any] = {
        "steps": trainer.done,
        "processes": trainer.processes,
        "seconds": round(trainer.seconds, 1),
        "device": trainer.device.type,
        "config": dataclasses.asdict(config),
        "held_out": figures,
    }
    export(trainer, record)
    log = folder / LOG_FILE
    if importlib.util.find_spec("matplotlib") is not None and log.exists():
        draw_curve(log, folder / CURVE_FILE, curve)
    typer.echo(f"Step {trainer.done} of {config.steps}; wrote {target}.")


def hold_out(footage: Sequence[Footage], source: Path) -> tuple[list[Footage], list[Footage]]:
    """What to train on, and every tenth of it (16 at most) to test on.

    Args:
        footage: clips or the like.
        source: where they are from, for the message.

    Raises:
        KinedepthError: if there are fewer than two.
    """
    if len(footage) < 2:
        raise KinedepthError(
            f"{source} holds one clip, which leaves none to test on; make more, or give --held-out."
        )
    apart = range(0, len(footage), _HELD_OUT_SHARE)[:_MOST_HELD_OUT]
    kept = [clip for index, clip in enumerate(footage) if index not in apart]
    return kept, [footage[index] for index in apart]


def is_first_process() -> bool:
    """Whether this is the process that talks; the others of a torchrun are silent."""
    return int(os.environ.get("RANK", "0")) == 0


def is_one_of_several() -> bool:
    """Whether torchrun started other processes beside this one."""
    return int(os.environ.get("WORLD_SIZE", "1")) > 1


def _process_device(name: str) -> torch.device:
    """The device of this process."""
    device = find_device(name)
    local_rank = os.environ.get("LOCAL_RANK")
    if device.type == "cuda" and local_rank is not None:
        device = torch.device("cuda", int(local_rank))
        torch.cuda.set_device(device)
    return device
