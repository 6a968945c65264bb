"""Another command of this program, run on each video of a batch."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import typer
from typer.core import TyperCommand

from kinedepth._terminal import plain_warnings
from kinedepth.commands.depth import depth_command
from kinedepth.commands.lift import lift_command
from kinedepth.errors import KinedepthError

JOBS: dict[str, Callable[..., None]] = {"lift": lift_command, "depth": depth_command}
"""What ``--job`` may name."""

UNFINISHED = ".unfinished-*"
"""What a run of theirs that was stopped leaves in its folder."""


@dataclass(frozen=True)
class CommandJob:
    """A command and its options, for any video.

    Attributes:
        name: one of :data:`JOBS`.
        options: words as on the command line, without the video and the output folder.
    """

    name: str
    options: tuple[str, ...] = ()

    def check(self) -> None:
        """Raise unless the command takes the options.

        Raises:
            KinedepthError: if there is no such job, or an option belongs to the batch.
            click.UsageError: as the command itself.
        """
        if self.name not in JOBS:
            raise KinedepthError(f"There is no job {self.name!r}; choose {' or '.join(JOBS)}.")
        words = ["video", "-o", "folder", *self.options]
        given = self._command().make_context(f"kinedepth {self.name}", words).params
        if given["output"] != Path("folder") or given["overwrite"] or given.get("resume"):
            raise KinedepthError(
                "A batch gives each video its folder and goes on by itself; leave out --output, "
                "--overwrite and --resume after the --."
            )

    def __call__(self, video: str, folder: Path) -> None:
        """Do the job on a video whose folder holds no finished run."""
        command = self._command()
        # Files of a run that is neither finished nor to be gone on with are in the way.
        go_on = "--resume" if any(folder.glob(UNFINISHED)) else "--overwrite"
        with plain_warnings():
            command.main(
                [video, "-o", str(folder), go_on, *self.options],
                prog_name=f"kinedepth {self.name}",
                standalone_mode=False,
            )

    def _command(self) -> TyperCommand:
        program = typer.Typer(add_completion=False)
        program.command(self.name)(JOBS[self.name])
        command = typer.main.get_command(program)
        assert isinstance(command, TyperCommand)
        return command
