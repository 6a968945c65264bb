"""What a prediction leaves open, a scale and perhaps a shift, fitted over a whole video.

One pair for the video, in the space in which the prediction is linear: disparity for models that
give disparity, else depth. Values come frame by frame and only sums of them are kept.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from kinedepth.depth import DepthKind
from kinedepth.errors import KinedepthError
from kinedepth.evaluation.depth_truth import NEAREST

AlignmentMethod = Literal["auto", "scale-shift", "scale", "median", "none"]
"""How the unknowns are found.

- ``auto``: what the kind of depth leaves open, by least squares (:func:`method_for`).
- ``scale-shift``, ``scale``: least squares over all valid pixels of all frames.
- ``median``: the scale is the median of truth / prediction over all valid pixels.
- ``none``: numbers count as they are.
"""

Space = Literal["depth", "disparity"]

FrameValues = Callable[[], Iterable[tuple[NDArray, NDArray]]]
"""Gives, each time it is called, the predicted and true values ``(K,)`` of every frame."""

_OFFSET = 1e-8
"""Metres added to true depth before it is inverted, as in the published benchmark."""


@dataclass(frozen=True)
class Alignment:
    """``scale * prediction + shift`` is the true depth or the true disparity.

    Attributes:
        method: how it was found; never ``auto``.
        space: what it maps to.
        scale, shift: in 1 (or 1/m) for depth (disparity) over the prediction's unit.
    """

    method: AlignmentMethod
    space: Space
    scale: float = 1.0
    shift: float = 0.0

    @property
    def label(self) -> str:
        """In words, e.g. ``scale-shift in disparity``."""
        return "none" if self.method == "none" else f"{self.method} in {self.space}"

    def depth(self, prediction: NDArray, farthest: float) -> NDArray[np.float64]:
        """Aligned depth in metres of predicted values, clipped to NEAREST ... ``farthest``.

        Disparity is clipped at 0.001 / m from below before it is inverted, as the published
        benchmark does: what lies beyond infinity counts as far away.
        """
        values = self.scale * prediction.astype(np.float64) + self.shift
        if self.space == "disparity":
            values = 1 / np.maximum(values, 1e-3)
        return np.clip(values, NEAREST, farthest)


def method_for(kind: DepthKind) -> AlignmentMethod:
    """What ``kind`` leaves open: nothing, a scale, or a scale and a shift."""
    if kind == "metric":
        return "none"
    return "scale" if kind == "scale_invariant" else "scale-shift"


def space_of(kind: DepthKind) -> Space:
    """The space in which a prediction of ``kind`` is linear."""
    return "disparity" if kind == "affine_invariant_disparity" else "depth"


def fit_alignment(values: FrameValues, method: AlignmentMethod, space: Space) -> Alignment:
    """Fit a prediction to the truth.

    Args:
        values: predictions and true **depth** of the pixels that count.
        method: any but ``auto``.
        space: what the prediction is, up to the unknowns.

    Raises:
        KinedepthError: if the method is unknown, or it needs a value and no pixel counts.
    """
    if method not in get_args(AlignmentMethod) or method == "auto":
        known = ", ".join(get_args(AlignmentMethod))
        raise KinedepthError(f"Unknown alignment '{method}'; known are {known}.")
    if method == "none":
        return Alignment(method, space)

    def pairs() -> Iterable[tuple[NDArray[np.float64], NDArray[np.float64]]]:
        for prediction, depth in values():
            truth = depth.astype(np.float64)
            yield (
                prediction.astype(np.float64),
                1 / (truth + _OFFSET) if space == "disparity" else truth,
            )

    if method == "median":
        return Alignment(method, space, _median_ratio(pairs))
    moments = _Moments()
    for prediction, target in pairs():
        moments.add(prediction, target)
    if moments.count == 0:
        raise KinedepthError(_NOTHING)
    if method == "scale":
        return Alignment(method, space, moments.scale())
    return Alignment(method, space, *moments.scale_and_shift())


_NOTHING = "No pixel of the truth is valid: there is nothing to align to and nothing to score."


class _Moments:
    """First and second moments of pairs, merged frame by frame about their means.

    Plain sums of squares over 10^8 pixels lose the digits that the variance needs; moments
    about the mean do not (Chan, Golub and LeVeque, 1979).
    """

    def __init__(self) -> None:
        self.count = 0
        self._mean = np.zeros(2)
        self._square = 0.0
        self._product = 0.0

    def add(self, prediction: NDArray[np.float64], target: NDArray[np.float64]) -> None:
        if prediction.size == 0:
            return
        mean = np.array([prediction.mean(), target.mean()])
        centred = prediction - mean[0]
        total = self.count + prediction.size
        step = mean - self._mean
        weight = self.count * prediction.size / total
        self._square += float(centred @ centred) + weight * step[0] ** 2
        self._product += float(centred @ (target - mean[1])) + weight * step[0] * step[1]
        self._mean += step * (prediction.size / total)
        self.count = total

    def scale_and_shift(self) -> tuple[float, float]:
        """Least squares; a constant prediction gets scale 0 and the mean of the truth."""
        power = self._square + self.count * self._mean[0] ** 2
        # What rounding leaves of a constant is no variance.
        scale = self._product / self._square if self._square > 1e-12 * power else 0.0
        return float(scale), float(self._mean[1] - scale * self._mean[0])

    def scale(self) -> float:
        """Least squares through the origin; 1 if all predictions are 0."""
        power = self._square + self.count * self._mean[0] ** 2
        product = self._product + self.count * self._mean[0] * self._mean[1]
        return float(product / power) if power > 0 else 1.0


def _median_ratio(
    pairs: Callable[[], Iterable[tuple[NDArray[np.float64], NDArray[np.float64]]]],
) -> float:
    """Median of target / prediction where the prediction is positive, exact in float32.

    Two passes over the bits of the ratios (positive floats sort like their bit patterns): the
    first counts by the upper half, the second by the lower half within the two middle bins.
    """

    def patterns() -> Iterable[NDArray[np.uint32]]:
        for prediction, target in pairs():
            positive = prediction > 0
            ratio = target[positive] / prediction[positive]
            yield ratio.astype(np.float32).view(np.uint32)

    upper = np.zeros(1 << 16, dtype=np.int64)
    for bits in patterns():
        upper += np.bincount(bits >> 16, minlength=1 << 16)
    total = int(upper.sum())
    if total == 0:
        raise KinedepthError(
            "No valid pixel has a positive prediction: a median scale cannot be found."
        )
    ranks = ((total - 1) // 2, total // 2)
    bins = [int(np.searchsorted(np.cumsum(upper), rank, side="right")) for rank in ranks]
    lower = np.zeros((2, 1 << 16), dtype=np.int64)
    for bits in patterns():
        for row, chosen in enumerate(bins):
            inside = bits[bits >> 16 == chosen] & 0xFFFF
            lower[row] += np.bincount(inside, minlength=1 << 16)
    middle = []
    for row, (rank, chosen) in enumerate(zip(ranks, bins, strict=True)):
        rest = rank - int(upper[:chosen].sum())
        low = int(np.searchsorted(np.cumsum(lower[row]), rest, side="right"))
        middle.append(np.array(chosen << 16 | low, dtype=np.uint32).view(np.float32))
    return float((np.float64(middle[0]) + np.float64(middle[1])) / 2)
