"""Raising the contrast of flat regions before dense flow looks at them.

The smoothness term of dense flow is set for ordinary contrast; on a plain wall it drowns the
faint shading that still tells how the wall moves. Contrast is raised only where there is
little of it: raised everywhere (as by histogram equalisation) it costs more on textured scenes
than it brings on flat ones.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

SURROUNDINGS = 24.0
"""Pixels (standard deviation of a Gaussian) over which contrast is judged."""
ENOUGH = 12.0
"""Contrast, in grey values (standard deviation), from which a region is left as it is."""
MOST_GAIN = 6.0
"""Flat regions are raised at most this much, their noise with them."""
_COARSER = 4
"""Blurs this wide are computed on an image this many times smaller."""


def raise_contrast(grey: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """``grey (h, w)`` with contrast below :data:`ENOUGH` raised around the local mean."""
    height, width = grey.shape
    values = grey.astype(np.float32)
    coarse = (max(1, width // _COARSER), max(1, height // _COARSER))

    def surroundings(image: NDArray[np.float32]) -> NDArray[np.float32]:
        small = cv2.resize(image, coarse, interpolation=cv2.INTER_AREA)
        small = cv2.GaussianBlur(small, (0, 0), SURROUNDINGS / _COARSER)
        return np.asarray(cv2.resize(small, (width, height)), np.float32)

    detail = values - surroundings(values)
    contrast = np.sqrt(surroundings(detail**2))
    gain = np.clip(ENOUGH / (contrast + 1), 1, MOST_GAIN)
    return np.clip(values + (gain - 1) * detail, 0, 255).astype(np.uint8)
