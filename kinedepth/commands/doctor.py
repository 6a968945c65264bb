"""``kinedepth doctor``: what this installation has and lacks."""

from __future__ import annotations

import typer


def doctor_command() -> None:
    """Tell versions, devices, optional packages and shipped weights.

    Exits with 1 if something is missing without which no video can be lifted.
    """
    from kinedepth.doctor import examine

    broken = False
    for finding in examine():
        typer.echo(f"{'!' if finding.broken else ' '} {finding.subject:<44} {finding.text}")
        broken |= finding.broken
    if broken:
        raise typer.Exit(1)
