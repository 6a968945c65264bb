"""Pinhole camera intrinsics, projection and unprojection.

Conventions used everywhere in the package: camera axes are x right, y down, z forward;
depth is z (not the length of the ray); pixel coordinates are continuous with the centre of
the top left pixel at (0.5, 0.5), so an image of width W spans [0, W].
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from kinedepth.errors import KinedepthError

DEFAULT_FIELD_OF_VIEW = 60.0
"""Degrees across the longer image side, assumed when nothing better is known."""


@dataclass(frozen=True)
class Intrinsics:
    """Pinhole intrinsics of an image of ``width`` x ``height`` pixels.

    Attributes:
        fx, fy: focal lengths in pixels.
        cx, cy: principal point in pixels (the centre of an image is at (W / 2, H / 2)).
        width, height: size in pixels of the image that these intrinsics describe.
    """

    fx: float
    fy: float
    cx: float
    cy: float
    width: int
    height: int

    def __post_init__(self) -> None:
        values = (self.fx, self.fy, self.cx, self.cy)
        if not all(math.isfinite(value) for value in values) or self.fx <= 0 or self.fy <= 0:
            raise KinedepthError(
                f"Intrinsics need positive, finite focal lengths and a finite principal point; "
                f"got fx={self.fx}, fy={self.fy}, cx={self.cx}, cy={self.cy}."
            )
        if not (0 <= self.cx <= self.width and 0 <= self.cy <= self.height):
            raise KinedepthError(
                f"The principal point ({self.cx:g}, {self.cy:g}) lies outside the "
                f"{self.width}x{self.height} frame; are these the intrinsics of another size?"
            )

    @classmethod
    def from_field_of_view(
        cls, width: int, height: int, degrees: float = DEFAULT_FIELD_OF_VIEW
    ) -> Intrinsics:
        """Square pixels, centred principal point, ``degrees`` across the longer side."""
        if not 0 < degrees < 180:
            raise KinedepthError(f"A field of view lies between 0 and 180 degrees; got {degrees}.")
        focal = 0.5 * max(width, height) / math.tan(math.radians(degrees) / 2)
        return cls(focal, focal, width / 2, height / 2, width, height)

    def scaled_to(self, width: int, height: int) -> Intrinsics:
        """The same camera after resizing its image to ``width`` x ``height``."""
        sx, sy = width / self.width, height / self.height
        return Intrinsics(self.fx * sx, self.fy * sy, self.cx * sx, self.cy * sy, width, height)

    def as_vector(self) -> NDArray[np.float64]:
        """``(fx, fy, cx, cy)``, the order TAPVid-3D stores."""
        return np.array([self.fx, self.fy, self.cx, self.cy])

    def unproject(self, xy: NDArray[np.floating], depth: NDArray[np.floating]) -> NDArray:
        """Camera-space points ``(..., 3)`` of pixels ``xy (..., 2)`` at z-depth ``depth (...)``."""
        x = (xy[..., 0] - self.cx) / self.fx * depth
        y = (xy[..., 1] - self.cy) / self.fy * depth
        return np.stack([x, y, np.broadcast_to(depth, x.shape)], axis=-1)

    def project(self, xyz: NDArray[np.floating]) -> NDArray:
        """Pixels ``(..., 2)`` of camera-space points ``xyz (..., 3)`` with z > 0."""
        x = self.fx * xyz[..., 0] / xyz[..., 2] + self.cx
        y = self.fy * xyz[..., 1] / xyz[..., 2] + self.cy
        return np.stack([x, y], axis=-1)
