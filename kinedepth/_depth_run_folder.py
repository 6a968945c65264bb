"""The output folder of a run of dense depth: what may begin there, go on there, and go."""

from __future__ import annotations

import shutil
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from kinedepth.dense.store import DepthStore
from kinedepth.errors import KinedepthError
from kinedepth.exporting.atomic import RUN_FILES
from kinedepth.exporting.atomic_folder import is_folder_of_frames
from kinedepth.exporting.depth_outputs import DEPTH_OUTPUTS

UNFINISHED = ".unfinished-depth"
"""Folder inside the output folder that holds what is done of a run."""


def check_run_folder(folder: Path, resume: bool, overwrite: bool) -> None:
    """Raise unless a run may begin, or go on, in ``folder``; change nothing.

    Raises:
        KinedepthError: the folder is a file, or holds a run that is neither to be resumed nor
            to be replaced.
    """
    if resume and overwrite:
        raise KinedepthError("Either --resume a run or --overwrite it, not both.")
    if folder.exists() and not folder.is_dir():
        raise KinedepthError(f"{folder} is a file; give a folder to write the results into.")
    unfinished = DepthStore.is_at(folder / UNFINISHED)
    if overwrite or (unfinished and resume):
        return
    if unfinished:
        raise KinedepthError(
            f"{folder} holds an unfinished run; add --resume to go on with it, or --overwrite to "
            f"begin anew."
        )
    earlier = [name for name in (*RUN_FILES, *DEPTH_OUTPUTS) if (folder / name).exists()]
    if earlier:
        raise KinedepthError(
            f"{folder} already holds {earlier[0]} of an earlier run; choose another folder or "
            f"add --overwrite."
        )


def remove_earlier(folder: Path, written: Collection[str]) -> None:
    """Remove what an earlier run wrote and this one did not: it would look like a part of it.

    Args:
        folder: the output folder.
        written: names of what this run wrote; other files than those of runs are never touched.
    """
    for name in {*RUN_FILES, *DEPTH_OUTPUTS} - set(written):
        path = folder / name
        if is_folder_of_frames(path):
            shutil.rmtree(path)
        elif path.is_file():
            path.unlink()


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
