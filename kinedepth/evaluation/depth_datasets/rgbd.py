"""RGB-D sequences: ``NAME/depth/*.png`` and ``NAME/meta.json``.

Depth is 16 bit, metres = value / ``depth_scale``, 0 where there is no reading. ``meta.json`` holds
``depth_scale`` and, where they are known, ``intrinsics`` (``fx, fy, cx, cy``; the middle of a frame
is (W / 2, H / 2), as everywhere in this package) and ``poses`` (one 4x4 for each frame, camera to
world).
"""

from __future__ import annotations

import functools
import json
from pathlib import Path
from typing import Any

import numpy as np

from kinedepth.camera import Intrinsics
from kinedepth.errors import KinedepthError
from kinedepth.evaluation.depth_datasets._files import clip_folders, files_in, need_clips
from kinedepth.evaluation.depth_datasets._png_clip import png_clip
from kinedepth.evaluation.depth_datasets._selection import ALL_FRAMES, FrameSelection
from kinedepth.evaluation.depth_truth import CameraPath, DepthTruth

LAYOUT = "NAME/depth/*.png and NAME/meta.json with a depth_scale"

FARTHEST = 80.0
"""What KITTI's benchmark takes for the reach of its lidar; predictions are clipped here."""


def recognises(root: Path) -> bool:
    """Whether ``root`` looks like this layout."""
    return any((path.parent / "depth").is_dir() for path in root.glob("*/meta.json"))


def load(root: Path, selection: FrameSelection = ALL_FRAMES) -> list[DepthTruth]:
    """One clip for each sequence; with poses where ``meta.json`` has them."""
    clips = []
    for folder in clip_folders(root, "depth"):
        if not (folder / "meta.json").is_file():
            continue
        files = files_in(folder / "depth", ".png")
        facts, scale = _facts(folder / "meta.json")
        cameras = functools.partial(_cameras, folder / "meta.json", facts, len(files))
        clips.append(png_clip(folder.name, files, selection, scale, FARTHEST, cameras=cameras))
    need_clips(clips, root, LAYOUT)
    return clips


def _facts(path: Path) -> tuple[dict[str, Any], float]:
    """All of ``meta.json``, and its depth scale."""
    try:
        facts = json.loads(path.read_text())
        scale = float(facts["depth_scale"])
    except (OSError, KeyError, ValueError, TypeError) as error:
        raise KinedepthError(
            f"{path} does not describe an RGB-D sequence: a depth_scale is needed ({error!r})."
        ) from None
    if not (np.isfinite(scale) and scale > 0):
        raise KinedepthError(f"{path}: depth_scale has to be positive; got {scale}.")
    return facts, scale


def _cameras(
    path: Path, facts: dict[str, Any], footage: int, selected: range, width: int, height: int
) -> CameraPath | None:
    given, poses = facts.get("intrinsics"), facts.get("poses")
    if given is None or poses is None:
        return None
    try:
        fx, fy, cx, cy = (float(given[key]) for key in ("fx", "fy", "cx", "cy"))
        matrices = np.array(poses, dtype=np.float64).reshape(footage, 4, 4)
    except (KeyError, ValueError, TypeError) as error:
        raise KinedepthError(
            f"{path}: intrinsics need fx, fy, cx and cy, and poses {footage} matrices of 4x4 "
            f"({error!r})."
        ) from None
    camera = Intrinsics(fx, fy, cx, cy, width, height)
    return CameraPath([camera] * len(selected), matrices[selected])
