"""True depth of a clip, read frame by frame, with what a benchmark fixes about it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from kinedepth.camera import Intrinsics
from kinedepth.errors import KinedepthError

NEAREST = 1e-3
"""Metres: truth has to be farther than this to count, and predictions are clipped here."""


@dataclass(frozen=True)
class Crop:
    """The part of a frame that is scored, with the meaning of Python's slices.

    Attributes:
        top, bottom: rows ``top:bottom``; None for an end that is not cut, negative from the end.
        left, right: columns ``left:right``, likewise.
    """

    top: int = 0
    bottom: int | None = None
    left: int = 0
    right: int | None = None

    def cut(self, frame: NDArray) -> NDArray:
        """The part of ``frame (H, W)`` that is scored, a view."""
        return frame[self.top : self.bottom, self.left : self.right]

    def size(self, height: int, width: int) -> tuple[int, int]:
        """Height and width that a frame of ``height`` x ``width`` has left."""
        rows = range(height)[self.top : self.bottom]
        columns = range(width)[self.left : self.right]
        return len(rows), len(columns)

    def camera(self, camera: Intrinsics) -> Intrinsics:
        """The camera of the part: cutting off a border moves the principal point.

        Raises:
            KinedepthError: if the principal point is cut off.
        """
        height, width = self.size(camera.height, camera.width)
        left = range(camera.width)[self.left : self.right].start
        top = range(camera.height)[self.top : self.bottom].start
        return Intrinsics(camera.fx, camera.fy, camera.cx - left, camera.cy - top, width, height)


WHOLE_FRAME = Crop()


@dataclass(frozen=True)
class CameraPath:
    """Where the camera was in each of T frames.

    Attributes:
        intrinsics: of the truth's frames, one for each frame.
        camera_to_world: ``(T, 4, 4)`` float64; not finite where a pose is unknown.

    Raises:
        KinedepthError: if the shapes disagree.
    """

    intrinsics: Sequence[Intrinsics]
    camera_to_world: NDArray[np.float64]

    def __post_init__(self) -> None:
        expected = (len(self.intrinsics), 4, 4)
        if self.camera_to_world.shape != expected:
            raise KinedepthError(
                f"Poses need shape {expected}, one for each frame; got "
                f"{self.camera_to_world.shape}."
            )


@dataclass(frozen=True)
class DepthTruth:
    """True depth of the frames of a clip that a benchmark scores.

    Nothing is held in memory: ``read`` opens the data anew and gives one frame after the other.

    Attributes:
        name: of the clip; predictions are looked up by it.
        frames: T, how many frames are scored.
        height, width: of a frame of truth, before any crop.
        read: gives an iterator over T frames ``(height, width)`` of z-depth in metres (scene
            units for rendered clips); zero, negative, NaN and infinite values are no truth.
        farthest: metres; truth has to be nearer to count, and predictions are clipped here.
        crop: what is scored of each frame.
        cameras: poses of the T frames, or None where they are not known.
        selected: which frames of the footage the T are, for predictions of all the footage.
        footage: how many frames the footage has.

    Raises:
        KinedepthError: if there are no frames, or a number is out of range.
    """

    name: str
    frames: int
    height: int
    width: int
    read: Callable[[], Iterator[NDArray]]
    farthest: float = np.inf
    crop: Crop = WHOLE_FRAME
    cameras: CameraPath | None = None
    selected: range | None = None
    footage: int = field(default=0)

    def __post_init__(self) -> None:
        if self.frames < 1 or min(self.crop.size(self.height, self.width)) < 1:
            raise KinedepthError(
                f"The truth of {self.name} has nothing to score: {self.frames} frames of "
                f"{self.width}x{self.height}, cut to {self.crop}."
            )
        if not self.farthest > NEAREST:
            raise KinedepthError(
                f"The farthest depth that counts has to be beyond {NEAREST} m; got {self.farthest}."
            )
        if self.cameras is not None and len(self.cameras.intrinsics) != self.frames:
            raise KinedepthError(
                f"{self.name} has {self.frames} frames but {len(self.cameras.intrinsics)} cameras."
            )
        if self.selected is not None and len(self.selected) != self.frames:
            raise KinedepthError(
                f"{self.name} selects {len(self.selected)} frames but has {self.frames}."
            )

    @classmethod
    def from_array(
        cls,
        depth: NDArray,
        name: str = "array",
        farthest: float = np.inf,
        crop: Crop = WHOLE_FRAME,
        cameras: CameraPath | None = None,
    ) -> DepthTruth:
        """The truth ``depth (T, H, W)`` in metres, an array or a memory map, not copied."""
        if depth.ndim != 3:
            raise KinedepthError(f"True depth needs shape (T, H, W); got {depth.shape}.")
        frames, height, width = depth.shape
        return cls(name, frames, height, width, lambda: iter(depth), farthest, crop, cameras)

    def counts(self, depth: NDArray) -> NDArray[np.bool_]:
        """Where a frame of truth is valid: NEAREST < depth < farthest; NaN never is."""
        with np.errstate(invalid="ignore"):
            return np.asarray((depth > NEAREST) & (depth < self.farthest))
