"""The output folder of a run of dense depth: what may begin there, go on there, and go."""

from __future__ import annotations

import shutil
from collections.abc import Collection
from pathlib import Path

from kinedepth._run_folder import check_folder
from kinedepth.dense.store import DepthStore
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
    unfinished = DepthStore.is_at(folder / UNFINISHED)
    check_folder(folder, (*RUN_FILES, *DEPTH_OUTPUTS), unfinished, resume, overwrite)


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
