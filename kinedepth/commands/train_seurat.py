"""``kinedepth train seurat``."""

from __future__ import annotations

from typing import Annotated

import typer

from kinedepth.commands._options import (
    Device,
    LearningRate,
    Minutes,
    Precision,
    TestEvery,
    TrainingFolder,
    TrainingSeed,
    TrainingSteps,
    WeightsFile,
)


def train_seurat_command(
    run: TrainingFolder,
    model: Annotated[
        str, typer.Option(help="small, base, or paper (as published, without our features).")
    ] = "small",
    steps: TrainingSteps = 10_000,
    batch: Annotated[int, typer.Option(min=1, help="Windows in a step, on each process.")] = 32,
    learning_rate: LearningRate = 5e-4,
    minutes: Minutes = None,
    device: Device = "auto",
    precision: Precision = "float32",
    seed: TrainingSeed = 0,
    test_every: TestEvery = 500,
    weights: WeightsFile = None,
) -> None:
    """Train Seurat on procedural windows, without images or downloads.

    Resumable: the same command goes on where it was stopped. Several processes:
    torchrun --nproc-per-node N -m kinedepth train seurat -o RUN ...
    """
    from kinedepth._training_run import train_seurat

    train_seurat(
        run,
        model=model,
        steps=steps,
        batch=batch,
        learning_rate=learning_rate,
        minutes=minutes,
        device=device,
        precision=precision,
        seed=seed,
        test_every=test_every,
        weights=weights,
    )
