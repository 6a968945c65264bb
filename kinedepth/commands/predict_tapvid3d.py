"""``kinedepth predict tapvid3d``: a split of the benchmark, clip by clip."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from kinedepth._terminal import StageProgress, tell_log
from kinedepth.commands._options import Device, SeuratModel
from kinedepth.errors import KinedepthError


def predict_tapvid3d_command(
    data: Annotated[
        Path,
        typer.Option(
            help="Folder of the split: subfolders adt, drivetrack and pstudio, or the clips "
            "themselves."
        ),
    ],
    output: Annotated[
        Path,
        typer.Option(
            "--output", "-o", help="Folder for the predictions; what is there already is kept."
        ),
    ],
    tracker: Annotated[
        str,
        typer.Option(
            help="flow; file:PATH for tracks made elsewhere, with {clip} where the clip's name "
            "belongs; oracle for the true 2D tracks."
        ),
    ] = "flow",
    depth: Annotated[
        str,
        typer.Option(
            help="seurat; or a baseline: density (Eq. 4), constant, oracle (true depth of each "
            "point), files:PATH for dense depth, with {clip} in the path."
        ),
    ] = "seurat",
    model: SeuratModel = "small",
    method: Annotated[
        str, typer.Option(help="How windows are joined: fused or chained.")
    ] = "fused",
    anchor: Annotated[
        str | None,
        typer.Option(help="As of kinedepth lift; {clip} in it stands for the clip's name."),
    ] = None,
    anchor_fit: Annotated[str | None, typer.Option(help="As of kinedepth lift.")] = None,
    clips: Annotated[
        Path | None, typer.Option(help="Predict only these: a file with one file name a line.")
    ] = None,
    device: Device = "auto",
) -> None:
    """Predict 3D tracks for a split of TAPVid-3D.

    Run again to go on: finished clips are skipped. A clip that fails is named at the end and
    makes the exit code 2; the others are done nevertheless.
    """
    from kinedepth.evaluation.tapvid3d_files import find_clips, read_clip_names
    from kinedepth.prediction.methods import make_method
    from kinedepth.prediction.split import predict_split

    chosen = find_clips(data, None if clips is None else read_clip_names(clips))
    options = {"anchor": anchor, "anchor_fit": anchor_fit}
    given = {key: value for key, value in options.items() if value is not None}
    if given and anchor is None:
        raise KinedepthError("--anchor-fit says how an anchor is fitted; give --anchor, too.")
    predictor = make_method(depth, tracker, model, method, device, given)
    with StageProgress() as stages:
        outcome = predict_split(
            chosen,
            output,
            predictor,
            progress=lambda done, total: stages.report("clips", done, total),
            clip_done=lambda name, what: tell_log(f"{name}: {what}"),
        )
    typer.echo(
        f"Predicted {len(outcome.predicted)} of {len(chosen)} clips into {output}"
        + (f"; {len(outcome.skipped)} were already there." if outcome.skipped else ".")
    )
    if outcome.failed:
        reasons = "; ".join(f"{name}: {why}" for name, why in outcome.failed.items())
        raise KinedepthError(
            f"{len(outcome.failed)} of {len(chosen)} clips failed ({reasons}); mend the cause and "
            f"run the same command to do only these."
        )
