"""The command line. Commands are thin; what they need is imported when they run."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer
import typer.core

from kinedepth import __version__
from kinedepth._terminal import StageProgress, plain_failures
from kinedepth.errors import KinedepthError


class _PlainFailures(typer.core.TyperGroup):
    """Commands whose failures are told in one line.

    This is done here and not around the whole program because typer turns Ctrl-C into an exit
    of its own.
    """

    def invoke(self, ctx: Any) -> Any:
        """Run the command."""
        with plain_failures():
            return super().invoke(ctx)


app = typer.Typer(
    name="kinedepth",
    cls=_PlainFailures,
    help="Depth from moving points: lift 2D point tracks of an ordinary video to 3D.",
    epilog="Begin with: kinedepth lift my_clip.mp4 -o out, then kinedepth view out",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
train_app = typer.Typer(help="Train a model.", no_args_is_help=True)
app.add_typer(train_app, name="train")


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line; always ends in SystemExit.

    Exit codes: 0 done; 2 the input, the setup or the usage is wrong; 130 stopped by Ctrl-C.

    Args:
        arguments: without the program's name; those of the process by default.
    """
    app(args=arguments, prog_name="kinedepth")


def _print_version(asked: bool) -> None:
    if asked:
        typer.echo(f"kinedepth {__version__}")
        raise typer.Exit


@app.callback()
def _kinedepth(
    version: Annotated[
        bool,
        typer.Option("--version", callback=_print_version, is_eager=True, help="Say the version."),
    ] = False,
) -> None:
    pass


@app.command("lift")
def lift_command(
    video: Annotated[
        str,
        typer.Argument(
            help="A video file, a folder of images, a pattern such as 'frames/*.png' or a "
            "TAPVid-3D .npz."
        ),
    ],
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder for the results.")],
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
    model: Annotated[
        str, typer.Option(help="A shipped model (see kinedepth doctor) or a checkpoint file.")
    ] = "small",
    method: Annotated[
        str,
        typer.Option(
            help="fused: windows at several frame steps, joined by least squares; chained: one "
            "window after the other, as in the paper."
        ),
    ] = "fused",
    intrinsics: Annotated[
        str | None, typer.Option(help="fx,fy,cx,cy in pixels of the video's frames.")
    ] = None,
    fov: Annotated[
        float | None,
        typer.Option(help="Field of view in degrees across the longer side, e.g. 65."),
    ] = None,
    frames: Annotated[
        str | None,
        typer.Option(help="Which frames to use, start:stop[:step], e.g. 0:48 or ::2."),
    ] = None,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or mps.")] = "auto",
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace an earlier run in the output folder.")
    ] = False,
) -> None:
    """Lift points of a video to 3D.

    Writes tracks.npz, overlay.mp4, scene.html (opens in any browser, offline), summary.json
    and, where the Rerun SDK is installed, scene.rrd.
    """
    camera = _parse_intrinsics(intrinsics)
    if queries is not None and tracker.startswith("file:"):
        raise KinedepthError(f"{tracker} brings its own points; leave out --queries.")
    from kinedepth.queries_file import parse_queries
    from kinedepth.run_outputs import check_output_folder, save_run
    from kinedepth.video import load_video

    check_output_folder(output, overwrite)
    points = None if queries is None else parse_queries(queries, query_frame)
    clip = load_video(video, frames)
    from kinedepth.lifting import lift

    with StageProgress() as stages:
        lifted = lift(
            clip,
            points,
            query_frame=query_frame,
            tracker=tracker,
            model=model,
            method=method,
            intrinsics=camera,
            field_of_view=fov,
            device=device,
            progress=stages.report,
        )
        written = save_run(lifted, output, overwrite=overwrite, progress=stages.report)
    tracks = lifted.tracks.tracks
    typer.echo(
        f"Lifted {len(tracks)} points over {tracks.frames} frames of {clip.name} "
        f"({clip.width}x{clip.height}) in {sum(lifted.seconds.values()):.1f} s."
    )
    if "assumed" in str(lifted.facts.get("intrinsics_source", "")):
        typer.echo(
            "The camera is not known: a field of view of 60 degrees across the longer side is "
            "assumed. Give --fov or --intrinsics if you know better."
        )
    if not lifted.tracks.metric:
        typer.echo(
            "Depth is relative: without an anchor each track has a scale of its own, with "
            "depth 1 at its query frame."
        )
    typer.echo(f"Wrote {', '.join(path.name for path in written)} to {output}.")
    typer.echo(f"Look at it: kinedepth view {output}")


