"""Two views in one picture, for glasses with a red and a cyan filter."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

_LEFT = np.array([[0.437, 0.449, 0.164], [-0.062, -0.062, -0.024], [-0.048, -0.050, -0.017]])
_RIGHT = np.array([[-0.011, -0.032, -0.007], [0.377, 0.761, 0.009], [-0.026, -0.093, 1.234]])
"""Least-squares projections for red-cyan glasses (left eye red) and LCD screens, for linear
RGB: E. Dubois, "Conversion of a Stereo Pair to Anaglyph with the Least-Squares Projection
Method", 2009; the method is that of his ICASSP 2001 paper."""

_STEPS = 4096
"""Entries of the table from linear light back to 8-bit sRGB."""


def _linear_table() -> NDArray[np.float32]:
    """Linear light of each 8-bit sRGB value (IEC 61966-2-1)."""
    encoded = np.arange(256) / 255
    low = encoded / 12.92
    return np.where(encoded <= 0.04045, low, ((encoded + 0.055) / 1.055) ** 2.4).astype(np.float32)


def _encoded_table() -> NDArray[np.uint8]:
    """8-bit sRGB value of linear light in even steps."""
    linear = np.linspace(0, 1, _STEPS)
    encoded = np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)
    return np.rint(255 * encoded).astype(np.uint8)


_LINEAR = _linear_table()
_ENCODED = _encoded_table()


def anaglyph(left: NDArray[np.uint8], right: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Red-cyan anaglyph ``(H, W, 3)`` uint8 RGB of two views of that shape."""
    mixed = cv2.transform(_LINEAR[left], _LEFT) + cv2.transform(_LINEAR[right], _RIGHT)
    index = np.clip(mixed * (_STEPS - 1) + 0.5, 0, _STEPS - 1).astype(np.uint16)
    return _ENCODED[index]
