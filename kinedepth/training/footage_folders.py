"""Footage in folders, recognised by what lies in them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from kinedepth.errors import KinedepthError
from kinedepth.training.footage import ClipFootage, Footage, ShrunkFootage
from kinedepth.training.hypersim import find_hypersim
from kinedepth.training.rendered_clips import read_clips
from kinedepth.training.tartanair import find_tartanair


def find_videos(folder: Path, shrink: int = 1) -> list[Footage]:
    """Training clips, or sequences of TartanAir.

    Args:
        folder: of ``NAME_frames.npy`` (see ``rendered_clips``), or above ``image_left`` folders.
        shrink: how many pixels a side become one.

    Raises:
        KinedepthError: if there is neither, or something in it cannot be read.
    """
    if not folder.is_dir():
        raise KinedepthError(f"There is no folder {folder} of training data.")
    found: Sequence[Footage]
    if any(folder.glob("*_frames.npy")):
        found = [ClipFootage(clip) for clip in read_clips(folder)]
    elif next(folder.rglob("image_left"), None) is not None:
        found = find_tartanair(folder)
    else:
        raise KinedepthError(
            f"{folder} holds neither training clips (kinedepth train clips {folder}) nor "
            f"sequences of TartanAir (folders image_left)."
        )
    return [_shrunk(footage, shrink) for footage in found]


def find_stills(folder: Path, shrink: int = 1) -> list[Footage]:
    """Images of Hypersim; see :func:`find_videos`."""
    return [_shrunk(footage, shrink) for footage in find_hypersim(folder)]


def _shrunk(footage: Footage, shrink: int) -> Footage:
    return footage if shrink == 1 else ShrunkFootage(footage, shrink)
