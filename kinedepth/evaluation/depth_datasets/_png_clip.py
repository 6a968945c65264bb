"""A clip whose true depth lies in 16-bit PNG files, as in most data sets."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from kinedepth.evaluation.depth_datasets._files import png_frames
from kinedepth.evaluation.depth_datasets._selection import FrameSelection
from kinedepth.evaluation.depth_truth import WHOLE_FRAME, CameraPath, Crop, DepthTruth

ReadCameras = Callable[[range, int, int], CameraPath | None]
"""Gives the cameras of the selected frames, for frames of a width and a height."""


def png_clip(
    name: str,
    files: Sequence[Path | None],
    selection: FrameSelection,
    divisor: float,
    farthest: float = np.inf,
    crop: Crop = WHOLE_FRAME,
    cameras: ReadCameras | None = None,
) -> DepthTruth:
    """The selected frames of ``files``, all the footage there is.

    Args:
        name: of the clip.
        files: depth maps in order, one for each frame; None where a frame has no truth.
        selection: which of them are scored.
        divisor: turns the file's values into metres.
        farthest, crop: see :class:`DepthTruth`.
        cameras: where poses may be known.

    Raises:
        KinedepthError: if nothing is selected, or a file that has to be opened now cannot be.
    """
    selected = selection.of(len(files), name)
    height, width, read = png_frames([files[i] for i in selected], divisor)
    return DepthTruth(
        name,
        len(selected),
        height,
        width,
        read,
        farthest=farthest,
        crop=crop,
        cameras=cameras(selected, width, height) if cameras else None,
        selected=selected,
        footage=len(files),
    )
