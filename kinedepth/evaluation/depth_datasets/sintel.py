"""MPI Sintel (Butler et al., ECCV 2012) with its depth and camera data.

``depth/SCENE/frame_0001.dpt`` and ``camdata_left/SCENE/frame_0001.cam`` below ``training/`` or
below the root itself. A ``.dpt`` file is the float 202021.25, width and height as int32, then depth
as float32; a ``.cam`` file is the same float, a 3x3 matrix of intrinsics and a 3x4 matrix from
world to camera, both float64; all little-endian, and pixel centres at whole numbers. Instead of
``.dpt`` there may be 16-bit ``.png`` with metres times 65535 / 650, as the published benchmark
keeps them.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from kinedepth.camera import Intrinsics
from kinedepth.errors import KinedepthError
from kinedepth.evaluation.depth_datasets._files import (
    ReadFrames,
    files_in,
    natural_key,
    need_clips,
    png_frames,
)
from kinedepth.evaluation.depth_datasets._selection import FrameSelection
from kinedepth.evaluation.depth_truth import CameraPath, DepthTruth

LAYOUT = "depth/SCENE/frame_N.dpt (or .png), camdata_left/SCENE/frame_N.cam beside it"
_TAG = np.float32(202021.25)
_PNG_DIVISOR = 65535 / 650


def recognises(root: Path) -> bool:
    """Whether ``root`` looks like this layout."""
    return any(_base(root).glob("depth/*/*.dpt"))


def load(root: Path, selection: FrameSelection) -> list[DepthTruth]:
    """One clip for each scene; with poses where ``camdata_left`` is there.

    Scenes move, which TAE takes for error: compare it with that of the truth.
    """
    base = _base(root)
    depth = base / "depth"
    scenes = [path for path in depth.iterdir() if path.is_dir()] if depth.is_dir() else []
    clips = []
    for folder in sorted(scenes, key=lambda path: natural_key(path.name)):
        files = files_in(folder, ".dpt") or files_in(folder, ".png")
        selected = selection.of(len(files), folder.name)
        chosen = [files[i] for i in selected]
        height, width, read = _frames(chosen)
        clips.append(
            DepthTruth(
                folder.name,
                len(selected),
                height,
                width,
                read,
                farthest=70.0,
                cameras=_cameras(base / "camdata_left" / folder.name, chosen, width, height),
                selected=selected,
                footage=len(files),
            )
        )
    need_clips(clips, root, LAYOUT)
    return clips


def _base(root: Path) -> Path:
    return root / "training" if (root / "training").is_dir() else root


def _frames(files: Sequence[Path]) -> tuple[int, int, ReadFrames]:
    if files[0].suffix.lower() == ".png":
        return png_frames(files, _PNG_DIVISOR)
    height, width = _read_dpt(files[0]).shape

    def read() -> Iterator[NDArray[np.float32]]:
        for path in files:
            depth = _read_dpt(path)
            if depth.shape != (height, width):
                raise KinedepthError(
                    f"{path} is {depth.shape[1]}x{depth.shape[0]}, but {files[0]} is "
                    f"{width}x{height}; all frames of a clip need one size."
                )
            yield depth

    return height, width, read


def _read_dpt(path: Path) -> NDArray[np.float32]:
    """Depth ``(H, W)`` in metres."""
    data = path.read_bytes()
    if len(data) >= 12 and np.frombuffer(data, "<f4", 1)[0] == _TAG:
        width, height = np.frombuffer(data, "<i4", 2, offset=4).tolist()
        if min(width, height) > 0 and len(data) == 12 + 4 * width * height:
            return np.frombuffer(data, "<f4", offset=12).reshape(height, width)
    raise KinedepthError(f"{path} is not a Sintel depth file, or it is damaged.")


def _cameras(
    folder: Path, depth_files: Sequence[Path], width: int, height: int
) -> CameraPath | None:
    if not folder.is_dir():
        return None
    cameras, poses = [], []
    for file in depth_files:
        path = folder / f"{file.stem}.cam"
        data = path.read_bytes() if path.is_file() else b""
        if len(data) != 4 + 8 * (9 + 12) or np.frombuffer(data, "<f4", 1)[0] != _TAG:
            raise KinedepthError(f"{path} is not a Sintel camera file, or it is damaged.")
        numbers = np.frombuffer(data, "<f8", offset=4)
        matrix = numbers[:9].reshape(3, 3)
        cx, cy = matrix[0, 2] + 0.5, matrix[1, 2] + 0.5
        cameras.append(Intrinsics(matrix[0, 0], matrix[1, 1], cx, cy, width, height))
        world_to_camera = np.vstack([numbers[9:].reshape(3, 4), [0, 0, 0, 1]])
        poses.append(np.linalg.inv(world_to_camera))
    return CameraPath(cameras, np.stack(poses))
