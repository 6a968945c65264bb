"""Bonn RGB-D Dynamic (Palazzolo et al., IROS 2019): people and things in motion.

``rgbd_bonn_NAME/rgb/*.png`` and ``rgbd_bonn_NAME/depth/*.png``, 16 bit, metres times 5000, 0 where
unknown; file names are times in seconds. Colour and depth were taken at different times, and one
stream may have lost a frame: each colour frame gets the depth nearest in time. The published
benchmark pairs by rank instead, so that one lost frame shifts all that follow.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from kinedepth.errors import KinedepthError
from kinedepth.evaluation.depth_datasets._files import clip_folders, files_in, need_clips
from kinedepth.evaluation.depth_datasets._png_clip import png_clip
from kinedepth.evaluation.depth_datasets._selection import FrameSelection
from kinedepth.evaluation.depth_truth import DepthTruth

LAYOUT = "rgbd_bonn_NAME/rgb/TIME.png and rgbd_bonn_NAME/depth/TIME.png"

_LARGEST_GAP = 0.03
"""Seconds: a depth map farther in time than a frame at 30 Hz belongs to another colour frame."""


def recognises(root: Path) -> bool:
    """Whether ``root`` looks like this layout."""
    return any(root.glob("rgbd_bonn_*/depth"))


def load(root: Path, selection: FrameSelection, by_rank: bool = False) -> list[DepthTruth]:
    """One clip for each recording; no poses: the scenes move, and TAE needs them still.

    Args:
        root: holds the recordings.
        selection: of colour frames.
        by_rank: pair the i-th colour frame with the i-th depth map.
    """
    clips = []
    for folder in clip_folders(root, "depth"):
        depth = files_in(folder / "depth", ".png")
        colour = files_in(folder / "rgb", ".png") if (folder / "rgb").is_dir() else depth
        if by_rank:
            paired: list[Path | None] = list(depth[: len(colour)])
        else:
            paired = _nearest_in_time(colour, depth)
        clips.append(png_clip(folder.name, paired, selection, 5000.0, 10.0))
    need_clips(clips, root, LAYOUT)
    return clips


def _nearest_in_time(colour: Sequence[Path], depth: Sequence[Path]) -> list[Path | None]:
    """For each colour frame, the depth map nearest in time; None where none is near."""
    times, depth_times = _times(colour), _times(depth)
    if not len(depth_times):
        return [None] * len(times)
    nearest = np.abs(times[:, None] - depth_times).argmin(axis=1)
    near = np.abs(times - depth_times[nearest]) <= _LARGEST_GAP
    return [depth[i] if close else None for i, close in zip(nearest, near, strict=True)]


def _times(files: Sequence[Path]) -> np.ndarray:
    try:
        return np.array([float(path.stem) for path in files])
    except ValueError as error:
        raise KinedepthError(
            f"{files[0].parent} holds images that are not named by their time in seconds ({error})."
        ) from None
