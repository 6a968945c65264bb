"""The command line. Commands are thin; what they need is imported when they run."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any

import typer
import typer.core

from kinedepth import __version__
from kinedepth._terminal import plain_failures
from kinedepth.commands import (
    batch,
    depth,
    doctor,
    eval_depth,
    eval_tapvid3d,
    lift,
    live,
    predict_tapvid3d,
    synth,
    train_clips,
    train_rollingdepth,
    train_seurat,
    train_vda,
    ttc,
    view,
)


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
eval_app = typer.Typer(help="Score predictions against the truth.", no_args_is_help=True)
predict_app = typer.Typer(help="Run over the clips of a benchmark.", no_args_is_help=True)
app.add_typer(train_app, name="train")
app.add_typer(eval_app, name="eval")
app.add_typer(predict_app, name="predict")


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line; always ends in SystemExit.

    Exit codes: 0 done; 1 some videos of a batch failed; 2 the input, the setup or the usage is
    wrong; 130 stopped by Ctrl-C.

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


app.command("lift")(lift.lift_command)
app.command("live")(live.live_command)
app.command("depth")(depth.depth_command)
app.command("batch")(batch.batch_command)
app.command("synth")(synth.synth_command)
app.command("ttc")(ttc.ttc_command)
app.command("view")(view.view_command)
app.command("doctor")(doctor.doctor_command)
train_app.command("seurat")(train_seurat.train_seurat_command)
eval_app.command("depth")(eval_depth.eval_depth_command)
eval_app.command("tapvid3d")(eval_tapvid3d.eval_tapvid3d_command)
predict_app.command("tapvid3d")(predict_tapvid3d.predict_tapvid3d_command)
train_app.command("rollingdepth")(train_rollingdepth.train_rollingdepth_command)
train_app.command("vda")(train_vda.train_vda_command)
train_app.command("clips")(train_clips.train_clips_command)


if __name__ == "__main__":
    main()
