"""Frames of a video to what the network takes."""

from __future__ import annotations

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from kinedepth.dense.video_depth_anything.config import PATCH
from kinedepth.errors import KinedepthError

DEFAULT_INPUT_SIZE = 518
"""Pixels of the short side in the network, as in training."""

# Wider images than this get a shorter short side: about the arithmetic of a 16:9 one.
_WIDEST_RATIO = 1.78
_WIDEST_RATIO_KEPT = 1.777

_MEAN = np.array([0.485, 0.456, 0.406], dtype=np.float32)  # of ImageNet's RGB in 0..1
_DEVIATION = np.array([0.229, 0.224, 0.225], dtype=np.float32)


def network_size(height: int, width: int, input_size: int = DEFAULT_INPUT_SIZE) -> tuple[int, int]:
    """Rows and columns, multiples of 14, to which frames are resized for the network.

    The short side reaches at least ``input_size``, or less for images wider than 16:9; the
    aspect is kept up to rounding.

    Raises:
        KinedepthError: if a size is not positive.
    """
    if min(height, width, input_size) < 1:
        raise KinedepthError(
            f"Sizes have to be positive; got {width}x{height} at an input size of {input_size}."
        )
    ratio = max(height, width) / min(height, width)
    if ratio > _WIDEST_RATIO:
        shorter = int(input_size * _WIDEST_RATIO_KEPT / ratio)
        input_size = max(PATCH, round(shorter / PATCH) * PATCH)
    scale = max(input_size / height, input_size / width)
    return _to_multiple(scale * height, input_size), _to_multiple(scale * width, input_size)


def _to_multiple(size: float, least: int) -> int:
    """The nearest multiple of the patch, half to even, or the next one if below ``least``."""
    nearest = round(size / PATCH) * PATCH
    return nearest if nearest >= least else -int(-size // PATCH) * PATCH


def prepare_frames(frames: NDArray[np.uint8], size: tuple[int, int]) -> Tensor:
    """Resize and normalise.

    Args:
        frames: ``(B, H, W, 3)`` uint8 RGB.
        size: rows and columns from :func:`network_size`.

    Returns:
        ``(B, 3, rows, columns)`` float32 on the CPU.
    """
    rows, columns = size
    prepared = np.empty((len(frames), 3, rows, columns), dtype=np.float32)
    for frame, target in zip(frames, prepared, strict=True):
        # The cubic kernel overshoots at edges; in training nothing was clipped, nor is it here.
        resized = cv2.resize(
            frame.astype(np.float32) / 255, (columns, rows), interpolation=cv2.INTER_CUBIC
        )
        target[:] = _standardised(resized).transpose(2, 0, 1)
    return torch.from_numpy(prepared)


def normalise(frames: NDArray[np.uint8]) -> NDArray[np.float32]:
    """``frames (..., 3)`` uint8 RGB as the network takes them, where no resizing is needed."""
    return _standardised(frames.astype(np.float32) / np.float32(255))


def _standardised(rgb: NDArray[np.float32]) -> NDArray[np.float32]:
    """RGB in 0..1 to about zero mean and unit deviation, as the encoder was trained with."""
    return (rgb - _MEAN) / _DEVIATION
