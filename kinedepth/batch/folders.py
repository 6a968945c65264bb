"""One folder for each video of a batch: safe names, no two alike, the same in every run."""

from __future__ import annotations

import json
import os
import re
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from kinedepth.errors import KinedepthError
from kinedepth.exporting.atomic import atomic_path

FOLDERS_FILE = "folders.json"
"""In the folder of a batch: which video has which folder."""

_MOST_BYTES = 120
"""Of a name; file systems take 255."""
_SAFE = re.compile(r"[\w-][\w.-]*")


def open_folders(output: Path, videos: Sequence[str]) -> dict[str, Path]:
    """Give every video a folder in ``output`` and write down which.

    A video keeps the folder that it had in an earlier run. Others get one named after them that
    nothing in ``output`` has yet.

    Args:
        output: the folder of the batch.
        videos: absolute paths.

    Returns:
        The folder of each video, in their order. It need not exist.

    Raises:
        KinedepthError: if :data:`FOLDERS_FILE` is damaged or cannot be written.
    """
    record = output / FOLDERS_FILE
    earlier = _read(record)
    names = assign_names(videos, earlier, os.listdir(output))
    if names != earlier:
        with atomic_path(record) as temporary:
            temporary.write_text(json.dumps(names, indent=1) + "\n", encoding="utf-8")
    return {video: output / names[video] for video in videos}


def assign_names(
    videos: Iterable[str], earlier: Mapping[str, str], taken: Iterable[str]
) -> dict[str, str]:
    """Names of folders by video: the earlier ones, and one for each new video.

    Args:
        videos: paths.
        earlier: names that stay.
        taken: names that no new video gets, besides the earlier ones.
    """
    names = dict(earlier)
    # Some file systems do not tell capitals apart.
    used = {name.casefold() for name in (*names.values(), *taken)}
    for video in videos:
        if video in names:
            continue
        base = name = safe_name(video)
        number = 2
        while name.casefold() in used:
            name = f"{base}-{number}"
            number += 1
        names[video] = name
        used.add(name.casefold())
    return names


def safe_name(video: str) -> str:
    """The name of a video as the name of a folder: one path component, never hidden or empty."""
    path = Path(video)
    pattern = any(letter in path.name for letter in "*?[")
    stem = unicodedata.normalize("NFC", path.parent.name if pattern else path.stem)
    plain = re.sub(r"[^\w.-]+", "_", stem).strip("._")
    return plain.encode()[:_MOST_BYTES].decode(errors="ignore").rstrip(".") or "video"


def _read(record: Path) -> dict[str, str]:
    try:
        names = json.loads(record.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, RecursionError):
        names = None
    # Whoever wrote the file: a name must not lead out of the folder.
    if not isinstance(names, dict) or not all(
        isinstance(name, str) and _SAFE.fullmatch(name) for name in names.values()
    ):
        raise KinedepthError(f"{record} is damaged; restore it, or choose another output folder.")
    return names
