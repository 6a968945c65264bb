"""``kinedepth train seurat``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def train_seurat_command(
    run: Annotated[
        Path,
        typer.Option("--output", "-o", help="Folder of the run; one that is there is resumed."),
    ],
    model: Annotated[
        str, typer.Option(help="small, base, or paper (as published, without our features).")
    ] = "small",
    steps: Annotated[int, typer.Option(min=1, help="How many steps in all.")] = 10_000,
    batch: Annotated[int, typer.Option(min=1, help="Windows in a step, on each process.")] = 32,
    learning_rate: Annotated[float, typer.Option(help="Highest learning rate.")] = 5e-4,
    minutes: Annotated[
        float | None, typer.Option(help="Stop after so long; run again to go on.")
    ] = None,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or mps.")] = "auto",
    precision: Annotated[
        str, typer.Option(help="Of matrix products: float32 or bfloat16.")
    ] = "float32",
    seed: Annotated[int, typer.Option(help="Of initial weights and data.")] = 0,
    test_every: Annotated[int, typer.Option(min=1, help="Steps between held-out tests.")] = 500,
    weights: Annotated[
        Path | None,
        typer.Option(help="Where the weights go; RUN/MODEL.safetensors if not given."),
    ] = None,
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
