"""The clips of a TAPVid-3D split on disk, and which of their predictions are there and whole.

A split is a folder with a subfolder for each subset (``adt``, ``drivetrack``, ``pstudio``) or
with the clips themselves; a prediction has the same place and name in a folder of its own.
"""

from __future__ import annotations

import zipfile
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

from numpy.lib import format as npy_format

from kinedepth._safe_npz import TAPVID3D_KEYS
from kinedepth.errors import KinedepthError
from kinedepth.evaluation.problems import Problem, describe_problems
from kinedepth.evaluation.tapvid3d_clips import load_prediction

SUBSETS = ("adt", "drivetrack", "pstudio")
"""The subsets of the benchmark, in the order of its tables."""


@dataclass(frozen=True)
class ClipFile:
    """A clip of a split.

    Attributes:
        subset: name of the folder that directly holds it.
        path: the file with the truth.
        place: where the file lies in the split, e.g. ``adt/clip.npz``; its prediction lies at
            the same place among the predictions.
    """

    subset: str
    path: Path
    place: Path

    @property
    def name(self) -> str:
        """The place without its suffix, e.g. ``adt/clip``."""
        return self.place.with_suffix("").as_posix()


def find_clips(data: str | Path, only: Collection[str] | None = None) -> list[ClipFile]:
    """The clips in a folder and in its subfolders, subset by subset, in the order of names.

    Archives that hold nothing of a clip, such as the dense depth of rendered ones, are passed
    over; one that cannot be opened counts as a clip, so that reading it tells what is wrong.

    Args:
        data: the folder.
        only: file names (with or without ``.npz``) to choose; every one has to be there.

    Raises:
        KinedepthError: if there is no such folder, no clip in it, or not all of ``only``.
    """
    folder = Path(data)
    if not folder.is_dir():
        raise KinedepthError(f"There is no folder {folder}; give the one that holds the clips.")
    inner = sorted((path for path in folder.iterdir() if path.is_dir()), key=_subset_order)
    clips = [
        ClipFile(holder.resolve().name, path, path.relative_to(folder))
        for holder in (folder, *inner)
        for path in _archives(holder)
        if _may_be_clip(path)
    ]
    if not clips:
        raise KinedepthError(
            f"{folder} holds no TAPVid-3D clips: .npz files with {', '.join(TAPVID3D_KEYS)}, in "
            f"it or in its subfolders {', '.join(SUBSETS)}."
        )
    return clips if only is None else _chosen(clips, only, folder)


def read_clip_names(path: str | Path) -> list[str]:
    """File names, one a line; blank lines and what follows a ``#`` are passed over.

    Raises:
        KinedepthError: if the file cannot be read or names nothing.
    """
    try:
        lines = Path(path).read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise KinedepthError(f"{path} cannot be read as a list of clips ({error}).") from error
    names = [line.partition("#")[0].strip() for line in lines]
    names = [name for name in names if name]
    if not names:
        raise KinedepthError(f"{path} names no clips; give one file name a line.")
    return names


def check_predictions(
    clips: Sequence[ClipFile],
    predictions: str | Path,
    all_clips: Sequence[ClipFile] | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> list[Problem]:
    """All that is wrong with a folder of predictions, without reading any image.

    Args:
        clips: that predictions are wanted for.
        predictions: the folder.
        all_clips: of the split, if ``clips`` are only some: predictions for the others are
            not wanted, but not extra either.
        progress: called with clips checked and clips in all.

    Raises:
        KinedepthError: if there is no such folder.
    """
    folder = Path(predictions)
    if not folder.is_dir():
        raise KinedepthError(f"There is no folder {folder}; give the one with the predictions.")
    problems = []
    for done, clip in enumerate(clips, start=1):
        path = folder / clip.place
        if not path.is_file():
            problems.append(Problem(clip.name, "missing"))
        elif reason := _why_unusable(path, clip):
            problems.append(Problem(clip.name, "unusable", reason))
        if progress is not None:
            progress(done, len(clips))
    known = {clip.place for clip in (all_clips or clips)}
    holders = [folder, *sorted(path for path in folder.iterdir() if path.is_dir())]
    found = [path.relative_to(folder) for holder in holders for path in _archives(holder)]
    problems += [
        Problem(place.with_suffix("").as_posix(), "extra") for place in found if place not in known
    ]
    return problems


def describe_split_problems(problems: Sequence[Problem], clips: Sequence[ClipFile]) -> str:
    """One phrase that names every clip with a problem; a subset without any prediction once."""
    return describe_problems(problems, lambda missing: _by_subset(missing, clips))


def _by_subset(names: list[str], clips: Sequence[ClipFile]) -> list[str]:
    """Names, those of a subset that lacks all of several replaced by one phrase."""
    lacking, told = set(names), []
    for subset in dict.fromkeys(clip.subset for clip in clips):
        members = [clip.name for clip in clips if clip.subset == subset]
        absent = [name for name in members if name in lacking]
        told += [f"all of {subset}"] if len(absent) == len(members) > 1 else absent
    return told


def _why_unusable(path: Path, clip: ClipFile) -> str:
    """What keeps a prediction from being scored; empty if nothing does."""
    try:
        frames, points = load_prediction(path).visible.shape
    except KinedepthError as error:
        return str(error).removeprefix(f"{path}: ").rstrip(".")
    expected = clip_size(clip.path)
    # A truth that cannot be read is no fault of the prediction; reading it tells.
    if expected is None or expected == (frames, points):
        return ""
    return (
        f"it has {frames} frames and {points} points, but the clip has {expected[0]} frames and "
        f"{expected[1]} points"
    )


def clip_size(path: Path) -> tuple[int, int] | None:
    """Frames and points of a clip or a prediction, from the header of its ``visibility`` alone.

    None where there is none; clips of the benchmark are large, and most of that is images.
    """
    try:
        with zipfile.ZipFile(path) as archive, archive.open("visibility.npy") as file:
            version = npy_format.read_magic(file)
            if version != (1, 0):
                return None
            shape = npy_format.read_array_header_1_0(file)[0]
    except (OSError, KeyError, ValueError, EOFError, zipfile.BadZipFile):
        return None
    return (shape[0], shape[1]) if len(shape) == 2 else None


def _chosen(clips: list[ClipFile], only: Collection[str], folder: Path) -> list[ClipFile]:
    wanted = {name.removesuffix(".npz") for name in only}
    chosen = [clip for clip in clips if {clip.name, clip.path.stem} & wanted]
    found = {name for clip in chosen for name in (clip.name, clip.path.stem)}
    absent = sorted(wanted - found)
    if absent:
        raise KinedepthError(f"{folder} lacks {len(absent)} of the clips asked for: {absent}.")
    return chosen


def _archives(folder: Path) -> list[Path]:
    # Names that begin with a dot are files that are being written, or a system's own.
    return sorted(path for path in folder.glob("*.npz") if not path.name.startswith("."))


def _may_be_clip(path: Path) -> bool:
    try:
        with zipfile.ZipFile(path) as archive:
            held = {name.removesuffix(".npy") for name in archive.namelist()}
    except (OSError, zipfile.BadZipFile):
        return True
    return bool({"images_jpeg_bytes", "tracks_XYZ"} & held)


def _subset_order(path: Path) -> tuple[int, str]:
    known = SUBSETS.index(path.name) if path.name in SUBSETS else len(SUBSETS)
    return known, path.name
