"""``kinedepth view``: a finished run on the screen."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


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
