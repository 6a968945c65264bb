"""A video in, 3D tracks out: in memory (:func:`lift`), or of any length (:mod:`.run`)."""

from kinedepth.lifting.pipeline import Lifted, StageProgress, lift
from kinedepth.lifting.setup import WINDOW_STEPS, find_intrinsics, find_queries
from kinedepth.lifting.tracks2d import follow

__all__ = [
    "WINDOW_STEPS",
    "Lifted",
    "StageProgress",
    "find_intrinsics",
    "find_queries",
    "follow",
    "lift",
]
