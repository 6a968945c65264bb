"""``kinedepth depth``: dense depth of a video."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from kinedepth._terminal import StageProgress, say
from kinedepth.commands._options import Device, Frames, Overwrite, ResultsFolder, VideoArgument
from kinedepth.commands._parsing import parse_intrinsics, parse_whole_numbers
from kinedepth.errors import KinedepthError

if TYPE_CHECKING:
    from kinedepth.exporting.stereo import StereoSettings

_MEANING = {
    "metric": "Values are depth in metres.",
    "scale_invariant": "Values are depth up to one unknown factor; they are not metres.",
    "affine_invariant": (
        "Values are depth up to an unknown factor and offset: which of two points is nearer is "
        "right, ratios are not."
    ),
    "affine_invariant_disparity": (
        "Values are inverse depth up to an unknown factor and offset: larger is nearer; they "
        "are not metres."
    ),
}
"""For each kind of depth what a user has to know."""


def depth_command(
    video: VideoArgument,
    output: ResultsFolder,
    model: Annotated[
        str,
        typer.Option(
            help="vda-small, vda-base, vda-large, or in metres vda-metric-small, -base, -large; "
            "vda or vda-metric for weights of kinedepth train vda; rollingdepth; an unknown name "
            "lists all."
        ),
    ] = "vda-small",
    weights: Annotated[
        Path | None,
        typer.Option(
            help="Weights that are here already: a .pth or .safetensors file, or the folder of "
            "a model of several files. Nothing is downloaded then."
        ),
    ] = None,
    accept_licence: Annotated[
        bool,
        typer.Option(
            "--accept-licence", help="Agree to the licence of weights that restrict their use."
        ),
    ] = False,
    input_size: Annotated[
        int | None,
        typer.Option(min=14, help="Pixels of the short side in the network; 518 as in training."),
    ] = None,
    precision: Annotated[
        str | None, typer.Option(help="float32, bfloat16 or float16; the model's own if not given.")
    ] = None,
    strategy: Annotated[
        str | None,
        typer.Option(
            help="How windows of a long video are tied together: keyframes (the default), "
            "overlap or none."
        ),
    ] = None,
    stream: Annotated[
        bool, typer.Option("--stream", help="Frame by frame without looking ahead, as if live.")
    ] = False,
    align_stream: Annotated[
        bool,
        typer.Option("--align-stream", help="Keep a stream's scale from drifting."),
    ] = False,
    scene_cuts: Annotated[
        bool, typer.Option("--scene-cuts", help="Begin anew at every cut of the video.")
    ] = False,
    consistent: Annotated[
        bool,
        typer.Option(
            "--consistent", help="Scale and shift frames to agree, for models that look at each."
        ),
    ] = False,
    steady: Annotated[
        bool,
        typer.Option("--steady", help="Take out flicker, for models that look at frames alone."),
    ] = False,
    preset: Annotated[
        str | None,
        typer.Option(help="Of rollingdepth: fast (the default), fast1024, full or paper."),
    ] = None,
    resolution: Annotated[
        int | None,
        typer.Option(
            help="Pixels of the long side in rollingdepth or marigold; 0 for the video's own."
        ),
    ] = None,
    dilations: Annotated[
        str | None,
        typer.Option(help="Frames between the neighbours of a snippet (rollingdepth): 1,10,25."),
    ] = None,
    snippet_length: Annotated[
        int | None, typer.Option(help="Frames in a snippet (rollingdepth); 3 as in training.")
    ] = None,
    steps: Annotated[
        int | None,
        typer.Option(help="Denoising steps (rollingdepth, marigold)."),
    ] = None,
    refine_steps: Annotated[
        int | None, typer.Option(help="Steps of refining the whole video (rollingdepth).")
    ] = None,
    solver: Annotated[
        str | None,
        typer.Option(help="How snippets are aligned (rollingdepth): irls, or adam as published."),
    ] = None,
    decode: Annotated[
        str | None,
        typer.Option(
            help="What rollingdepth decodes: all snippets, as published, or merged frames once, "
            "which is faster and close to it."
        ),
    ] = None,
    tiny_decoder: Annotated[
        str | None,
        typer.Option(
            help="Decode with a tiny autoencoder, coarser and faster (rollingdepth): a folder, or "
            "taesd to download it."
        ),
    ] = None,
    seed: Annotated[int | None, typer.Option(help="Of the noise (rollingdepth, marigold).")] = None,
    formats: Annotated[
        str, typer.Option("--format", help="Of npz, mp4, png16, exr, with commas between.")
    ] = "npz,mp4",
    half: Annotated[
        bool, typer.Option("--half", help="16-bit floats in npz and exr: half the size.")
    ] = False,
    colormap: Annotated[str, typer.Option(help="Colours of the mp4.")] = "inferno",
    side_by_side: Annotated[
        bool,
        typer.Option("--side-by-side", help="Frames beside their depth in the mp4, with sound."),
    ] = False,
    stereo: Annotated[
        str | None,
        typer.Option(help="Also a stereo film: side-by-side, half-side-by-side or anaglyph."),
    ] = None,
    stereo_strength: Annotated[
        float,
        typer.Option(help="Distance of near and far in the stereo film, as a share of its width."),
    ] = 0.04,
    point_clouds: Annotated[
        str | None,
        typer.Option(help="Also point clouds: 'all', or frames such as 0,24,48 (metric models)."),
    ] = None,
    intrinsics: Annotated[
        str | None,
        typer.Option(help="fx,fy,cx,cy in pixels of the video's frames, for point clouds."),
    ] = None,
    fov: Annotated[
        float | None,
        typer.Option(help="Field of view in degrees across the longer side, for point clouds."),
    ] = None,
    frames: Frames = None,
    device: Device = "auto",
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on with a run that was stopped.")
    ] = False,
    overwrite: Overwrite = False,
) -> None:
    """Estimate the depth of every pixel of a video.

    Writes what --format names (depth.npz, depth.mp4, depth_png16, depth_exr) and summary.json,
    at the size and frame rate of the input. A run that was stopped goes on with --resume.
    """
    from kinedepth._depth_run_folder import check_run_folder
    from kinedepth.dense.registry import DepthOptions, check_options
    from kinedepth.depth_run import DepthRun, OutputChoice
    from kinedepth.exporting.depth_outputs import check_formats

    options = DepthOptions(
        weights=weights,
        input_size=input_size,
        precision=precision,
        strategy=strategy,
        stream=stream or None,
        align_stream=align_stream or None,
        scene_cuts=scene_cuts or None,
        preset=preset,
        resolution=resolution,
        dilations=(
            None if dilations is None else parse_whole_numbers("--dilations", dilations, "1,10,25")
        ),
        snippet_length=snippet_length,
        steps=steps,
        refine_steps=refine_steps,
        solver=solver,
        decode=decode,
        tiny_decoder=tiny_decoder,
        seed=seed,
        consistent=consistent or None,
    )
    check_options(model, options)
    named = check_formats(name.strip() for name in formats.split(",") if name.strip())
    check_run_folder(output, resume, overwrite)
    from kinedepth import hub
    from kinedepth.devices import find_device
    from kinedepth.video import load_video

    clip = load_video(video, frames, fewest=1)
    if len(clip) == 1 and steady:
        raise KinedepthError(
            f"{clip.name} has one frame, in which nothing flickers; leave out --steady."
        )
    camera = None
    clouds = _point_clouds(point_clouds, len(clip))
    if clouds:
        from kinedepth.lifting import find_intrinsics

        camera, camera_source = find_intrinsics(clip, parse_intrinsics(intrinsics), fov)
        say(f"Point clouds are made with this camera: {camera_source}.")
    elif intrinsics is not None or fov is not None:
        raise KinedepthError("--intrinsics and --fov are for --point-clouds only; leave them out.")
    choice = OutputChoice(
        formats=tuple(named),
        colormap=colormap,
        side_by_side=side_by_side,
        stereo=_stereo(stereo, stereo_strength),
        point_clouds=clouds,
        intrinsics=camera,
        half=half,
        audio_from=Path(video) if Path(video).is_file() else None,
    )
    with StageProgress(timed=("depth",)) as stages:
        run = DepthRun(
            clip,
            output,
            model,
            options,
            find_device(device),
            choice,
            steady=steady,
            permit=hub.permission(accept_licence, _ask if sys.stdin.isatty() else None, say),
            tell=say,
            progress=stages.report,
        )
        summary = run.run(resume=resume, overwrite=overwrite)
    typer.echo(
        f"Depth of {len(clip)} frame{'s' * (len(clip) > 1)} of {clip.name} "
        f"({clip.width}x{clip.height}) by {model} in "
        f"{summary['seconds']['depth']:.1f} s, {summary['frames_per_second']:.2f} frames/s."
    )
    if summary["steadied"]:
        frame, region = (summary["steadied"][f"{part}_flicker"] for part in ("frame", "region"))
        typer.echo(
            f"Flicker taken out: {frame:.1%} of whole frames, {region:.1%} of their regions."
        )
    typer.echo(_MEANING[summary["kind"]])
    if summary["per_frame"] and summary["kind"] != "metric":
        typer.echo("Each frame stands alone: what is unknown may differ from frame to frame.")
    if summary["kind"] != "metric" and (scene_cuts or strategy == "none"):
        piece = "scene" if scene_cuts else "window"
        typer.echo(f"What is unknown differs from {piece} to {piece}.")
    typer.echo(f"Wrote {', '.join([*summary['outputs'], 'summary.json'])} to {output}.")


def _ask(question: str) -> bool:
    try:
        return typer.confirm(question, err=True)
    except typer.Abort:
        return False


def _stereo(layout: str | None, strength: float) -> StereoSettings | None:
    from kinedepth.exporting.stereo import StereoSettings

    if layout is None:
        return None
    return StereoSettings(layout, strength)  # type: ignore[arg-type]  # It checks the layout.


def _point_clouds(text: str | None, frames: int) -> bool | list[int]:
    if text is None:
        return False
    if text == "all":
        return True
    parts = [part.strip() for part in text.split(",")]
    if not all(part.isdecimal() and int(part) < frames for part in parts):
        raise KinedepthError(
            f"--point-clouds takes 'all', or frames from 0 to {frames - 1} with commas between; "
            f"got {text!r}."
        )
    return [int(part) for part in parts]
