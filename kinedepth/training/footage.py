"""Frames with true disparity, whatever they are stored as: what snippets are drawn from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import cv2
import numpy as np
from numpy.typing import NDArray

from kinedepth.camera import Intrinsics
from kinedepth.errors import KinedepthError
from kinedepth.evaluation.depth_truth import CameraPath
from kinedepth.training.rendered_clips import TrainingClip

_COARSE = 24
"""Rays across a frame, and down it, by which two views are compared."""


class Footage(Protocol):
    """Frames that are read one by one, all of one size.

    Stills are images of which each is a snippet of its own. What is not known to be static
    counts as moving.
    """

    @property
    def name(self) -> str:
        """For messages."""
        ...

    @property
    def size(self) -> tuple[int, int]:
        """Rows and columns."""
        ...

    @property
    def stills(self) -> bool:
        """Whether frames do not follow each other."""
        ...

    @property
    def static(self) -> bool:
        """Whether only the camera moves."""
        ...

    @property
    def cameras(self) -> CameraPath | None:
        """Of all frames, where known."""
        ...

    def __len__(self) -> int: ...

    def read(self, frame: int) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
        """Image ``(H, W, 3)`` RGB and disparity ``(H, W)``, 0 where it is not known.

        Raises:
            KinedepthError: if a file cannot be read.
        """
        ...


@dataclass(frozen=True)
class ClipFootage:
    """A training clip, see :mod:`kinedepth.training.rendered_clips`."""

    clip: TrainingClip
    stills: bool = False

    @property
    def name(self) -> str:
        """Of the clip."""
        return self.clip.name

    @property
    def size(self) -> tuple[int, int]:
        """Rows and columns."""
        return self.clip.size

    @property
    def static(self) -> bool:
        """Whether only the camera moves."""
        return self.clip.static

    @property
    def cameras(self) -> CameraPath | None:
        """Where the clip's file tells them."""
        if self.clip.intrinsics is None or self.clip.camera_to_world is None:
            return None
        (fx, _, cx), (_, fy, cy), _ = self.clip.intrinsics.tolist()
        camera = Intrinsics(fx, fy, cx, cy, self.size[1], self.size[0])
        return CameraPath([camera] * len(self), self.clip.camera_to_world)

    def __len__(self) -> int:
        return len(self.clip)

    def read(self, frame: int) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
        """As of :class:`Footage`."""
        disparity = np.asarray(self.clip.disparity[frame], np.float32)
        known = np.isfinite(disparity) & (disparity > 0)
        return np.asarray(self.clip.frames[frame]), np.where(known, disparity, np.float32(0))


@dataclass(frozen=True)
class ShrunkFootage:
    """Footage at a whole fraction of its size; what is left over at the right and below is cut.

    Disparity is averaged, which keeps planes exact; where any pixel of a block is unknown, the
    block is.

    Attributes:
        whole: the footage.
        factor: how many pixels a side become one.
    """

    whole: Footage
    factor: int

    def __post_init__(self) -> None:
        if self.factor < 1 or min(self.size) < 1:
            raise KinedepthError(
                f"{self.whole.name} is {self.whole.size[1]}x{self.whole.size[0]} pixels and cannot "
                f"be shrunk by {self.factor}; give a whole number from 1 up that leaves some."
            )

    @property
    def name(self) -> str:
        """Of the footage."""
        return self.whole.name

    @property
    def size(self) -> tuple[int, int]:
        """Rows and columns after shrinking."""
        rows, columns = self.whole.size
        return rows // self.factor, columns // self.factor

    @property
    def stills(self) -> bool:
        """As of the footage."""
        return self.whole.stills

    @property
    def static(self) -> bool:
        """As of the footage."""
        return self.whole.static

    @property
    def cameras(self) -> CameraPath | None:
        """Of the shrunk frames."""
        path = self.whole.cameras
        if path is None:
            return None
        rows, columns = self.size
        kept_rows, kept_columns = rows * self.factor, columns * self.factor
        shrunk = [
            Intrinsics(
                camera.fx / self.factor,
                camera.fy / self.factor,
                min(camera.cx, kept_columns) / self.factor,
                min(camera.cy, kept_rows) / self.factor,
                columns,
                rows,
            )
            for camera in path.intrinsics
        ]
        return CameraPath(shrunk, path.camera_to_world)

    def __len__(self) -> int:
        return len(self.whole)

    def read(self, frame: int) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
        """As of :class:`Footage`."""
        image, disparity = self.whole.read(frame)
        if self.factor == 1:
            return image, disparity
        rows, columns = (side * self.factor for side in self.size)
        image, disparity = image[:rows, :columns], disparity[:rows, :columns]
        size = self.size[::-1]
        small = cv2.resize(np.ascontiguousarray(image), size, interpolation=cv2.INTER_AREA)
        averaged = cv2.resize(np.ascontiguousarray(disparity), size, interpolation=cv2.INTER_AREA)
        blocks = (self.size[0], self.factor, self.size[1], self.factor)
        known = (disparity > 0).reshape(blocks).all(axis=(1, 3))
        return (
            np.asarray(small, np.uint8),
            np.where(known, averaged, np.float32(0)).astype(np.float32),
        )


def shared_view(
    disparity: NDArray[np.float32], cameras: CameraPath, first: int, second: int
) -> float:
    """Share of what one frame shows that lies within another's field of view, from 0 to 1.

    That something stands before it is not looked at.

    Args:
        disparity: ``(H, W)`` of the frame ``first``, 0 where it is not known.
        cameras: of the footage.
        first, second: frames.
    """
    height, width = disparity.shape
    rows = ((np.arange(_COARSE) + 0.5) * height / _COARSE).astype(int)
    columns = ((np.arange(_COARSE) + 0.5) * width / _COARSE).astype(int)
    v, u = (grid.ravel() for grid in np.meshgrid(rows, columns, indexing="ij"))
    near = disparity[v, u].astype(np.float64)
    u, v, near = u[near > 0], v[near > 0], near[near > 0]
    if len(near) == 0:
        return 0.0
    one, other = cameras.intrinsics[first], cameras.intrinsics[second]
    x, y = (u + 0.5 - one.cx) / one.fx, (v + 0.5 - one.cy) / one.fy
    # Homogeneous with 1 / depth last, so that the sky needs no depth.
    rays = np.stack([x, y, np.ones_like(x), near])
    poses = cameras.camera_to_world
    there = (np.linalg.inv(poses[second]) @ poses[first] @ rays)[:3]
    with np.errstate(divide="ignore", invalid="ignore"):
        across = there[0] / there[2] * other.fx + other.cx
        down = there[1] / there[2] * other.fy + other.cy
        inside = (across >= 0) & (across < width) & (down >= 0) & (down < height)
    return float((inside & (there[2] > 0)).mean())
