"""Aligning patches with the image, to a small fraction of a pixel.

Inverse-compositional Lucas-Kanade (Baker & Matthews, "Lucas-Kanade 20 Years On", IJCV 2004,
section 3.2) under affine warps, for thousands of patches at once, with the patch's gain and
offset of brightness projected out and a prior that holds what the image does not tell.
"""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

from kinedepth.tracking._patches import NOISE, OFFSETS, RADIUS, WEIGHTS, cut, flatness, normalise

_INDEPENDENT = len(OFFSETS) / 4
"""How many pixels of a patch count, the weights being a bell and neighbours much the same."""
_CONVERGED = 0.01
"""Pixels: a point that moves less in one iteration is done."""


@dataclass
class Templates:
    """N patches to align with, and what alignment needs of them.

    Attributes:
        grey: ``(N, P)`` grey values.
        steepest: ``(N, P, 6)`` change of grey value with each parameter of the warp: shift
            along x and y, then what one pixel at the patch's side does for each of the four
            entries of the shape. Gain and offset are projected out.
        hessian: ``(N, 6, 6)`` weighted products of these.
        flatness: ``(N,)`` from 0 (full of texture) to 1 (nothing but noise).
        shape: ``(N, 2, 2)`` how the patch is turned and stretched in the newest frame.
        slack: ``(N,)`` float64 square pixels by which alignment alone may err along the patch's
            weakest direction (the Cramer-Rao bound of a shift): large on an edge or a plain wall.
    """

    grey: NDArray[np.float32]
    steepest: NDArray[np.float32]
    hessian: NDArray[np.float32]
    flatness: NDArray[np.float32]
    shape: NDArray[np.float64]
    slack: NDArray[np.float64]

    @classmethod
    def of(cls, image: NDArray[np.float32], xy: NDArray[np.floating]) -> Templates:
        """Upright templates of ``image (h, w)`` around ``xy (N, 2)``."""
        grey = cut(image, xy)
        along_x, along_y = (cut(image, xy + step) - cut(image, xy - step) for step in np.eye(2) / 2)
        x, y = OFFSETS.T / RADIUS
        steepest = np.stack(
            [along_x, along_y, along_x * x, along_x * y, along_y * x, along_y * y], axis=-1
        )
        centred, contrast = normalise(grey)
        unit = (centred / np.maximum(contrast, 1e-3)[:, None])[..., None]
        weights = WEIGHTS[:, None]
        steepest -= (steepest * weights).sum(1, keepdims=True)
        steepest -= (steepest * unit * weights).sum(1, keepdims=True) * unit
        hessian = (steepest * weights).swapaxes(1, 2) @ steepest
        shape = np.tile(np.eye(2), (len(grey), 1, 1))
        weakest = np.linalg.eigvalsh(hessian[:, :2, :2].astype(np.float64))[:, 0]
        slack = NOISE**2 / _INDEPENDENT / np.maximum(weakest, 1e-6)
        return cls(grey, steepest, hessian, flatness(grey), shape, slack)

    @classmethod
    def empty(cls) -> Templates:
        """No templates."""
        return cls.of(np.zeros((1, 1), np.float32), np.zeros((0, 2)))

    def joined(self, other: Templates) -> Templates:
        """These and then ``other``."""
        return Templates(
            *(
                np.concatenate([getattr(self, field.name), getattr(other, field.name)])
                for field in fields(self)
            )
        )

    def chosen(self, mask: NDArray[np.bool_]) -> Templates:
        """Those of ``mask (N,)``."""
        return Templates(*(getattr(self, field.name)[mask] for field in fields(self)))


def align(
    image: NDArray[np.float32],
    xy: NDArray[np.float64],
    templates: Templates,
    shift_deviation: float,
    shape_deviation: float,
    iterations: int = 6,
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Where ``image (h, w)`` looks like the templates: ``xy (N, 2)`` and ``shape (N, 2, 2)``.

    Starts from ``xy (N, 2)`` and the templates' shapes. The least squares weigh grey values
    against the camera's noise, the way moved against ``shift_deviation`` pixels and the change
    of shape against ``shape_deviation`` pixels at the patch's side (both standard deviations
    of the start's error): where a patch says little, or nothing along an edge, a point stays.
    """
    deviations = np.array([shift_deviation] * 2 + [shape_deviation] * 4)
    prior = NOISE**2 / _INDEPENDENT / deviations**2
    inverse = np.linalg.inv(templates.hessian + np.diag(prior))
    target, contrast = normalise(templates.grey)
    xy, shape = xy.copy(), templates.shape.copy()
    gone = np.zeros((len(xy), 6))  # the warp so far, in the template's own axes
    active = np.arange(len(xy))
    for _ in range(iterations):
        if not len(active):
            break
        patch, _ = normalise(cut(image, xy[active], shape[active]))
        template = target[active]
        likeness = (patch * template * WEIGHTS).sum(-1)
        gain = np.clip((likeness + NOISE**2) / (contrast[active] ** 2 + NOISE**2), 0.3, 3.0)
        difference = (template - patch / gain[:, None]) * WEIGHTS
        pull = (difference[:, None, :] @ templates.steepest[active])[:, 0]
        step = (inverse[active] @ (pull - prior * gone[active])[..., None])[..., 0]
        step = np.clip(step, -1.0, 1.0)
        gone[active] += step
        xy[active] += (shape[active] @ step[:, :2, None])[..., 0]
        shape[active] += shape[active] @ step[:, 2:].reshape(-1, 2, 2) / RADIUS
        active = active[np.abs(step).max(1) > _CONVERGED]
    return xy, shape
