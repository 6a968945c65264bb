"""A scale for tracks whose depth is known up to a factor: from depth of any source.

Tracks say by what factor depth changes along each of them; a depth source (a model, a sensor, a
file, parallax) says how deep things are, but flickers. Both together give depth in one scale that
moves as the ratios do.
"""

from kinedepth.anchoring.anchor import Anchored, anchor_tracks
from kinedepth.anchoring.readings import DepthReadings, read_depth
from kinedepth.anchoring.sources import AnchorSource, open_anchor

__all__ = [
    "AnchorSource",
    "Anchored",
    "DepthReadings",
    "anchor_tracks",
    "open_anchor",
    "read_depth",
]
