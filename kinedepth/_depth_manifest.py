"""``depth.json``: what the values of a folder of depth images mean."""

from __future__ import annotations

import json
import math
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import get_args

from kinedepth.depth import DepthKind
from kinedepth.errors import KinedepthError

MANIFEST = "depth.json"
"""Name of the file beside the images; written last, so it says that the folder is complete."""


@dataclass(frozen=True)
class DepthManifest:
    """What the values of numbered images mean.

    Attributes:
        format: ``png16``, ``exr`` or ``ply``.
        kind: what the numbers mean.
        fps: frames a second.
        frames: how many images there are.
        width, height: of each, in pixels.
        per_frame: each frame was predicted on its own, with unknowns of its own.
        scale, offset: depth is ``offset + scale * value`` (16-bit PNG, where value 0 says
            that there is no depth).
    """

    format: str
    kind: DepthKind
    fps: float
    frames: int
    width: int
    height: int
    per_frame: bool = False
    scale: float = 1.0
    offset: float = 0.0

    def save(self, folder: Path) -> None:
        """Write the manifest into ``folder``."""
        (folder / MANIFEST).write_text(json.dumps(asdict(self), indent=2) + "\n", encoding="utf-8")


def read_manifest(folder: Path) -> DepthManifest | None:
    """The manifest in ``folder``; None where there is none.

    Raises:
        KinedepthError: if it is damaged or does not say what it has to.
    """
    path = folder / MANIFEST
    if not path.is_file():
        return None
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        manifest = DepthManifest(
            format=str(found["format"]),
            kind=found["kind"],
            fps=float(found["fps"]),
            frames=int(found["frames"]),
            width=int(found["width"]),
            height=int(found["height"]),
            per_frame=bool(found.get("per_frame", False)),
            scale=float(found.get("scale", 1.0)),
            offset=float(found.get("offset", 0.0)),
        )
    # OverflowError: a whole number that is infinite. RecursionError: JSON of many brackets.
    except (
        *(OSError, ValueError, KeyError, TypeError, AttributeError),
        *(OverflowError, RecursionError),
    ) as error:
        raise KinedepthError(
            f"{path} does not say what the images mean ({type(error).__name__}: {error}); "
            f"write the folder again."
        ) from error
    if manifest.kind not in get_args(DepthKind):
        raise KinedepthError(f"{path} names an unknown kind of depth, '{manifest.kind}'.")
    if not (0 < manifest.scale < math.inf and math.isfinite(manifest.offset)):
        raise KinedepthError(
            f"{path} has a scale of {manifest.scale} and an offset of {manifest.offset}, but both "
            f"have to be finite and the scale positive; write the folder again."
        )
    return manifest
