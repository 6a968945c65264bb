"""Clips rendered by ``kinedepth synth``: ``NAME_depth.npz``, with cameras in ``NAME.npz``.

Depth is exact, in scene units that serve as metres. Bodies move of themselves, which TAE takes
for error: compare it with that of the truth.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from kinedepth.evaluation.depth_datasets._files import natural_key, need_clips
from kinedepth.evaluation.depth_datasets._npz_frames import npz_frames
from kinedepth.evaluation.depth_datasets._selection import ALL_FRAMES, FrameSelection
from kinedepth.evaluation.depth_truth import CameraPath, DepthTruth
from kinedepth.synthesis.clip_files import read_clip_truth

LAYOUT = "NAME_depth.npz and NAME.npz, as kinedepth synth writes them"
_SUFFIX = "_depth.npz"

FARTHEST = 80.0
"""Farther than anything in a rendered clip; predictions are clipped here."""


def recognises(root: Path) -> bool:
    """Whether ``root`` looks like this layout."""
    return any(root.glob(f"*{_SUFFIX}"))


def load(root: Path, selection: FrameSelection = ALL_FRAMES) -> list[DepthTruth]:
    """One clip for each ``NAME_depth.npz``, whole; with poses where ``NAME.npz`` has them."""
    clips = []
    for path in sorted(root.glob(f"*{_SUFFIX}"), key=lambda path: natural_key(path.name)):
        name = path.name.removesuffix(_SUFFIX)
        (frames, height, width), read = npz_frames(path, "depth")
        clips.append(
            DepthTruth(
                name,
                frames,
                height,
                width,
                read,
                farthest=FARTHEST,
                cameras=_cameras(root / f"{name}.npz"),
            )
        )
    need_clips(clips, root, LAYOUT)
    return clips


def _cameras(path: Path) -> CameraPath | None:
    if not path.is_file():
        return None
    truth = read_clip_truth(path)
    if truth.extrinsics_w2c is None:
        return None
    count = len(truth.extrinsics_w2c)
    return CameraPath(
        [truth.intrinsics] * count, np.linalg.inv(truth.extrinsics_w2c.astype(np.float64))
    )
