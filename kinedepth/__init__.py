"""Depth from moving points: lift 2D point tracks of an ordinary video to 3D.

::

    from kinedepth import grid, lift

    lifted = lift("clip.mp4", queries=grid(20))
    lifted.tracks.xyz          # (T, N, 3): x right, y down, z forward
    lifted.save("out")         # tracks, summary, overlay film, 3D page

Importing the package loads none of its heavy dependencies; each name does so on first use.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

__all__ = [
    "DepthVideo",
    "GridQueries",
    "Intrinsics",
    "KinedepthError",
    "Lifted",
    "Queries",
    "Tracks",
    "Tracks3D",
    "Video",
    "__version__",
    "estimate_depth",
    "grid",
    "lift",
    "load_video",
]

_HOME = {
    "DepthVideo": "kinedepth.depth",
    "GridQueries": "kinedepth.tracks",
    "Intrinsics": "kinedepth.camera",
    "KinedepthError": "kinedepth.errors",
    "Lifted": "kinedepth.lifting",
    "Queries": "kinedepth.tracks",
    "Tracks": "kinedepth.tracks",
    "Tracks3D": "kinedepth.tracks",
    "Video": "kinedepth.video",
    "estimate_depth": "kinedepth.depth_estimation",
    "grid": "kinedepth.tracks",
    "lift": "kinedepth.lifting",
    "load_video": "kinedepth.video",
}
"""The module that each public name comes from."""

if TYPE_CHECKING:
    from kinedepth.camera import Intrinsics
    from kinedepth.depth import DepthVideo
    from kinedepth.depth_estimation import estimate_depth
    from kinedepth.errors import KinedepthError
    from kinedepth.lifting import Lifted, lift
    from kinedepth.tracks import GridQueries, Queries, Tracks, Tracks3D, grid
    from kinedepth.video import Video, load_video


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(_HOME[name]), name)
    globals()[name] = value  # Later look-ups no longer come here.
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
