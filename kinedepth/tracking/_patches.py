"""What a point looks like: small patches around it, and how unlike two of them are."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from kinedepth.tracking._sampling import bilinear

RADIUS = 5
"""Pixels from the middle of a patch to its sides."""
NOISE = 3.0
"""Standard deviation of grey values (0 to 255) that is put down to the camera, not the scene."""

_span = np.arange(-RADIUS, RADIUS + 1, dtype=np.float32)
OFFSETS = np.stack(np.meshgrid(_span, _span), axis=-1).reshape(-1, 2)
"""``(P, 2)`` from a patch's middle to its P pixels."""
WEIGHTS = np.exp(-0.5 * (OFFSETS**2).sum(1) / (0.6 * RADIUS) ** 2).astype(np.float32)
WEIGHTS /= WEIGHTS.sum()
"""``(P,)`` a bell over the patch that sums to 1: the middle is surest to be the point's own."""


def cut(
    image: NDArray[np.float32], xy: NDArray[np.floating], shape: NDArray[np.floating] | None = None
) -> NDArray[np.float32]:
    """Patches ``(N, P)`` of ``image (h, w)`` around ``xy (N, 2)``.

    ``shape (N, 2, 2)`` turns and stretches each patch: where one step right and one step down
    of the patch lead in the image, as columns. Without it patches are upright.
    """
    if shape is None:
        spread = xy[:, None, :] + OFFSETS
        return bilinear(image, spread[..., 0], spread[..., 1])
    x = xy[:, :1] + shape[:, :1, 0] * OFFSETS[:, 0] + shape[:, :1, 1] * OFFSETS[:, 1]
    y = xy[:, 1:] + shape[:, 1:, 0] * OFFSETS[:, 0] + shape[:, 1:, 1] * OFFSETS[:, 1]
    return bilinear(image, x, y)


def normalise(patches: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Patches less their weighted mean ``(N, P)``, and their contrast ``(N,)``, in grey values."""
    centred = patches - (patches * WEIGHTS).sum(-1, keepdims=True)
    return centred, np.sqrt((centred**2 * WEIGHTS).sum(-1))


def flatness(patches: NDArray[np.float32]) -> NDArray[np.float32]:
    """``(N,)`` from 0 (full of texture) to 1 (nothing but noise) of patches ``(N, P)``."""
    _, contrast = normalise(patches)
    return NOISE**2 / (NOISE**2 + contrast**2)


def dissimilarity(a: NDArray[np.float32], b: NDArray[np.float32]) -> NDArray[np.float32]:
    """How unlike patches ``(N, P)`` are: 0 (alike up to brightness and contrast) to about 2.

    One minus the normalised correlation, with the camera's noise in the denominator, so that
    flat patches count as alike instead of comparing noise with noise.
    """
    a, contrast_a = normalise(a)
    b, contrast_b = normalise(b)
    product = (a * b * WEIGHTS).sum(-1)
    return 1.0 - (product + NOISE**2) / (contrast_a * contrast_b + NOISE**2)
