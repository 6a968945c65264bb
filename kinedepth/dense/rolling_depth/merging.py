"""One depth for each frame from the aligned snippets that show it."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from kinedepth.dense.rolling_depth.snippets import SnippetPlan


@dataclass(frozen=True)
class FrameViews:
    """What the snippets that show one frame count for, with ``x`` their depth of it.

    The merged depth, the mean of all ``scale * (x - lowest) + shift``, is
    ``sum(weights * x) + offset``.

    Attributes:
        predictions: ``(K,)`` int64 index of the distinct predictions: snippet times its length
            plus the frame's place in it.
        weights: ``(K,)`` float64.
        offset: what is added.
    """

    predictions: NDArray[np.int64]
    weights: NDArray[np.float64]
    offset: float

    def merge_depth(self, depth: NDArray[np.float32]) -> NDArray[np.float32]:
        """Merged depth ``(H, W)`` of ``depth (K, H, W)``."""
        merged = np.tensordot(self.weights, depth.astype(np.float64), axes=1) + self.offset
        return merged.astype(np.float32)

    def merge_latents(self, latents: NDArray[np.float32]) -> NDArray[np.float32]:
        """Latents ``(4, h, w)`` to decode in place of ``latents (K, 4, h, w)``.

        With ``scale = sum(weights)`` the merged depth is about
        ``scale * decode(merge_latents) + offset``. It is exactly that where the decoder is
        affine, whatever its offset, and where all views agree, whatever the decoder: the result
        is a weighted mean of latents, never a scaled one, so it stays among what the decoder
        knows.
        """
        shares = np.maximum(self.weights, 0)
        if shares.sum() <= 0:
            shares = np.ones_like(shares)
        mean = np.tensordot(shares / shares.sum(), latents.astype(np.float64), axes=1)
        return mean.astype(np.float32)

    def finish_depth(self, decoded: NDArray[np.float32]) -> NDArray[np.float32]:
        """Merged depth ``(H, W)`` of what the decoder made of :meth:`merge_latents`."""
        return (self.weights.sum() * decoded + self.offset).astype(np.float32)


def views_of_frames(
    plan: SnippetPlan,
    scale: NDArray[np.floating],
    shift: NDArray[np.floating],
    lowest: float,
) -> list[FrameViews]:
    """The views of each frame, in order.

    Args:
        plan: of the snippets.
        scale, shift: ``(S,)`` of all snippets, repeated ones included.
        lowest: the value that is 0 before scale and shift.
    """
    # Predictions of a repeated dilation are the same numbers: their scales add up.
    weights: list[dict[int, float]] = [
        defaultdict(float) for _ in range(int(plan.frames.max()) + 1)
    ]
    offsets = np.zeros(len(weights))
    counts = np.zeros(len(weights))
    for snippet, factor, added in zip(plan.occurrences, scale, shift, strict=True):
        for place, frame in enumerate(plan.frames[snippet]):
            weights[frame][int(snippet) * plan.length + place] += float(factor)
            offsets[frame] += float(added) - float(factor) * lowest
            counts[frame] += 1
    return [
        FrameViews(
            np.array(list(parts), np.int64),
            np.array(list(parts.values())) / counts[frame],
            float(offsets[frame] / counts[frame]),
        )
        for frame, parts in enumerate(weights)
    ]
