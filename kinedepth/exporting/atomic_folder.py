"""Folders of numbered files that appear whole or not at all."""

from __future__ import annotations

import contextlib
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

from kinedepth._depth_manifest import MANIFEST
from kinedepth.errors import KinedepthError
from kinedepth.exporting.atomic import disk_is_full

_FRAME_FILE = re.compile(r"\d{5,}\.(png|exr|ply)")


def frame_name(index: int, suffix: str) -> str:
    """File name of the frame at ``index``, e.g. ``00012.png``; sorts as text up to 99,999."""
    return f"{index:05d}{suffix}"


def is_folder_of_frames(path: Path) -> bool:
    """Whether ``path`` is a folder that holds numbered frames and their manifest only."""
    if not path.is_dir() or path.is_symlink():
        return False
    names = [entry.name for entry in path.iterdir()]
    return MANIFEST in names and all(
        name == MANIFEST or _FRAME_FILE.fullmatch(name) for name in names
    )


@contextlib.contextmanager
def atomic_folder(path: Path) -> Iterator[Path]:
    """Fill the folder this yields; it becomes ``path`` once the block succeeds.

    It lies beside ``path``. When the block fails or is interrupted, it is removed and whatever
    ``path`` held before stays. An earlier folder of frames at ``path`` is replaced; anything
    else there is not touched.

    Raises:
        KinedepthError: if ``path`` is something else than a folder of frames, the disk is full,
            or the place cannot be written to.
    """
    temporary = path.with_name(f".tmp-{path.name}")
    earlier = path.with_name(f".tmp-earlier-{path.name}")
    try:
        if path.exists() and not is_folder_of_frames(path):
            raise KinedepthError(
                f"{path} is there already and holds other things than frames; move it away or "
                f"choose another folder."
            )
        _put_back(earlier, path)
        for leftover in (temporary, earlier):  # Of a run that was killed.
            if leftover.is_dir():
                shutil.rmtree(leftover)
        temporary.mkdir()
        yield temporary
        if path.exists():
            path.rename(earlier)
        temporary.rename(path)
        shutil.rmtree(earlier, ignore_errors=True)
    except BaseException as error:
        shutil.rmtree(temporary, ignore_errors=True)
        _put_back(earlier, path)
        if disk_is_full(error):
            raise KinedepthError(
                f"No space left on the disk while writing {path}; free some and run again."
            ) from error
        if isinstance(error, OSError) and temporary.name in str(error.filename):
            raise KinedepthError(
                f"{path} cannot be written ({error.strerror}); check that its folder exists and "
                f"is yours to write to."
            ) from error
        raise


def _put_back(earlier: Path, path: Path) -> None:
    """Undo the first half of a replacement whose second half did not come."""
    if earlier.is_dir() and not path.exists():
        with contextlib.suppress(OSError):
            earlier.rename(path)
