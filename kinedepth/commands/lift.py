"""``kinedepth lift``: points of a video in 3D."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from kinedepth._terminal import StageProgress, say
from kinedepth.commands._options import (
    Device,
    Frames,
    Overwrite,
    ResultsFolder,
    SeuratModel,
    VideoArgument,
)
from kinedepth.commands._parsing import parse_intrinsics
from kinedepth.errors import KinedepthError

if TYPE_CHECKING:
    from kinedepth.anchoring import AnchorSource
    from kinedepth.video import Video


def lift_command(
    video: VideoArgument,
    output: ResultsFolder,
    queries: Annotated[
        str | None,
        typer.Option(
            help="Points to lift: grid:20 (the default), a .csv file with the header "
            "x,y[,frame] in pixels, or a .npz file with queries_xyt. A tracker that brings its "
            "own points needs none."
        ),
    ] = None,
    query_frame: Annotated[
        int, typer.Option(min=0, help="Frame in which points sit that name none of their own.")
    ] = 0,
    tracker: Annotated[
        str, typer.Option(help="flow, or file:PATH for tracks made elsewhere (.npz or .csv).")
    ] = "flow",
    model: SeuratModel = "small",
    method: Annotated[
        str,
        typer.Option(
            help="fused: windows at several frame steps, joined by least squares; chained: one "
            "window after the other, as in the paper."
        ),
    ] = "fused",
    rigid: Annotated[
        bool,
        typer.Option(
            help="Let groups of points that move as one say, with the network, how depth "
            "changes. The paper's way: --method chained --no-rigid."
        ),
    ] = True,
    intrinsics: Annotated[
        str | None, typer.Option(help="fx,fy,cx,cy in pixels of the video's frames.")
    ] = None,
    fov: Annotated[
        float | None,
        typer.Option(help="Field of view in degrees across the longer side, e.g. 65."),
    ] = None,
    frames: Frames = None,
    anchor: Annotated[
        str | None,
        typer.Option(
            help="Depth that gives all tracks one scale: file:PATH (a .npz, or a folder of EXR "
            "or 16-bit PNG files), rigid (parallax of a scene that stands still), or a depth "
            "model, e.g. depth-anything-v2-metric-indoor-small (see kinedepth doctor)."
        ),
    ] = None,
    anchor_fit: Annotated[
        str,
        typer.Option(
            help="robust: one scale for a track, flicker of the anchor taken out; paper: one for "
            "each stretch in which a track is seen."
        ),
    ] = "robust",
    anchor_weights: Annotated[
        Path | None,
        typer.Option(help="Weights of the anchor's model that are here already, file or folder."),
    ] = None,
    accept_licence: Annotated[
        bool,
        typer.Option("--accept-licence", help="Agree to the licence of weights to download."),
    ] = False,
    device: Device = "auto",
    resume: Annotated[
        bool,
        typer.Option("--resume", help="Go on where the same command was stopped or killed."),
    ] = False,
    overwrite: Overwrite = False,
) -> None:
    """Lift points of a video to 3D.

    Writes tracks.npz, overlay.mp4, scene.html (opens in any browser, offline), summary.json
    and, where the Rerun SDK is installed, scene.rrd. Videos may be of any length; a run that was
    stopped goes on with --resume.
    """
    camera = parse_intrinsics(intrinsics)
    if queries is not None and tracker.startswith("file:"):
        raise KinedepthError(f"{tracker} brings its own points; leave out --queries.")
    from kinedepth.lifting.run import LiftRun, check_lift_folder
    from kinedepth.lifting.setup import prepare_lift
    from kinedepth.queries_file import parse_queries
    from kinedepth.video import load_video

    check_lift_folder(output, resume, overwrite)
    points = None if queries is None else parse_queries(queries, query_frame)
    clip = load_video(video, frames)
    scale = None
    if anchor is not None:
        scale = _open_anchor(anchor, clip, anchor_weights, accept_licence, device)
    elif anchor_weights is not None:
        raise KinedepthError("--anchor-weights needs the name of a model in --anchor.")
    setup = prepare_lift(
        clip,
        points,
        query_frame=query_frame,
        tracker=tracker,
        model=model,
        method=method,
        rigid=rigid,
        intrinsics=camera,
        field_of_view=fov,
        device=device,
    )
    with StageProgress(timed=("tracking",)) as stages:
        run = LiftRun(
            setup,
            output,
            anchor=scale,
            anchor_fit=anchor_fit,  # type: ignore[arg-type]  # The run checks it.
            tell=say,
            progress=stages.report,
        )
        result = run.run(resume, overwrite)
    facts = result.facts
    typer.echo(
        f"Lifted {facts['tracks']} points over {len(clip)} frames of {clip.name} "
        f"({clip.width}x{clip.height}) in {sum(result.seconds.values()):.1f} s."
    )
    if not setup.camera_known:
        typer.echo(
            "The camera is not known: a field of view of 60 degrees across the longer side is "
            "assumed. Give --fov or --intrinsics if you know better."
        )
    typer.echo(_about_depth(facts, setup.camera_known))
    typer.echo(f"Wrote {', '.join(path.name for path in result.written)} to {output}.")
    typer.echo(f"Look at it: kinedepth view {output}")


def _open_anchor(
    anchor: str, clip: Video, weights: Path | None, accept_licence: bool, device: str
) -> AnchorSource:
    """The anchor, its licence shown and agreed to where weights have to be downloaded."""
    from kinedepth.anchoring import open_anchor
    from kinedepth.dense.registry import DepthOptions
    from kinedepth.devices import find_device
    from kinedepth.hub import permission

    if weights is not None and (anchor == "rigid" or anchor.startswith("file:")):
        raise KinedepthError(f"--anchor {anchor} takes no weights; leave out --anchor-weights.")
    ask = typer.confirm if sys.stdin.isatty() else None
    return open_anchor(
        anchor,
        clip,
        options=DepthOptions(weights=weights),
        device=find_device(device),
        permit=permission(accept_licence, ask),
    )


def _about_depth(facts: dict[str, Any], camera_known: bool) -> str:
    """What a user has to know about the depth that was found."""
    anchor = facts.get("anchor")
    if anchor is None:
        return (
            "Depth is relative: without an anchor each track has a scale of its own, with "
            "depth 1 at its query frame."
        )
    if anchor["reason"]:
        return "Depth is relative: each track has depth 1 at its query frame."
    sentences = [f"Depth is in {facts['scale']}, from {anchor['source']}."]
    if anchor["tracks_without_depth"]:
        sentences.append(
            f"The anchor says nothing of {anchor['tracks_without_depth']} tracks; they are put at "
            f"the depth of their neighbours."
        )
    if "field_of_view" in anchor and not camera_known:
        degrees = anchor["field_of_view"]
        sentences.append(
            f"The model estimates a field of view of {degrees:.0f} degrees: --fov {degrees:.0f} "
            f"would use it."
        )
    return " ".join(sentences)
