"""KITTI: annotated lidar depth of the depth benchmark (Uhrig et al., 3DV 2017).

``DRIVE/proj_depth/groundtruth/image_02/*.png``, 16 bit, metres times 256, 0 where unknown: the
``val`` folder of the annotated depth maps. The footage of a clip is the frames that have truth.
"""

from __future__ import annotations

from pathlib import Path

from kinedepth.evaluation.depth_datasets._files import clip_folders, files_in, need_clips
from kinedepth.evaluation.depth_datasets._png_clip import png_clip
from kinedepth.evaluation.depth_datasets._selection import FrameSelection
from kinedepth.evaluation.depth_truth import Crop, DepthTruth

LAYOUT = "DRIVE/proj_depth/groundtruth/image_02/*.png"
_DEPTH = Path("proj_depth/groundtruth/image_02")
_CROP = Crop(0, 374, 0, 1242)


def recognises(root: Path) -> bool:
    """Whether ``root`` looks like this layout."""
    return any(root.glob("*/proj_depth"))


def load(root: Path, selection: FrameSelection) -> list[DepthTruth]:
    """One clip for each drive; no poses."""
    clips = [
        png_clip(folder.name, files_in(folder / _DEPTH, ".png"), selection, 256.0, 80.0, _CROP)
        for folder in clip_folders(root, str(_DEPTH))
    ]
    need_clips(clips, root, LAYOUT)
    return clips
