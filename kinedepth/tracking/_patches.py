"""What a point looks like: square patches, how alike two of them are, and aligning them.

Alignment is inverse-compositional Lucas-Kanade (Baker & Matthews, "Lucas-Kanade 20 Years On",
IJCV 2004, section 3.2) on translation, with a gain and an offset of brightness solved along,
for thousands of patches at once.
"""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

from kinedepth.tracking._sampling import bilinear

RADIUS = 5
"""Pixels from the middle of a patch to its sides."""
NOISE = 3.0
"""Standard deviation of grey values (0 to 255) that is put down to the camera, not the scene."""

_span = np.arange(-RADIUS, RADIUS + 1, dtype=np.float32)
OFFSETS = np.stack(np.meshgrid(_span, _span), axis=-1).reshape(-1, 2)
WEIGHTS = np.exp(-0.5 * (OFFSETS**2).sum(1) / (0.6 * RADIUS) ** 2).astype(np.float32)
WEIGHTS /= WEIGHTS.sum()


def cut(image: NDArray[np.float32], xy: NDArray[np.floating]) -> NDArray[np.float32]:
    """Patches ``(N, P)`` of ``image (h, w)`` around ``xy (N, 2)``."""
    spread = xy[:, None, :] + OFFSETS
    return bilinear(image, spread[..., 0], spread[..., 1])


def normalise(patches: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Patches less their weighted mean ``(N, P)``, and their contrast ``(N,)``, in grey values."""
    centred = patches - (patches * WEIGHTS).sum(-1, keepdims=True)
    return centred, np.sqrt((centred**2 * WEIGHTS).sum(-1))


def dissimilarity(a: NDArray[np.float32], b: NDArray[np.float32]) -> NDArray[np.float32]:
    """How unlike patches ``(N, P)`` are: 0 (alike up to brightness and contrast) to about 2.

    One minus the normalised correlation, with the camera's noise in the denominator, so that
    flat patches count as alike instead of comparing noise with noise.
    """
    a, contrast_a = normalise(a)
    b, contrast_b = normalise(b)
    product = (a * b * WEIGHTS).sum(-1)
    return 1.0 - (product + NOISE**2) / (contrast_a * contrast_b + NOISE**2)


@dataclass
class Templates:
    """Patches to align with, and what alignment needs of them.

    Attributes:
        grey: ``(N, P)`` grey values.
        steepest: ``(N, P, 2)`` their gradient along x and y, free of gain and offset.
        hessian: ``(N, 2, 2)`` weighted products of these.
        flatness: ``(N,)`` from 0 (full of texture) to 1 (nothing but noise).
    """

    grey: NDArray[np.float32]
    steepest: NDArray[np.float32]
    hessian: NDArray[np.float32]
    flatness: NDArray[np.float32]

    @classmethod
    def empty(cls) -> Templates:
        """No templates yet."""
        size = len(OFFSETS)
        return cls(
            np.zeros((0, size), np.float32),
            np.zeros((0, size, 2), np.float32),
            np.zeros((0, 2, 2), np.float32),
            np.zeros(0, np.float32),
        )

    @classmethod
    def of(cls, image: NDArray[np.float32], xy: NDArray[np.floating]) -> Templates:
        """Templates of ``image (h, w)`` around ``xy (N, 2)``."""
        grey = cut(image, xy)
        step = np.array([[0.5, 0.0], [0.0, 0.5]])
        gradient = np.stack([cut(image, xy + s) - cut(image, xy - s) for s in step], axis=-1)
        centred, contrast = normalise(grey)
        unit = centred / np.maximum(contrast, 1e-3)[:, None]
        gradient -= (gradient * WEIGHTS[:, None]).sum(1, keepdims=True)
        along = (gradient * (unit * WEIGHTS)[..., None]).sum(1, keepdims=True)
        gradient -= along * unit[..., None]
        hessian = np.stack(
            [
                np.stack(
                    [(gradient[..., i] * gradient[..., j] * WEIGHTS).sum(-1) for j in (0, 1)], -1
                )
                for i in (0, 1)
            ],
            axis=-2,
        )
        return cls(grey, gradient, hessian, NOISE**2 / (NOISE**2 + contrast**2))

    def joined(self, other: Templates) -> Templates:
        """These and then ``other``."""
        return Templates(
            *(
                np.concatenate([getattr(self, field.name), getattr(other, field.name)])
                for field in fields(self)
            )
        )

    def chosen(self, mask: NDArray) -> Templates:
        """Those of ``mask`` (bool or indices)."""
        return Templates(*(getattr(self, field.name)[mask] for field in fields(self)))


def align(
    image: NDArray[np.float32],
    xy: NDArray[np.float64],
    templates: Templates,
    trust: float,
    iterations: int = 6,
) -> NDArray[np.float64]:
    """Move points ``xy (N, 2)`` to where ``image (h, w)`` looks like their templates.

    The least squares weigh grey values against the camera's noise and the way moved against
    ``trust`` pixels (standard deviation of the start's error): where a patch says little, or
    nothing along an edge, a point stays where it started.
    """
    prior = (NOISE / trust) ** 2 / len(OFFSETS) * 4
    a = templates.hessian[:, 0, 0] + prior
    b = templates.hessian[:, 0, 1]
    d = templates.hessian[:, 1, 1] + prior
    determinant = a * d - b * b
    inverse = np.stack([np.stack([d, -b], -1), np.stack([-b, a], -1)], -2)
    inverse = inverse / determinant[:, None, None]
    target, contrast = normalise(templates.grey)
    moved = np.zeros_like(xy)
    active = np.arange(len(xy))
    for _ in range(iterations):
        if not len(active):
            break
        patch, _ = normalise(cut(image, xy[active] + moved[active]))
        template = target[active]
        gain = ((patch * template * WEIGHTS).sum(-1) + NOISE**2) / (
            contrast[active] ** 2 + NOISE**2
        )
        gain = np.clip(gain, 0.3, 3.0)
        difference = patch / gain[:, None] - template
        weighted = templates.steepest[active] * (difference * WEIGHTS)[..., None]
        right = -weighted.sum(1) - prior * moved[active]
        step = (inverse[active] * right[:, None, :]).sum(-1)
        moved[active] += np.clip(step, -1.0, 1.0)
        active = active[np.abs(step).max(1) > 0.01]
    return xy + moved
