"""Output folders of runs that can be stopped and gone on with: what may begin there, or go on."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from kinedepth.errors import KinedepthError
from kinedepth.video import Video


def check_folder(
    folder: Path, outputs: Collection[str], unfinished: bool, resume: bool, overwrite: bool
) -> None:
    """Raise unless a run may begin, or go on, in ``folder``; change nothing.

    Args:
        folder: the output folder.
        outputs: names of what a finished run leaves there.
        unfinished: whether it holds a run to go on with.
        resume: whether the run is to go on.
        overwrite: whether an earlier run is to be replaced.

    Raises:
        KinedepthError: the folder is a file, or holds a run that is neither to be resumed nor
            to be replaced.
    """
    if resume and overwrite:
        raise KinedepthError("Either --resume a run or --overwrite it, not both.")
    if folder.exists() and not folder.is_dir():
        raise KinedepthError(f"{folder} is a file; give a folder to write the results into.")
    if overwrite or (unfinished and resume):
        return
    if unfinished:
        raise KinedepthError(
            f"{folder} holds an unfinished run; add --resume to go on with it, or --overwrite to "
            f"begin anew."
        )
    earlier = [name for name in outputs if (folder / name).exists()]
    if earlier:
        raise KinedepthError(
            f"{folder} already holds {earlier[0]} of an earlier run; choose another folder or "
            f"add --overwrite."
        )


def fingerprint(video: Video) -> list[Any]:
    """What tells a video from others: name, number, size, rate and the first of its frames."""
    first_frame = hashlib.sha256(video.frame(0).tobytes()).hexdigest()
    return [video.name, len(video), video.width, video.height, video.fps, first_frame]


def missing_space(folder: Path, needed: int) -> str | None:
    """A sentence if less than ``needed`` bytes are free where ``folder`` is or will be."""
    there = next(place for place in (folder, *folder.absolute().parents) if place.is_dir())
    free = shutil.disk_usage(there).free
    if free >= needed:
        return None
    return (
        f"This run needs about {needed / 1e9:.1f} GB in {folder}, but only {free / 1e9:.1f} GB "
        f"are free."
    )


def check_same_run(before: Mapping[str, Any], now: Mapping[str, Any], folder: Path) -> None:
    """Raise unless an unfinished run was made as this one would be.

    Args:
        before, now: the headers of their stores.
        folder: the output folder.

    Raises:
        KinedepthError: the first thing that differs.
    """
    hint = "repeat its settings, or begin anew with --overwrite"
    for key, what in (("video", "of another video"), ("weights", "with other weights")):
        if before[key] != now[key]:
            raise KinedepthError(f"The unfinished run in {folder} was made {what}; {hint}.")
    for key in ("model", "device", "kinedepth"):
        if before[key] != now[key]:
            raise KinedepthError(
                f"The unfinished run in {folder} was made with {key} {before[key]}, not "
                f"{now[key]}; {hint}."
            )
    for key in sorted({*before["options"], *now["options"]}):
        was, is_now = (run["options"].get(key, "its default") for run in (before, now))
        if was != is_now:
            raise KinedepthError(
                f"The unfinished run in {folder} was made with {key} {was}, not {is_now}; {hint}."
            )
