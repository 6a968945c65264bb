"""What a colour means: the scales shared by the overlay and the 3D page.

Warm is always near and cool always far. Change of depth is shown on a diverging scale that is
light and colourless where nothing changed; metric depth is shown on a sequential one.

Both tables are laid out in OKLCh (lightness, chroma, hue of the OKLab space, which was made so
that equal steps look equal), so that a change of depth twice as large looks twice as strong,
and the warm and the cool side of the diverging scale are equally light and equally vivid.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from kinedepth.errors import KinedepthError
from kinedepth.tracks import LiftedTracks, Tracks3D
from kinedepth.viewing.sampling import sample

ColourBy = Literal["ratio", "depth"]
"""Colour by the change of depth since the query frame, or by depth itself."""

TABLE_LENGTH = 257
"""Odd, so that the middle entry is exactly "no change"."""

SMALLEST_LIMIT = 0.05
"""Log ratio at the ends of the scale when next to nothing moves in depth: about 5 %. Without
it, a static scene would show the noise of the model in full colour."""


def _srgb_from_oklch(lightness: NDArray, chroma: NDArray, hue: NDArray) -> NDArray[np.uint8]:
    """8-bit sRGB ``(K, 3)`` of OKLCh colours (hue in degrees); out-of-gamut values are clipped."""
    a, b = chroma * np.cos(np.radians(hue)), chroma * np.sin(np.radians(hue))
    # The two matrices that define OKLab: to cone responses (cube roots), then to linear sRGB.
    to_cones = np.array(
        [
            [1.0, 0.3963377774, 0.2158037573],
            [1.0, -0.1055613458, -0.0638541728],
            [1.0, -0.0894841775, -1.2914855480],
        ]
    )
    to_linear = np.array(
        [
            [4.0767416621, -3.3077115913, 0.2309699292],
            [-1.2684380046, 2.6097574011, -0.3413193965],
            [-0.0041960863, -0.7034186147, 1.7076147010],
        ]
    )
    cones = (np.stack([lightness, a, b], axis=-1) @ to_cones.T) ** 3
    linear = np.clip(cones @ to_linear.T, 0, 1)
    encoded = np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)
    return np.round(255 * encoded).astype(np.uint8)


def _diverging_table() -> NDArray[np.uint8]:
    """Vivid orange (nearest) over near-white (unchanged) to vivid blue (farthest)."""
    signed = np.linspace(-1, 1, TABLE_LENGTH)
    strength = np.abs(signed)
    # Chroma rises fast near the middle so that small changes already show on a busy video.
    chroma = 0.185 * strength**0.65
    lightness = 0.97 - 0.32 * strength
    hue = np.where(signed < 0, 85 - 45 * strength, 215 + 43 * strength)
    return _srgb_from_oklch(lightness, chroma, hue)


def _sequential_table() -> NDArray[np.uint8]:
    """Light yellow (near) over coral and purple to deep blue (far)."""
    stops = np.array([0, 0.25, 0.5, 0.75, 1])
    position = np.linspace(0, 1, TABLE_LENGTH)
    lightness = np.interp(position, stops, [0.94, 0.82, 0.70, 0.60, 0.52])
    chroma = np.interp(position, stops, [0.12, 0.15, 0.18, 0.19, 0.17])
    hue = np.interp(position, stops, [102, 60, 10, -40, -88])
    return _srgb_from_oklch(lightness, chroma, hue)


RATIO_TABLE = _diverging_table()
"""``(257, 3)`` uint8 RGB; first entry nearest, middle unchanged, last farthest."""

DEPTH_TABLE = _sequential_table()
"""``(257, 3)`` uint8 RGB; first entry nearest, last farthest."""


@dataclass(frozen=True)
class ColourScale:
    """Maps the log of a depth ratio, or the log of a depth, to a colour.

    Attributes:
        by: what the values are.
        low, high: values shown in the first and the last colour; beyond them colours saturate.
        table: ``(257, 3)`` uint8 RGB from low to high.
        unit: of a depth, as it is written after a figure; empty where it is not known.
    """

    by: ColourBy
    low: float
    high: float
    table: NDArray[np.uint8]
    unit: str = " m"

    def index(self, values: NDArray[np.floating]) -> NDArray[np.intp]:
        """Row of the table for each value; values that are not finite get the middle row."""
        position = (np.asarray(values, np.float64) - self.low) / (self.high - self.low)
        position = np.clip(np.nan_to_num(position, nan=0.5, posinf=1, neginf=0), 0, 1)
        return np.rint(position * (len(self.table) - 1)).astype(np.intp)

    def colours(self, values: NDArray[np.floating]) -> NDArray[np.uint8]:
        """RGB ``(..., 3)`` of ``values (...)``."""
        return self.table[self.index(values)]

    def ticks(self) -> list[tuple[float, str, str]]:
        """``(position in 0..1, word, figure)`` of the legend's two ends and its middle."""
        values = [self.low, (self.low + self.high) / 2, self.high]
        if self.by == "ratio":
            words = ["nearer", "same", "farther"]
            figures = [f"×{_figure(np.exp(value))}" for value in values]
        else:
            words = ["near", "", "far"]
            figures = [f"{_figure(np.exp(value))}{self.unit}" for value in values]
        return list(zip([0.0, 0.5, 1.0], words, figures, strict=True))


