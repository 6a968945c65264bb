"""How unsure a depth is, shown by hollow points: the fuller a dot, the surer its depth.

Colour and size are taken, by what the depth is and by how near a point is. A hole in the dot is
free, can be seen next to full dots at a glance, and leaves the colour what it was.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from kinedepth.tracks import Tracks3D
from kinedepth.viewing.colour_scale import ColourBy

FULL_STD = math.log(1.05)
"""Standard deviation of the log ratio up to which dots are full: 5 % of the depth."""

HOLLOW_STD = math.log(1.5)
"""From here on dots are thin rings: two in three depths lie within a factor of 1.5 at best."""

LARGEST_STD = 2.0
"""More is not told apart: a factor of seven."""

LEGEND = "hollow: unsure"


def tame_std(std: NDArray[np.floating]) -> NDArray[np.float32]:
    """``std`` within 0 to :data:`LARGEST_STD`; what is not a number is as unsure as can be."""
    known = np.nan_to_num(np.asarray(std, np.float32), nan=LARGEST_STD, posinf=LARGEST_STD)
    return np.clip(known, 0, LARGEST_STD).astype(np.float32)


def hole_share(std: NDArray[np.floating]) -> NDArray[np.float32]:
    """Radius of the hole for a standard deviation of the log ratio, as a share of the largest.

    0 up to :data:`FULL_STD`, 1 from :data:`HOLLOW_STD` on. In between, doubling the standard
    deviation widens the hole by the same amount everywhere, because standard deviations within
    a clip differ by factors.
    """
    at_least = np.maximum(tame_std(std), FULL_STD)
    share = np.log(at_least / FULL_STD) / np.log(HOLLOW_STD / FULL_STD)
    return np.minimum(share, 1).astype(np.float32)


def hole_shares(tracks3d: Tracks3D, by: ColourBy) -> NDArray[np.float32] | None:
    """``(T, N)`` :func:`hole_share` of what the colour shows, the change of depth or depth.

    Depth itself is as unsure as its change and the scale of the track together. None where
    nothing is known, or nothing that is seen is unsure.
    """
    if tracks3d.log_ratio_std is None:
        return None
    std = tame_std(tracks3d.log_ratio_std)
    if by == "depth" and tracks3d.log_scale_std is not None:
        std = np.hypot(std, tame_std(tracks3d.log_scale_std))
    shares = hole_share(std)
    return shares if (shares[tracks3d.tracks.visible] > 0).any() else None


def widest_hole(radius: float) -> float:
    """Radius in pixels of the hole of the least sure dot; its ring keeps room for the colour."""
    return radius - max(0.8, 0.36 * radius)
