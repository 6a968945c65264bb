"""NYU Depth v2 (Silberman et al., ECCV 2012): raw sequences, depth projected onto the colour image.

``SCENE/depth/*.png``, 16 bit, metres times 6000, 0 where unknown, extracted from the raw data with
the data set's toolbox; ``SCENE/rgb`` beside it is not read.
"""

from __future__ import annotations

from pathlib import Path

from kinedepth.evaluation.depth_datasets._files import clip_folders, files_in, need_clips
from kinedepth.evaluation.depth_datasets._png_clip import png_clip
from kinedepth.evaluation.depth_datasets._selection import FrameSelection
from kinedepth.evaluation.depth_truth import Crop, DepthTruth

LAYOUT = "SCENE/depth/*.png"
_CROP = Crop(45, 471, 41, 601)  # What lies outside holds no depth after the projection.


def recognises(root: Path) -> bool:
    """Never: other data sets look the same, and a wrong divisor would go unnoticed."""
    return False


def load(root: Path, selection: FrameSelection) -> list[DepthTruth]:
    """One clip for each scene; no poses."""
    clips = [
        png_clip(folder.name, files_in(folder / "depth", ".png"), selection, 6000.0, 10.0, _CROP)
        for folder in clip_folders(root, "depth")
    ]
    need_clips(clips, root, LAYOUT)
    return clips
