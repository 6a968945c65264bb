"""``kinedepth train vda``."""

from __future__ import annotations

from pathlib import Path
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


def train_vda_command(
    run: TrainingFolder,
    data: Annotated[
        Path, typer.Option(help="Folder of training clips, as kinedepth train clips makes them.")
    ],
    held_out: Annotated[
        Path | None,
        typer.Option(help="Folder of clips to test on; a tenth of --data if not given."),
    ] = None,
    model: Annotated[str, typer.Option(help="tiny, vits, vitb or vitl.")] = "tiny",
    loss: Annotated[
        str,
        typer.Option(help="Temporal loss: tgm (the paper's), opw or se (along the flow), or none."),
    ] = "tgm",
    freeze_encoder: Annotated[
        bool, typer.Option("--freeze-encoder", help="Train the head alone; needs --init.")
    ] = False,
    init: Annotated[
        Path | None,
        typer.Option(help="Weights of this model to begin with; random ones if not given."),
    ] = None,
    images: Annotated[
        Path | None,
        typer.Option(help="Folder of single images with NAME_disparity.npy, mixed into training."),
    ] = None,
    teacher: Annotated[
        str | None,
        typer.Option(help="Depth model that labels those of --images that have no label yet."),
    ] = None,
    steps: TrainingSteps = 1000,
    batch: Annotated[int, typer.Option(min=1, help="Clips in a step, on each process.")] = 1,
    frames: Annotated[
        int, typer.Option(min=1, help="Frames of a clip, up to 32; 1 for single frames.")
    ] = 32,
    size: Annotated[
        int, typer.Option(min=1, help="Pixels a side of random crops, a multiple of 14.")
    ] = 84,
    learning_rate: LearningRate = 1e-4,
    minutes: Minutes = None,
    device: Device = "auto",
    precision: Precision = "float32",
    seed: TrainingSeed = 0,
    test_every: TestEvery = 200,
    weights: WeightsFile = None,
) -> None:
    """Train Video Depth Anything on clips with true depth.

    Resumable: the same command goes on where it was stopped. Several processes:
    torchrun --nproc-per-node N -m kinedepth train vda -o RUN --data CLIPS ...
    """
    from kinedepth._training_video_depth import train_video_depth

    train_video_depth(
        run,
        data=data,
        held_out=held_out,
        model=model,
        loss=loss,
        freeze_encoder=freeze_encoder,
        init=init,
        images=images,
        teacher=teacher,
        steps=steps,
        batch=batch,
        frames=frames,
        size=size,
        learning_rate=learning_rate,
        minutes=minutes,
        device=device,
        precision=precision,
        seed=seed,
        test_every=test_every,
        weights=weights,
    )
