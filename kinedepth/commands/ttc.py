"""``kinedepth ttc``: seconds until points reach the camera."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from kinedepth._terminal import StageProgress
from kinedepth.commands._options import Device, Frames, Overwrite, ResultsFolder, SeuratModel
from kinedepth.errors import KinedepthError

if TYPE_CHECKING:
    from kinedepth.contact_run import ContactRun


def ttc_command(
    video: Annotated[
        str,
        typer.Argument(help="A video file, a folder of images, a pattern or a TAPVid-3D .npz."),
    ],
    output: ResultsFolder,
    queries: Annotated[
        str | None,
        typer.Option(help="Points to follow, as of kinedepth lift; grid:20 if not given."),
    ] = None,
    tracker: Annotated[str, typer.Option(help="As of kinedepth lift.")] = "flow",
    model: SeuratModel = "small",
    fps: Annotated[
        float | None,
        typer.Option(help="Frames a second of the source; needed where it is images."),
    ] = None,
    warn: Annotated[
        float | None,
        typer.Option(help="Warn of points that arrive within so many seconds, surely (95 %)."),
    ] = None,
    window: Annotated[
        float, typer.Option(help="Seconds over which the closing rate is read.")
    ] = 0.25,
    rigid: Annotated[
        bool,
        typer.Option(
            "--rigid/--no-rigid",
            help="Fit what moves as one, the scene and single bodies; or take the network's word.",
        ),
    ] = True,
    frames: Frames = None,
    device: Device = "auto",
    overwrite: Overwrite = False,
) -> None:
    """Say in how many seconds each point reaches the camera, if it does.

    From depth ratios and the frame rate alone: neither depth, size nor speed has to be known.
    Writes ttc.csv, ttc.mp4 and summary.json. An aid to look at recordings, no safety device.
    """
    if queries is not None and tracker.startswith("file:"):
        raise KinedepthError(f"{tracker} brings its own points; leave out --queries.")
    from kinedepth.contact_run import (
        ContactRun,
        check_contact_folder,
        load_timed_video,
        save_run,
        with_rigid_ratios,
    )
    from kinedepth.queries_file import parse_queries
    from kinedepth.time_to_contact import check_warning, time_to_contact

    if warn is not None:
        check_warning(warn)
    check_contact_folder(output, overwrite)
    points = None if queries is None else parse_queries(queries)
    clip, times = load_timed_video(video, frames, fps)
    from kinedepth.lifting import lift

    with StageProgress() as stages:
        # Rigid groups come after it, since they need the times that --fps may have changed.
        lifted = lift(
            clip,
            points,
            tracker=tracker,
            model=model,
            rigid=False,
            device=device,
            progress=stages.report,
        )
        if rigid:
            lifted = with_rigid_ratios(lifted, times, stages.report)
        contact = time_to_contact(lifted.tracks, times, window)
        run = ContactRun(lifted, contact, warn, window)
        save_run(run, output, overwrite, stages.report)
    _tell(run, output)


def _tell(run: ContactRun, output: Path) -> None:
    facts = run.facts()
    typer.echo(
        f"Followed {facts['tracks']} points over {facts['frames']} frames at {facts['fps']:.4g} "
        f"a second."
    )
    soonest = facts["soonest"]
    if soonest is None:
        typer.echo("No point surely approaches.")
    else:
        typer.echo(
            f"Surest to come soon: point {soonest['track']} at ({soonest['x']:.0f}, "
            f"{soonest['y']:.0f}) in frame {soonest['frame']}, contact in {soonest['ttc']:.2f} s "
            f"({soonest['low']:.2f} to {soonest['high']:.2f})."
        )
    if run.warn is not None:
        first = facts["first_warning_time"]
        when = "no warning" if first is None else f"first warning at {first:.2f} s"
        typer.echo(f"Contact within {run.warn:g} s: {when}.")
    typer.echo(f"Wrote ttc.csv, ttc.mp4 and summary.json to {output}.")
