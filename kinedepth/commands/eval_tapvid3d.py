"""``kinedepth eval tapvid3d``: predictions scored as the benchmark does."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from kinedepth._terminal import StageProgress, say
from kinedepth.commands._options import FiguresFile


def eval_tapvid3d_command(
    data: Annotated[
        Path,
        typer.Option(
            help="Folder of the split: subfolders adt, drivetrack and pstudio, or the clips "
            "themselves."
        ),
    ],
    predictions: Annotated[
        list[Path],
        typer.Option(
            help="Folder of predictions, each at the place of its clip; repeat it to compare."
        ),
    ],
    scaling: Annotated[
        list[str],
        typer.Option(
            help="median, mean, none, per_trajectory, median_on_queries, local_neighborhood, "
            "reproduce_2d, affine, or all; repeat it for several tables."
        ),
    ] = ["median"],  # noqa: B006 (typer copies it)
    fixed_thresholds: Annotated[
        bool, typer.Option("--fixed-thresholds", help="Metres instead of pixels at true depth.")
    ] = False,
    affine_invariant: Annotated[
        bool,
        typer.Option(
            "--affine-invariant",
            help="Also fit one scale and one shift of depth a clip (scaling affine).",
        ),
    ] = False,
    allow_missing: Annotated[
        bool,
        typer.Option(
            "--allow-missing",
            help="Count clips without a usable prediction as zero, as the benchmark does.",
        ),
    ] = False,
    clips: Annotated[
        Path | None, typer.Option(help="Score only these: a file with one file name a line.")
    ] = None,
    output: FiguresFile = None,
) -> None:
    """Score 3D tracks against TAPVid-3D: 3D-AJ, APD, OA and temporal coherence.

    Rankings differ from one scaling to the next, so each table names its own.
    """
    from kinedepth.evaluation.tapvid3d_files import (
        describe_split_problems,
        find_clips,
        read_clip_names,
    )
    from kinedepth.evaluation.tapvid3d_scaling import SCALINGS
    from kinedepth.evaluation.tapvid3d_split import score_split
    from kinedepth.evaluation.tapvid3d_tables import check_output, format_table, write_scores

    if output is not None:
        check_output(output)
    wanted = [each.strip() for entry in scaling for each in entry.split(",")]
    wanted = list(SCALINGS) if "all" in wanted else wanted
    wanted = list(dict.fromkeys([*wanted, "affine"] if affine_invariant else wanted))
    everything = find_clips(data)
    chosen = everything if clips is None else find_clips(data, read_clip_names(clips))
    names = _distinct_names(predictions)
    gathered = []
    with StageProgress() as stages:
        for folder, name in zip(predictions, names, strict=True):
            stage = "scoring" if len(predictions) == 1 else f"scoring {name}"
            scores, problems = score_split(
                chosen,
                folder,
                wanted,  # type: ignore[arg-type]  # score_split checks the names.
                "fixed" if fixed_thresholds else "adaptive",
                name=name,
                all_clips=everything,
                allow_missing=allow_missing,
                progress=partial(stages.report, stage),
            )
            gathered.append(scores)
            if problems:
                told = describe_split_problems(problems, chosen)
                say(f"warning: of the predictions in {folder}, {told}.")
    tables = [format_table(rows) for rows in zip(*gathered, strict=True)]
    typer.echo("\n\n".join(tables))
    if output is not None:
        write_scores([each for scores in gathered for each in scores], output)
        typer.echo(f"Wrote {output}.")


def _distinct_names(folders: list[Path]) -> list[str]:
    """A name for each folder: its own, or its path where two share one."""
    names = [folder.resolve().name for folder in folders]
    return [
        str(folder) if names.count(name) > 1 else name
        for folder, name in zip(folders, names, strict=True)
    ]
