"""A set of rendered clips in a folder, ``clip0000`` and on, that may be filled in several runs."""

from __future__ import annotations

from pathlib import Path

from kinedepth.errors import KinedepthError

CLIPS_PER_SEED = 100_000
"""Distance between the seeds of the first clips of neighbouring sets, so that none is shared."""


def open_clip_set(folder: str | Path, count: int, seed: int) -> Path:
    """The folder for ``count`` clips of the set ``seed``, created if need be.

    Raises:
        KinedepthError: on a count or a seed out of range, or if the folder cannot be created.
    """
    if count < 1:
        raise KinedepthError(f"Ask for at least one clip; got {count}.")
    if not 0 <= seed < 2**31:
        raise KinedepthError(f"A seed must be a whole number from 0 to 2147483647; got {seed}.")
    folder = Path(folder)
    if folder.exists() and not folder.is_dir():
        raise KinedepthError(f"{folder} is a file; give a folder to write the clips into.")
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise KinedepthError(f"{folder} cannot be created ({error.strerror}).") from error
    return folder


def made_with_other_settings(folder: Path, name: str) -> KinedepthError:
    """To be raised where a clip of the set is there, but not as it was asked for."""
    return KinedepthError(
        f"{folder} already holds {name} made with other settings; choose another folder, or "
        f"the same settings to go on."
    )