def _figure(value: float) -> str:
    """``value`` to three digits at most, without trailing zeros: 0.52, 1, 1.93, 12.5, 140."""
    decimals = 2 if value < 10 else 1 if value < 100 else 0
    text = f"{value:.{decimals}f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def has_common_scale(tracks3d: Tracks3D) -> bool:
    """Whether depths of different tracks can be compared: they were anchored, in metres or not."""
    return tracks3d.metric or tracks3d.log_scale_std is not None


def colour_values(tracks3d: Tracks3D, by: ColourBy) -> NDArray[np.float32]:
    """``(T, N)`` log depth ratio or log depth, NaN where the depth is unusable.

    Raises:
        KinedepthError: for an unknown ``by``, or for depth where tracks have no common scale.
    """
    if by == "ratio":
        return tracks3d.log_ratio
    if by != "depth":
        raise KinedepthError(f'Tracks are coloured by "ratio" or by "depth", not by "{by}".')
    if not has_common_scale(tracks3d):
        raise KinedepthError(
            "Colouring by depth needs metric tracks or tracks of one scale: without an anchor "
            "every track has its own unit, and depths of different tracks cannot be compared. "
            "Colour by ratio instead."
        )
    depth = tracks3d.depth
    usable = np.isfinite(depth) & (depth > 0)
    return np.log(np.where(usable, depth, np.nan)).astype(np.float32)


def colour_scale(tracks: LiftedTracks, by: ColourBy = "ratio") -> ColourScale:
    """The scale for a whole clip, from its visible points, robust to outliers.

    The ratio scale is symmetric around no change and reaches the 95th percentile of
    ``abs(log_ratio)``, or 0.05 if that is larger. The depth scale runs from the 2nd to the
    98th percentile of log depth. Of long clips some frames stand for all
    (:mod:`kinedepth.viewing.sampling`).

    Raises:
        KinedepthError: for an unknown ``by``, or for depth where tracks have no common scale.
    """
    tracks3d = sample(tracks)
    values = colour_values(tracks3d, by)
    shown = values[tracks3d.tracks.visible & np.isfinite(values)]
    if by == "ratio":
        limit = float(np.percentile(np.abs(shown), 95)) if shown.size else 0.0
        limit = max(limit, SMALLEST_LIMIT)
        return ColourScale("ratio", -limit, limit, RATIO_TABLE)
    low, high = np.percentile(shown, [2, 98]) if shown.size else (0.0, 0.0)
    if high - low < SMALLEST_LIMIT:
        middle = (low + high) / 2
        low, high = middle - SMALLEST_LIMIT / 2, middle + SMALLEST_LIMIT / 2
    unit = " m" if tracks3d.metric else ""
    return ColourScale("depth", float(low), float(high), DEPTH_TABLE, unit)