def _parse_intrinsics(text: str | None) -> tuple[float, float, float, float] | None:
    if text is None:
        return None
    try:
        fx, fy, cx, cy = (float(part) for part in text.split(","))
    except ValueError:
        raise KinedepthError(
            f"--intrinsics takes four numbers, fx,fy,cx,cy in pixels; got {text!r}."
        ) from None
    return fx, fy, cx, cy


@app.command("synth")
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
    width, height = _parse_size(size)
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


def _parse_size(text: str) -> tuple[int, int]:
    width, _, height = text.lower().partition("x")
    if not (width.isdecimal() and height.isdecimal()):
        raise KinedepthError(f"--size takes width x height, e.g. 640x360; got {text!r}.")
    return int(width), int(height)


@app.command("view")
def view_command(
    folder: Annotated[Path, typer.Argument(help="Output folder of a run.")],
    rerun: Annotated[
        bool, typer.Option("--rerun", help="Open scene.rrd in the Rerun viewer instead.")
    ] = False,
    port: Annotated[
        int | None,
        typer.Option(help="Serve the page to this machine only on a port, 0 for any free one."),
    ] = None,
) -> None:
    """Show a finished run in the browser or in the Rerun viewer."""
    from kinedepth.viewing import view_run

    view_run(folder, port, rerun=rerun, announce=typer.echo)


@app.command("doctor")
def doctor_command() -> None:
    """Tell versions, devices, optional packages and shipped weights.

    Exits with 1 if something is missing without which no video can be lifted.
    """
    from kinedepth.doctor import examine

    broken = False
    for finding in examine():
        typer.echo(f"{'!' if finding.broken else ' '} {finding.subject:<22} {finding.text}")
        broken |= finding.broken
    if broken:
        raise typer.Exit(1)


@train_app.command("seurat")
def train_seurat_command(
    run: Annotated[
        Path,
        typer.Option("--output", "-o", help="Folder of the run; one that is there is resumed."),
    ],
    model: Annotated[
        str, typer.Option(help="small, base, or paper (as published, without our features).")
    ] = "small",
    steps: Annotated[int, typer.Option(min=1, help="How many steps in all.")] = 10_000,
    batch: Annotated[int, typer.Option(min=1, help="Windows in a step, on each process.")] = 32,
    learning_rate: Annotated[float, typer.Option(help="Highest learning rate.")] = 5e-4,
    minutes: Annotated[
        float | None, typer.Option(help="Stop after so long; run again to go on.")
    ] = None,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or mps.")] = "auto",
    precision: Annotated[
        str, typer.Option(help="Of matrix products: float32 or bfloat16.")
    ] = "float32",
    seed: Annotated[int, typer.Option(help="Of initial weights and data.")] = 0,
    test_every: Annotated[int, typer.Option(min=1, help="Steps between held-out tests.")] = 500,
    weights: Annotated[
        Path | None,
        typer.Option(help="Where the weights go; RUN/MODEL.safetensors if not given."),
    ] = None,
) -> None:
    """Train Seurat on procedural windows, without images or downloads.

    Resumable: the same command goes on where it was stopped. Several processes:
    torchrun --nproc-per-node N -m kinedepth train seurat -o RUN ...
    """
    from kinedepth._training_run import train_seurat

    train_seurat(
        run,
        model=model,
        steps=steps,
        batch=batch,
        learning_rate=learning_rate,
        minutes=minutes,
        device=device,
        precision=precision,
        seed=seed,
        test_every=test_every,
        weights=weights,
    )


if __name__ == "__main__":
    main()
