"""Depth as colours: one scale for a whole film, near always at the bright or warm end."""

from __future__ import annotations

import warnings
from collections.abc import Iterable
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from kinedepth.depth import DepthKind
from kinedepth.errors import KinedepthError

COLORMAPS: dict[str, int | None] = {
    "inferno": cv2.COLORMAP_INFERNO,
    "magma": cv2.COLORMAP_MAGMA,
    "plasma": cv2.COLORMAP_PLASMA,
    "viridis": cv2.COLORMAP_VIRIDIS,
    "cividis": cv2.COLORMAP_CIVIDIS,
    "turbo": cv2.COLORMAP_TURBO,
    "grey": None,
}
"""Colour maps by name. All but turbo grow evenly lighter, which the eye reads as nearer; turbo
tells small steps apart best."""

NO_VALUE = (64, 64, 72)
"""RGB of pixels without a usable value: a grey that no colour map but ``grey`` holds."""

_SHOWN_SHARE = (1.0, 99.0)
"""Percentiles of all values that the colours span; what lies beyond saturates."""

_SAMPLES_A_FRAME = 4096
_MOST_SAMPLES = 2**21


@dataclass(frozen=True)
class DepthRanges:
    """Of all usable values of a video.

    Attributes:
        value: the smallest and the largest.
        shown: where the colours begin and end, little moved by outliers.
    """

    value: tuple[float, float]
    shown: tuple[float, float]


def usable(depth: NDArray[np.float32], kind: DepthKind) -> NDArray[np.bool_]:
    """Which values mean something: finite, and where they are depths up to scale, positive."""
    finite = np.isfinite(depth)
    return finite & (depth > 0) if kind in ("metric", "scale_invariant") else finite


class DepthRangeMeter:
    """Measures the ranges of a video frame by frame, in memory that does not grow with it.

    ::

        meter = DepthRangeMeter(kind)
        for depth in frames:
            meter.add(depth)
        ranges = meter.ranges()
    """

    def __init__(self, kind: DepthKind) -> None:
        self.kind: DepthKind = kind
        self._low = np.inf
        self._high = -np.inf
        self._samples: list[NDArray[np.float32]] = []
        self._frames = 0
        self._every = 1

    def add(self, depth: NDArray[np.float32]) -> None:
        """Take note of the depth ``(H, W)`` of one frame."""
        values = np.asarray(depth)[usable(depth, self.kind)]
        if values.size:
            self._low = min(self._low, float(values.min()))
            self._high = max(self._high, float(values.max()))
        if self._frames % self._every == 0:
            self._samples.append(values[:: max(1, values.size // _SAMPLES_A_FRAME)].copy())
        self._frames += 1
        if len(self._samples) * _SAMPLES_A_FRAME > _MOST_SAMPLES:
            self._samples = self._samples[::2]
            self._every *= 2

    def ranges(self) -> DepthRanges:
        """The ranges so far; 0 to 1, with a warning, where not one value was usable."""
        if self._low > self._high:
            warnings.warn("Not one depth value is usable; the outputs will be empty.", stacklevel=2)
            return DepthRanges((0.0, 1.0), (0.0, 1.0))
        low, high = np.percentile(np.concatenate(self._samples), _SHOWN_SHARE)
        return DepthRanges((self._low, self._high), (float(low), float(high)))


def measure_ranges(frames: Iterable[NDArray[np.float32]], kind: DepthKind) -> DepthRanges:
    """Ranges of all ``frames (H, W)`` of a video, e.g. of ``DepthVideo.depth``."""
    meter = DepthRangeMeter(kind)
    for depth in frames:
        meter.add(depth)
    return meter.ranges()


class DepthPainter:
    """Turns depth to colours on one fixed scale.

    Depth known up to scale is shown by its logarithm, so that equal colour steps are equal
    ratios of depth; the other kinds by their value.

    Args:
        kind: what the values mean.
        shown_range: the values at the two ends of the colours.
        colormap: one of :data:`COLORMAPS`.

    Raises:
        KinedepthError: for an unknown colour map or a range that is none.
    """

    def __init__(self, kind: DepthKind, shown_range: tuple[float, float], colormap: str) -> None:
        check_colormap(colormap)
        low, high = (float(value) for value in shown_range)
        if not (np.isfinite(low) and np.isfinite(high) and low <= high):
            raise KinedepthError(
                f"Colours need a range from a smaller to a larger value; got {low} to {high}."
            )
        self.kind: DepthKind = kind
        self._logarithmic = kind in ("metric", "scale_invariant")
        if self._logarithmic:
            high = max(high, 1e-6)
            low = max(low, 1e-4 * high)
            low, high = float(np.log(low)), float(np.log(high))
        self._low, self._high = low, high
        code = COLORMAPS[colormap]
        ramp = np.arange(256, dtype=np.uint8)[:, None]
        table = cv2.merge([ramp] * 3) if code is None else cv2.applyColorMap(ramp, code)
        self._table = np.ascontiguousarray(table[:, 0, ::-1])  # OpenCV's are BGR.

    def nearness(self, depth: NDArray[np.float32]) -> NDArray[np.float32]:
        """Position ``(H, W)`` on the scale, 0 farthest to 1 nearest; NaN without a value."""
        known = usable(depth, self.kind)
        values = np.where(known, depth, np.float32(1))
        if self._logarithmic:
            values = np.log(values)
        span = self._high - self._low
        # A flat scene is half way: neither end says anything about it.
        share = (values - self._low) / span if span > 0 else np.full_like(values, 0.5)
        share = np.clip(share, 0, 1)
        if self.kind != "affine_invariant_disparity":
            share = 1 - share
        return np.where(known, share, np.nan).astype(np.float32)

    def paint(self, depth: NDArray[np.float32]) -> NDArray[np.uint8]:
        """Picture ``(H, W, 3)`` uint8 RGB of ``depth (H, W)``."""
        nearness = self.nearness(depth)
        known = np.isfinite(nearness)
        index = np.rint(255 * np.where(known, nearness, 0)).astype(np.uint8)
        picture = self._table[index]
        picture[~known] = NO_VALUE
        return picture


def check_colormap(name: str) -> None:
    """Raise KinedepthError unless ``name`` is a colour map."""
    if name not in COLORMAPS:
        raise KinedepthError(
            f"There is no colour map '{name}'; choose one of {', '.join(COLORMAPS)}."
        )
