"""Reading images and flow fields between pixels.

Written out in numpy because each value must depend on its own point alone: OpenCV's ``remap``
rounds positions to 1/32 pixel in its 4.x releases, which a sub-pixel tracker cannot afford.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def bilinear(
    image: NDArray[np.float32], x: NDArray[np.floating], y: NDArray[np.floating]
) -> NDArray[np.float32]:
    """Values of ``image (h, w)`` or ``(h, w, C)`` at positions ``x, y`` of any equal shape.

    Pixel centres lie at whole numbers; outside the image its border is repeated. Returns
    float32 of the shape of ``x``, with a last axis C where the image has one.
    """
    height, width = image.shape[:2]
    x = np.clip(x, 0, width - 1).astype(np.float32)
    y = np.clip(y, 0, height - 1).astype(np.float32)
    left = np.minimum(x.astype(np.int32), max(width - 2, 0))
    top = np.minimum(y.astype(np.int32), max(height - 2, 0))
    fraction_x, fraction_y = x - left, y - top
    right_step = min(1, width - 1)
    below_step = width * min(1, height - 1)
    corner = top * width + left
    flat: NDArray[np.float32] = image.reshape(height * width, *image.shape[2:])
    if image.ndim == 3:
        fraction_x, fraction_y = fraction_x[..., None], fraction_y[..., None]
    upper = flat.take(corner, axis=0)
    upper += fraction_x * (flat.take(corner + right_step, axis=0) - upper)
    lower = flat.take(corner + below_step, axis=0)
    lower += fraction_x * (flat.take(corner + (right_step + below_step), axis=0) - lower)
    upper += fraction_y * (lower - upper)
    return upper
