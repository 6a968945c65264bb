"""``kinedepth synth``: clips whose tracks and depth are known."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from kinedepth._terminal import StageProgress
from kinedepth.commands._parsing import parse_size


def synth_command(
    output: Annotated[Path, typer.Argument(help="Folder for the clips.")],
    clips: Annotated[int, typer.Option(help="How many clips.")] = 1,
    frames: Annotated[int, typer.Option(help="Frames of each clip.")] = 48,
    seed: Annotated[int, typer.Option(help="The same seed gives the same clips.")] = 0,
    size: Annotated[str, typer.Option(help="Width x height in pixels.")] = "640x360",
    richness: Annotated[str, typer.Option(help="Of the textures: rich, poor or mixed.")] = "mixed",
) -> None:
    """Render clips whose tracks and depth are known exactly.

    Each clip is NAME.mp4, NAME.npz (the truth, in the layout of TAPVid-3D), NAME_depth.npz and
    NAME.json. Clips that are already complete are skipped, so a run that was stopped goes on.
    """
    width, height = parse_size(size)
    from kinedepth.synthesis.clip_files import write_clips

    with StageProgress() as stages:
        written = write_clips(
            output,
            clips,
            frames,
            seed,
            width,
            height,
            richness,  # type: ignore[arg-type]  # write_clips checks it and says what it may be.
            progress=lambda done, total: stages.report("rendering", done, total),
        )
    skipped = f"; {clips - len(written)} were already there" if len(written) < clips else ""
    typer.echo(f"Wrote {', '.join(written) or 'no clip'} to {output}{skipped}.")
