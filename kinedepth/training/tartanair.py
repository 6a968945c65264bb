"""TartanAir (Wang et al., 2020) as footage: renderings of many scenes with depth and poses.

    ROOT/.../P001/image_left/000000_left.png         640x480
    ROOT/.../P001/depth_left/000000_left_depth.npy   (480, 640) float32 metres along the axis
    ROOT/.../P001/pose_left.txt                      a line a frame: tx ty tz qx qy qz qw

Poses are camera to world with axes x forward, y right, z down; they are turned to this
package's (x right, y down, z forward). Lenses are known: 320 pixels, centred.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from kinedepth.camera import Intrinsics
from kinedepth.errors import KinedepthError
from kinedepth.evaluation.depth_truth import CameraPath
from kinedepth.training._reading import disparity_of, read_image

_FOCAL_OVER_WIDTH = 0.5
"""320 pixels of 640."""

_TO_FORWARD_RIGHT_DOWN = np.array([[0.0, 0.0, 1.0], [1.0, 0.0, 0.0], [0.0, 1.0, 0.0]])
"""A direction in this package's axes to the same in TartanAir's."""


@dataclass(frozen=True)
class TartanAirSequence:
    """One trajectory.

    Attributes:
        name: scene, difficulty and number, as the folders are called.
        size: rows and columns.
        images, depths: files of the frames, in order.
        cameras: of the frames.
    """

    name: str
    size: tuple[int, int]
    images: list[Path]
    depths: list[Path]
    cameras: CameraPath
    stills: bool = False
    # A few scenes have moving animals or water, and none says so.
    static: bool = False

    def __len__(self) -> int:
        return len(self.images)

    def read(self, frame: int) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
        """As of ``Footage``."""
        image, depth = read_image(self.images[frame]), _read_depth(self.depths[frame])
        if image.shape[:2] != self.size or depth.shape != self.size:
            raise KinedepthError(
                f"{self.images[frame]} is {image.shape[:2]} and its depth {depth.shape}, but the "
                f"sequence is {self.size}; unpack it anew."
            )
        return image, disparity_of(depth)


def find_tartanair(root: str | Path) -> list[TartanAirSequence]:
    """All trajectories below a folder, by name.

    Raises:
        KinedepthError: if there is none, or one lacks files.
    """
    root = Path(root)
    if not root.is_dir():
        raise KinedepthError(f"There is no folder {root} with TartanAir.")
    folders = sorted(path.parent for path in root.rglob("image_left") if path.is_dir())
    if not folders:
        raise KinedepthError(
            f"{root} holds no sequence of TartanAir (folders image_left and depth_left beside "
            f"pose_left.txt)."
        )
    return [_sequence(folder, root) for folder in folders]


def _sequence(folder: Path, root: Path) -> TartanAirSequence:
    images = sorted((folder / "image_left").glob("*_left.png"))
    depths = [
        folder / "depth_left" / image.name.replace("_left.png", "_left_depth.npy")
        for image in images
    ]
    missing = [str(depth.relative_to(folder)) for depth in depths if not depth.is_file()]
    if not images or missing:
        lacking = missing[0] if missing else "images in image_left"
        raise KinedepthError(f"{folder} lacks {lacking}; unpack the sequence again.")
    height, width = _read_depth(depths[0]).shape
    focal = _FOCAL_OVER_WIDTH * width
    camera = Intrinsics(focal, focal, width / 2, height / 2, width, height)
    poses = read_poses(folder / "pose_left.txt")
    if len(poses) != len(images):
        raise KinedepthError(
            f"{folder} has {len(images)} images but {len(poses)} poses; unpack the sequence again."
        )
    name = folder.relative_to(root).as_posix()
    cameras = CameraPath([camera] * len(images), poses)
    return TartanAirSequence(name, (height, width), images, depths, cameras)


def read_poses(path: Path) -> NDArray[np.float64]:
    """Camera-to-world matrices ``(T, 4, 4)`` of camera axes x right, y down, z forward.

    The world keeps TartanAir's axes: only the motion between frames is used.

    Raises:
        KinedepthError: if the file is missing or does not hold seven numbers a line.
    """
    try:
        lines = np.loadtxt(path, ndmin=2)
        if lines.shape[1] != 7:
            raise ValueError(f"{lines.shape[1]} numbers in a line")
        rotation = Rotation.from_quat(lines[:, 3:]).as_matrix()
    except (OSError, ValueError) as error:
        raise KinedepthError(
            f"{path} is not a list of poses with seven numbers a line ({error})."
        ) from None
    poses = np.tile(np.eye(4), (len(lines), 1, 1))
    poses[:, :3, :3] = rotation @ _TO_FORWARD_RIGHT_DOWN
    poses[:, :3, 3] = lines[:, :3]
    return poses


def _read_depth(path: Path) -> NDArray[np.float32]:
    try:
        depth = np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise KinedepthError(f"{path} is not readable depth ({error}).") from None
    if depth.ndim != 2:
        raise KinedepthError(f"{path} has to be (H, W); got {depth.shape}.")
    return np.asarray(depth, np.float32)
