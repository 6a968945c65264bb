"""Files that appear whole or not at all, and folders that hold one run only."""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Iterator
from pathlib import Path

from kinedepth.errors import KinedepthError

RUN_FILES = ("tracks.npz", "summary.json", "overlay.mp4", "scene.html", "scene.rrd")
"""Everything that a run can leave in its output folder."""

_NO_SPACE = {errno.ENOSPC, errno.EDQUOT}


@contextlib.contextmanager
def atomic_path(path: str | Path) -> Iterator[Path]:
    """Write to the path this yields; it takes the place of ``path`` once the block succeeds.

    The yielded path lies beside ``path`` and keeps its suffix. When the block fails or is
    interrupted, it is removed and whatever ``path`` held before stays.

    Raises:
        KinedepthError: if the disk is full, or the place cannot be written to.
    """
    target = Path(path)
    if not target.parent.is_dir():
        raise KinedepthError(f"There is no folder {target.parent} to write {target.name} into.")
    if target.is_dir():
        raise KinedepthError(f"{target} is a folder; give the name of a file to write.")
    temporary = _temporary(target)
    try:
        yield temporary
        os.replace(temporary, target)
    except BaseException as error:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)
        if disk_is_full(error):
            raise KinedepthError(
                f"No space left on the disk while writing {target}; free some and run again."
            ) from error
        if isinstance(error, OSError) and temporary.name in str(error.filename):
            raise KinedepthError(
                f"{target} cannot be written ({error.strerror}); check that its folder exists "
                f"and is yours to write to."
            ) from error
        raise


def prepare_output_folder(path: str | Path, overwrite: bool = False) -> Path:
    """Create the folder for a run, free of files of an earlier one.

    Args:
        path: the folder; its parents are created as well.
        overwrite: remove the known files of an earlier run (:data:`RUN_FILES`) from it; other
            files are never touched.

    Raises:
        KinedepthError: if ``path`` is a file, cannot be created or written to, or holds files
            of an earlier run that are not to be overwritten.
    """
    folder = Path(path)
    if folder.exists() and not folder.is_dir():
        raise KinedepthError(f"{folder} is a file; give a folder to write the results into.")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        # Any known file counts: a leftover overlay would look like part of the new run.
        earlier = [name for name in RUN_FILES if (folder / name).exists()]
        if earlier and not overwrite:
            raise KinedepthError(
                f"{folder} already holds {earlier[0]} of an earlier run; choose another folder "
                f"or ask to overwrite it."
            )
        for name in RUN_FILES:
            (folder / name).unlink(missing_ok=True)
            _temporary(folder / name).unlink(missing_ok=True)  # Left by a run that was killed.
    except OSError as error:
        raise KinedepthError(
            f"{folder} cannot be prepared for the results ({error.strerror}); choose a folder "
            f"that is yours to write to."
        ) from error
    if not os.access(folder, os.W_OK | os.X_OK):
        raise KinedepthError(f"{folder} cannot be written to; choose another folder.")
    return folder


def disk_is_full(error: BaseException) -> bool:
    """Whether ``error`` says that the disk has no space left."""
    # PyAV's errors carry an errno without being OSErrors; safetensors' only tell in words.
    return getattr(error, "errno", None) in _NO_SPACE or "No space left on device" in str(error)


def sync_file(path: Path) -> None:
    """Wait until the file is on the disk: a full one may be noticed only then.

    Raises:
        OSError: if it cannot get there.
    """
    with open(path, "rb+") as file:
        os.fsync(file.fileno())


def file_in(folder: Path, name: object) -> Path:
    """The file of that name in ``folder``, the name being read from a file.

    Raises:
        ValueError: if it is no plain name: it must not lead to files elsewhere.
    """
    if not isinstance(name, str) or name in ("", ".", "..") or set(name) & set("/\\:\0"):
        raise ValueError(f"{name!r} is not the name of a file in it")
    return folder / name


def _temporary(target: Path) -> Path:
    return target.with_name(f".tmp-{target.name}")
