"""What the loaders of training data share."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from kinedepth.errors import KinedepthError


def read_image(path: Path) -> NDArray[np.uint8]:
    """An image ``(H, W, 3)`` RGB.

    Raises:
        KinedepthError: if it cannot be read.
    """
    bgr = cv2.imread(str(path), cv2.IMREAD_COLOR)
    if bgr is None:
        raise KinedepthError(f"{path} is not an image that can be read; remove it.")
    return np.ascontiguousarray(bgr[:, :, ::-1]).astype(np.uint8, copy=False)


def disparity_of(depth: NDArray[np.float32]) -> NDArray[np.float32]:
    """1 / depth; 0 where depth is not finite or not positive."""
    known = np.isfinite(depth) & (depth > 0)
    return np.where(known, 1 / np.where(known, depth, 1), 0).astype(np.float32)
