"""ScanNet (Dai et al., CVPR 2017), as its SensReader exports a scan.

``SCENE/depth/N.png`` (640x480, 16 bit, millimetres, 0 where unknown), ``SCENE/pose/N.txt`` (4x4,
camera to world, -inf where tracking was lost) and ``SCENE/intrinsic/intrinsic_depth.txt``, whose
pixel centres are whole numbers. ``SCENE/color/N.jpg`` is not read.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from kinedepth.camera import Intrinsics
from kinedepth.evaluation.depth_datasets._files import (
    clip_folders,
    files_in,
    need_clips,
    read_matrix,
)
from kinedepth.evaluation.depth_datasets._png_clip import png_clip
from kinedepth.evaluation.depth_datasets._selection import FrameSelection
from kinedepth.evaluation.depth_truth import CameraPath, Crop, DepthTruth

LAYOUT = "SCENE/depth/N.png, SCENE/pose/N.txt and SCENE/intrinsic/intrinsic_depth.txt"
_CROP = Crop(8, -8, 11, -11)  # The border that undistortion leaves black.
_INTRINSICS = Path("intrinsic/intrinsic_depth.txt")


def recognises(root: Path) -> bool:
    """Whether ``root`` looks like this layout."""
    return any(root.glob(f"*/{_INTRINSICS}"))


def load(root: Path, selection: FrameSelection) -> list[DepthTruth]:
    """One clip for each scan; with poses where there are any."""
    clips = []
    for folder in clip_folders(root, "depth"):
        files = files_in(folder / "depth", ".png")
        cameras = functools.partial(_cameras, folder, files)
        clips.append(png_clip(folder.name, files, selection, 1000.0, 10.0, _CROP, cameras))
    need_clips(clips, root, LAYOUT)
    return clips


def _cameras(
    folder: Path, files: Sequence[Path], selected: range, width: int, height: int
) -> CameraPath | None:
    if not (folder / "pose").is_dir() or not (folder / _INTRINSICS).is_file():
        return None
    matrix = read_matrix(folder / _INTRINSICS, (3, 3))
    camera = Intrinsics(
        matrix[0, 0], matrix[1, 1], matrix[0, 2] + 0.5, matrix[1, 2] + 0.5, width, height
    )
    names = [f"{files[i].stem}.txt" for i in selected]
    poses = [read_matrix(folder / "pose" / name, (4, 4)) for name in names]
    return CameraPath([camera] * len(poses), np.stack(poses))
