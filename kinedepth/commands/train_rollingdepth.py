"""``kinedepth train rollingdepth``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from kinedepth.commands._options import (
    Device,
    Minutes,
    Precision,
    TestEvery,
    TrainingFolder,
    TrainingSeed,
    TrainingSteps,
)
from kinedepth.commands._parsing import parse_whole_numbers


def train_rollingdepth_command(
    run: TrainingFolder,
    data: Annotated[
        Path,
        typer.Option(help="Videos: clips as kinedepth train clips makes them, or TartanAir."),
    ],
    stills: Annotated[
        Path | None, typer.Option(help="Hypersim, for the snippets of one frame.")
    ] = None,
    held_out: Annotated[
        Path | None, typer.Option(help="Videos to test on; a tenth of --data if not given.")
    ] = None,
    init: Annotated[
        Path | None,
        typer.Option(
            help="Folder of a pipeline to begin with: RollingDepth, Marigold, Stable Diffusion 2; "
            "a tiny one is trained from scratch if not given."
        ),
    ] = None,
    lengths: Annotated[
        str, typer.Option(help="Frames of the snippets that a step mixes, each from 1 to 4.")
    ] = "1,2,3",
    size: Annotated[
        int, typer.Option(min=8, help="Pixels a side of random crops, a multiple of 8.")
    ] = 64,
    shrink: Annotated[
        int, typer.Option(min=1, help="Pixels a side that become one before the crop.")
    ] = 1,
    longest_dilation: Annotated[
        int, typer.Option(min=1, help="Frames between the neighbours of a snippet, at most.")
    ] = 25,
    last_time_share: Annotated[
        float, typer.Option(help="Snippets trained at the time where inference begins.")
    ] = 0.5,
    squeezed_share: Annotated[
        float, typer.Option(help="Of the others, those whose depth range is made smaller.")
    ] = 0.5,
    steps: TrainingSteps = 3000,
    batch: Annotated[int, typer.Option(min=1, help="Snippets in a step, on each process.")] = 12,
    at_once: Annotated[
        int, typer.Option(min=1, help="Of them in memory together; the rest is accumulated.")
    ] = 4,
    learning_rate: Annotated[
        float | None, typer.Option(help="Highest one; 3e-5 with --init, 6e-4 without.")
    ] = None,
    farthest: Annotated[
        float, typer.Option(help="Depth beyond which nothing counts in the test.")
    ] = 10.0,
    minutes: Minutes = None,
    device: Device = "auto",
    precision: Precision = "float32",
    seed: TrainingSeed = 0,
    test_every: TestEvery = 250,
    weights: Annotated[
        Path | None,
        typer.Option(help="Folder that the trained pipeline goes to; RUN/pipeline if not given."),
    ] = None,
) -> None:
    """Train RollingDepth on snippets of videos with true depth.

    Resumable: the same command goes on where it was stopped. Several processes:
    torchrun --nproc-per-node N -m kinedepth train rollingdepth -o RUN --data CLIPS ...
    Use it: kinedepth depth VIDEO --model rollingdepth --weights RUN/pipeline
    """
    from kinedepth._training_rolling_depth import train_rolling_depth

    train_rolling_depth(
        run,
        data=data,
        stills=stills,
        held_out=held_out,
        init=init,
        lengths=parse_whole_numbers("--lengths", lengths, "1,2,3"),
        size=size,
        shrink=shrink,
        longest_dilation=longest_dilation,
        last_time_share=last_time_share,
        squeezed_share=squeezed_share,
        steps=steps,
        batch=batch,
        at_once=at_once,
        learning_rate=learning_rate,
        farthest=farthest,
        minutes=minutes,
        device=device,
        precision=precision,
        seed=seed,
        test_every=test_every,
        weights=weights,
    )
