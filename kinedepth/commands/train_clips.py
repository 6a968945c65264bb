"""``kinedepth train clips``: what ``kinedepth train vda`` trains on."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from kinedepth._terminal import StageProgress
from kinedepth.commands._parsing import parse_size


def train_clips_command(
    output: Annotated[Path, typer.Argument(help="Folder for the clips.")],
    clips: Annotated[int, typer.Option(help="How many clips.")] = 160,
    frames: Annotated[int, typer.Option(help="Frames of each clip.")] = 32,
    size: Annotated[str, typer.Option(help="Width x height in pixels.")] = "112x112",
    seed: Annotated[int, typer.Option(help="Sets of different seeds share no clip.")] = 0,
    scenes: Annotated[
        str,
        typer.Option(help="static (only the camera moves), moving, mixed, or rooms (still, easy)."),
    ] = "mixed",
) -> None:
    """Render clips for training video depth: frames, exact disparity and exact flow.

    They are kept as plain arrays that are read fast. Clips that are whole are kept, so a run
    that was stopped goes on.
    """
    width, height = parse_size(size)
    from kinedepth.training.rendered_clips import write_training_clips

    with StageProgress() as stages:
        written = write_training_clips(
            output,
            clips,
            frames,
            width,
            height,
            seed,
            scenes,  # type: ignore[arg-type]  # write_training_clips says what it may be.
            progress=lambda done, total: stages.report("rendering", done, total),
        )
    skipped = f"; {clips - len(written)} were already there" if len(written) < clips else ""
    typer.echo(f"Rendered {len(written)} clips into {output}{skipped}.")
