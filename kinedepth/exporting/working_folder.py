"""The folder of a run that is under way, from which it can go on when it was stopped."""

from __future__ import annotations

import shutil
from pathlib import Path

from kinedepth.errors import KinedepthError


def make_working_folder(folder: Path, purpose: str) -> None:
    """Make ``folder``, empty; what an earlier run left in it is lost.

    Args:
        folder: its parents are created as well.
        purpose: what is to lie there, for the message.

    Raises:
        KinedepthError: if it cannot be made.
    """
    try:
        if folder.exists():
            shutil.rmtree(folder)
        folder.mkdir(parents=True)
    except OSError as error:
        raise KinedepthError(
            f"{folder} cannot be made for {purpose} ({error.strerror}); choose a folder that is "
            f"yours to write to."
        ) from error


def why_unreadable(error: BaseException) -> str:
    """The reason for which what lies there cannot be read, as part of a sentence."""
    reason = str(error).splitlines()[0] if str(error) else type(error).__name__
    return reason.rstrip(".")
