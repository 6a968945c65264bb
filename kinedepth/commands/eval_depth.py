"""``kinedepth eval depth``: dense depth scored as the benchmarks do."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from kinedepth._terminal import StageProgress, say
from kinedepth.commands._options import FiguresFile


def eval_depth_command(
    predictions: Annotated[
        Path,
        typer.Option(help="Folder with CLIP.npz, or a folder CLIP, for each clip of the truth."),
    ],
    truth: Annotated[Path, typer.Option(help="Folder of the data set.")],
    dataset: Annotated[
        str | None,
        typer.Option(
            help="synth, rgbd, kitti, kitti-500, sintel, nyuv2, bonn, bonn-500, scannet, "
            "scannet-500 or scannet-tae; without it, what the folder looks like."
        ),
    ] = None,
    alignment: Annotated[
        str,
        typer.Option(
            help="auto (what the kind of depth leaves open), scale-shift, scale, median or none; "
            "one for the whole video."
        ),
    ] = "auto",
    as_published: Annotated[
        bool,
        typer.Option(
            "--as-published",
            help="Just as Video Depth Anything's own benchmark computes it, flaws of TAE included.",
        ),
    ] = False,
    cropped: Annotated[
        bool | None,
        typer.Option(
            "--cropped/--whole",
            help="Predictions show only the part of the frame that is scored, or all of it; "
            "without either, their size tells.",
        ),
    ] = None,
    kind: Annotated[
        str | None,
        typer.Option(
            help="What predictions mean, in place of what they say: metric, scale_invariant, "
            "affine_invariant or affine_invariant_disparity."
        ),
    ] = None,
    allow_missing: Annotated[
        bool,
        typer.Option(
            "--allow-missing",
            help="Score what can be scored; clips without a usable prediction are left out of "
            "the mean.",
        ),
    ] = False,
    output: FiguresFile = None,
) -> None:
    """Score depth of whole videos: AbsRel, RMSE, delta1 and temporal alignment error (TAE).

    Each figure is a mean over the valid pixels of a frame, then over frames, then over clips.
    """
    from kinedepth.evaluation.depth_benchmark import score_dataset
    from kinedepth.evaluation.depth_datasets import load_dataset, recognise_dataset
    from kinedepth.evaluation.depth_tables import (
        check_output,
        describe_protocol,
        score_table,
        write_scores,
    )
    from kinedepth.evaluation.problems import describe_problems

    if output is not None:
        check_output(output)
    name = dataset or recognise_dataset(truth)
    clips = load_dataset(truth, name, as_published)
    with StageProgress() as stages:
        scores = score_dataset(
            predictions,
            clips,
            name,
            alignment,  # type: ignore[arg-type]  # Checked there.
            as_published,
            cropped,
            kind,  # type: ignore[arg-type]  # Checked there.
            allow_missing,
            progress=lambda done, total: stages.report("scoring", done, total),
        )
    if scores.left_out:
        say(f"warning: left out of the mean, {describe_problems(scores.left_out)}.")
    typer.echo(describe_protocol(scores))
    _print(score_table(scores))
    if output is not None:
        write_scores(scores, output)
        typer.echo(f"Wrote {output}.")


def _print(table: object) -> None:
    import sys

    from rich.console import Console

    # In a pipe there is no width to fit into, and a figure cut off would be worse than a long line.
    console = Console() if sys.stdout.isatty() else Console(width=200)
    console.print(table)
