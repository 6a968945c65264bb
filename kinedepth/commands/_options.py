"""Options that several commands share, declared once so that they say and mean the same."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

VideoArgument = Annotated[
    str,
    typer.Argument(
        help="A video file, a folder of images, a pattern such as 'frames/*.png' or a "
        "TAPVid-3D .npz."
    ),
]
ResultsFolder = Annotated[Path, typer.Option("--output", "-o", help="Folder for the results.")]
Frames = Annotated[
    str | None, typer.Option(help="Which frames to use, start:stop[:step], e.g. 0:48 or ::2.")
]
SeuratModel = Annotated[
    str, typer.Option(help="A shipped model (see kinedepth doctor) or a checkpoint file.")
]
Device = Annotated[str, typer.Option(help="auto, cpu, cuda or mps.")]
Overwrite = Annotated[
    bool, typer.Option("--overwrite", help="Replace an earlier run in the output folder.")
]
FiguresFile = Annotated[
    Path | None,
    typer.Option("--output", "-o", help="Every figure of every clip, as .json or .csv."),
]

TrainingFolder = Annotated[
    Path, typer.Option("--output", "-o", help="Folder of the run; one that is there is resumed.")
]
TrainingSteps = Annotated[int, typer.Option(min=1, help="How many steps in all.")]
LearningRate = Annotated[float, typer.Option(help="Highest learning rate.")]
Minutes = Annotated[float | None, typer.Option(help="Stop after so long; run again to go on.")]
Precision = Annotated[str, typer.Option(help="Of matrix products: float32 or bfloat16.")]
TrainingSeed = Annotated[int, typer.Option(help="Of initial weights and data.")]
TestEvery = Annotated[int, typer.Option(min=1, help="Steps between held-out tests.")]
WeightsFile = Annotated[
    Path | None, typer.Option(help="Where the weights go; RUN/MODEL.safetensors if not given.")
]
