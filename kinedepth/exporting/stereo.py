"""Stereo pairs from frames and their depth."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

StereoLayout = Literal["side-by-side", "half-side-by-side", "anaglyph"]
"""Both views in full width; both squeezed to half width; both in one, for red-cyan glasses."""


@dataclass(frozen=True)
class StereoSettings:
    """How a stereo film is made.

    Attributes:
        layout: how the two views share a frame.
        strength: distance between the views of the nearest and of the farthest point, as a
            share of the frame's width.
        convergence: what lies in the plane of the screen: 0 the farthest, 1 the nearest point.
            What is nearer stands out of the screen.
        edge_margin: pixels by which near surfaces are grown before they are moved, so that the
            blurred rim of an object moves with it and is not left behind on the background.
    """

    layout: StereoLayout = "side-by-side"
    strength: float = 0.04
    convergence: float = 0.5
    edge_margin: int = 2
