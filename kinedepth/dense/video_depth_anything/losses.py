"""The training losses of Section 3.2: depth right in each frame, and its change over time.

Truth and prediction are disparity (or any quantity that the network is to give), ``(B, T, H, W)``
with a mask of valid pixels. All sums are in the type of the prediction: give float32.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

SPATIAL_GRADIENT_WEIGHT = 0.5
SPATIAL_STRIDES = (1, 2, 4, 8)
TEMPORAL_WEIGHT = 10.0
TEMPORAL_THRESHOLD = 0.05
"""Changes of the truth larger than this share of its range are edges passing by, not motion."""

_LEAST_SCALE = 1e-6


@dataclass(frozen=True)
class VideoDepthLoss:
    """Both losses of a batch, weighted as in training; each a scalar.

    Attributes:
        spatial: see :func:`spatial_loss`.
        temporal: :data:`TEMPORAL_WEIGHT` times :func:`temporal_gradient_loss`.
    """

    spatial: Tensor
    temporal: Tensor

    @property
    def total(self) -> Tensor:
        """What is minimised (Eq. 6)."""
        return self.spatial + self.temporal


def video_depth_loss(prediction: Tensor, truth: Tensor, mask: Tensor) -> VideoDepthLoss:
    """The losses of ``prediction`` against ``truth``, both ``(B, T, H, W)``.

    Args:
        prediction, truth: of clips; compared up to a scale and a shift, in the spatial loss for
            each frame, in the temporal one for each clip.
        mask: bool of the same shape, the pixels where the truth is known.
    """
    spatial = spatial_loss(prediction.flatten(0, 1), truth.flatten(0, 1), mask.flatten(0, 1))
    temporal = TEMPORAL_WEIGHT * temporal_gradient_loss(prediction, truth, mask)
    return VideoDepthLoss(spatial, temporal)


def spatial_loss(prediction: Tensor, truth: Tensor, mask: Tensor) -> Tensor:
    """Difference of single frames, each free of its scale and shift, and of their gradients.

    Args:
        prediction, truth: ``(N, H, W)``, N frames.
        mask: bool of the same shape.

    Returns:
        The mean absolute difference over the valid pixels of all frames, plus
        :data:`SPATIAL_GRADIENT_WEIGHT` times the gradient loss summed over
        :data:`SPATIAL_STRIDES`.
    """
    difference = _free_of_scale_and_shift(prediction, mask) - _free_of_scale_and_shift(truth, mask)
    # Where the truth is unknown it may be anything, NaN included.
    difference = difference.masked_fill(~mask, 0)
    gradients = sum(
        _gradient_loss(difference[:, ::stride, ::stride], mask[:, ::stride, ::stride])
        for stride in SPATIAL_STRIDES
    )
    return _mean(difference.abs().sum(), mask) + SPATIAL_GRADIENT_WEIGHT * gradients


def temporal_gradient_loss(prediction: Tensor, truth: Tensor, mask: Tensor) -> Tensor:
    """Temporal gradient matching (Eq. 5): depth should change over time as the truth does.

    Each clip's prediction is first brought to the truth by one least-squares scale and shift,
    through which gradients flow. Pixels count that are valid in both of two adjacent frames and
    where the truth changes by less than :data:`TEMPORAL_THRESHOLD` of the range that the later
    frame's valid truth has: it needs neither optical flow nor correspondences.

    Args:
        prediction, truth: ``(B, T, H, W)``, T >= 2.
        mask: bool of the same shape.
    """
    truth = truth.masked_fill(~mask, 0)
    change = aligned(prediction, truth, mask).diff(dim=1)
    true_change = truth.diff(dim=1)
    highest = truth.masked_fill(~mask, -torch.inf).amax(dim=(2, 3), keepdim=True)
    lowest = truth.masked_fill(~mask, torch.inf).amin(dim=(2, 3), keepdim=True)
    steady = true_change.abs() < TEMPORAL_THRESHOLD * (highest - lowest)[:, 1:]
    counted = mask[:, 1:] & mask[:, :-1] & steady
    return _mean(((change - true_change).abs() * counted).sum(), counted)


def _free_of_scale_and_shift(frames: Tensor, mask: Tensor) -> Tensor:
    """``(N, H, W)`` minus their median, over their mean absolute value.

    As in the published training, invalid pixels are taken for zeros by the median (not by the
    mean), and of an even number of values the lower of the middle two is the median.
    """
    frames = frames.masked_fill(~mask, 0)
    centred = frames - frames.flatten(1).median(dim=1).values[:, None, None]
    centred = centred * mask
    valid = mask.sum(dim=(1, 2))
    scale = centred.abs().sum(dim=(1, 2)) / valid.clamp(min=1)
    return centred / scale.clamp(min=_LEAST_SCALE)[:, None, None]


def _gradient_loss(difference: Tensor, mask: Tensor) -> Tensor:
    """Absolute steps between neighbours, both valid, summed; over the number of valid pixels."""
    across = difference.diff(dim=2).abs() * (mask[:, :, 1:] & mask[:, :, :-1])
    down = difference.diff(dim=1).abs() * (mask[:, 1:] & mask[:, :-1])
    return _mean(across.sum() + down.sum(), mask)


def aligned(prediction: Tensor, truth: Tensor, mask: Tensor) -> Tensor:
    """``prediction`` with the least-squares scale and shift of each clip; differentiable."""
    flat, true = prediction.flatten(1), truth.flatten(1)
    valid = mask.flatten(1).to(flat.dtype)
    count = valid.sum(dim=1, keepdim=True).clamp(min=1)
    mean = (valid * flat).sum(dim=1, keepdim=True) / count
    true_mean = (valid * true).sum(dim=1, keepdim=True) / count
    centred = (flat - mean) * valid
    variance = (centred * centred).sum(dim=1, keepdim=True)
    covariance = (centred * true).sum(dim=1, keepdim=True)
    # A constant prediction has no scale: its loss is that of a truth that does not move.
    scale = torch.where(variance > 0, covariance / variance.clamp(min=_LEAST_SCALE**2), 0.0)
    return (scale * (flat - mean) + true_mean).view_as(prediction)


def _mean(total: Tensor, counted: Tensor) -> Tensor:
    """``total`` over the number of counted values; 0 if there is none."""
    return total / counted.sum().clamp(min=1)
