"""The videos that a list names or a folder holds."""

from __future__ import annotations

import csv
import io
import os
from pathlib import Path

from kinedepth.errors import KinedepthError

VIDEO_SUFFIXES = {
    ".3gp",
    ".avi",
    ".flv",
    ".gif",
    ".m2ts",
    ".m4v",
    ".mkv",
    ".mov",
    ".mp4",
    ".mpeg",
    ".mpg",
    ".mts",
    ".ogv",
    ".ts",
    ".webm",
    ".wmv",
    ".y4m",
}
"""File names taken for videos in a folder, in lower case."""

_MOST_BYTES = 64 * 2**20
"""Of a list; a longer file is a video or a mistake."""


def find_videos(source: Path, output: Path) -> list[str]:
    """The videos of a batch, each once, as absolute paths.

    Args:
        source: a folder, searched with its subfolders for videos and folders of images; or a text
            file with one video a line (empty lines and those that begin with # are skipped), or a
            ``.csv`` with a column ``video``. Paths in a file count from its own folder; what
            ``kinedepth lift`` takes may stand there, patterns included.
        output: the folder of the results, which is not searched.

    Returns:
        Paths in the list's order, or sorted. A list's paths need not exist.

    Raises:
        KinedepthError: if there is no such list or folder, or no video in it.
    """
    if source.is_dir():
        found = _search(source.absolute(), output.absolute())
        missing = "holds no video and no folder of images"
    else:
        base = os.path.abspath(source.parent)
        found = [os.path.normpath(os.path.join(base, name)) for name in _read_list(source)]
        missing = "names no video"
    if not found:
        raise KinedepthError(f"{source} {missing}.")
    return list(dict.fromkeys(found))


def _search(folder: Path, output: Path) -> list[str]:
    from kinedepth._image_source import IMAGE_SUFFIXES

    found = []
    for place, folders, files in os.walk(folder):
        here = Path(place)
        folders[:] = [f for f in folders if not f.startswith(".") and here / f != output]
        seen = [name for name in files if not name.startswith(".")]
        videos = [name for name in seen if Path(name).suffix.lower() in VIDEO_SUFFIXES]
        found += [str(here / name) for name in videos]
        images = sum(Path(name).suffix.lower() in IMAGE_SUFFIXES for name in seen)
        if images >= 2 and not videos:
            found.append(str(here))
    return sorted(found)


def _read_list(path: Path) -> list[str]:
    try:
        if path.stat().st_size > _MOST_BYTES:
            raise KinedepthError(_no_list(path))
        text = path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise KinedepthError(
            f"{path} cannot be read ({error.strerror}); give a list of videos or a folder."
        ) from None
    except UnicodeDecodeError:
        raise KinedepthError(_no_list(path)) from None
    if "\0" in text:
        raise KinedepthError(_no_list(path))
    if path.suffix.lower() == ".csv":
        return _read_column(path, text)
    lines = (line.strip() for line in text.splitlines())
    return [line for line in lines if line and not line.startswith("#")]


def _read_column(path: Path, text: str) -> list[str]:
    try:
        table = csv.DictReader(io.StringIO(text))
        if "video" not in (table.fieldnames or ()):
            raise KinedepthError(f"{path} has no column called video; name it in the first line.")
        cells = ((row["video"] or "").strip() for row in table)
        return [cell for cell in cells if cell]
    except csv.Error as error:
        raise KinedepthError(f"{path} cannot be read as a table ({error}).") from None


def _no_list(path: Path) -> str:
    return (
        f"{path} is no list of videos; give a text file with one video a line, a .csv file with "
        f"a column video, or a folder."
    )
