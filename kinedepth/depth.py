"""Dense depth of a video, together with what its numbers mean."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from kinedepth.errors import KinedepthError

DepthKind = Literal["metric", "scale_invariant", "affine_invariant", "affine_invariant_disparity"]
"""What is known of a depth value; each kind promises less than the one before it.

- ``metric``: metres along the optical axis.
- ``scale_invariant``: true depth is ``a * value`` with one unknown ``a > 0`` for the video;
  ratios of depths are right.
- ``affine_invariant``: true depth is ``a * value + b`` with unknown ``a > 0`` and ``b``; which of
  two points is nearer is right, ratios are not.
- ``affine_invariant_disparity``: ``1 / depth`` is ``a * value + b`` with unknown ``a > 0`` and
  ``b``; larger is nearer, and 0 need not be infinitely far.
"""


@dataclass(frozen=True)
class DepthVideo:
    """Depth (or disparity) of every pixel of every frame of a video.

    Attributes:
        depth: ``(T, H, W)`` float32, an array or a memory map, which stays one; its unit and
            its sense follow from ``kind``. Depth is z, not the length of the ray.
        kind: what the numbers mean, see :data:`DepthKind`; the unknowns are the same in all
            frames, unless ``per_frame``.
        fps: frames a second.
        per_frame: each frame was predicted on its own, so that the unknowns of ``kind`` may
            change from frame to frame (flicker).

    Raises:
        KinedepthError: if the shape, the type, the kind or the frame rate is none of these.
    """

    depth: NDArray[np.float32]
    kind: DepthKind
    fps: float
    per_frame: bool = False

    def __post_init__(self) -> None:
        # The values are not looked at: a memory map may be larger than the memory.
        if self.depth.ndim != 3 or 0 in self.depth.shape:
            raise KinedepthError(f"Depth needs shape (T, H, W); got {self.depth.shape}.")
        if self.depth.dtype != np.float32:
            raise KinedepthError(f"Depth needs to be float32; got {self.depth.dtype}.")
        if self.kind not in get_args(DepthKind):
            known = ", ".join(get_args(DepthKind))
            raise KinedepthError(f"Unknown kind of depth '{self.kind}'; known are {known}.")
        if not (np.isfinite(self.fps) and self.fps > 0):
            raise KinedepthError(f"The frame rate has to be positive; got {self.fps}.")

    def __len__(self) -> int:
        """T, the number of frames."""
        return len(self.depth)

    @property
    def height(self) -> int:
        """H, rows of a frame."""
        return self.depth.shape[1]

    @property
    def width(self) -> int:
        """W, columns of a frame."""
        return self.depth.shape[2]

    @property
    def larger_is_nearer(self) -> bool:
        """Whether a larger value lies nearer to the camera."""
        return self.kind == "affine_invariant_disparity"
