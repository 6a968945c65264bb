"""Temporal losses along the optical flow: the alternatives that the paper weighs TGM against.

Both follow each surface point from a frame to the next, which takes a flow; rendered clips have
it exactly. Like TGM, they compare disparity after one least-squares scale and shift for each
clip, so that no loss can be lowered by shrinking the prediction.

Let p and g be aligned prediction and truth, and p' and g' the later frame's values read
(bilinearly) where the flow leads:

- OPW, the flow-warped difference: mean of ``|p' - p|``. It asks that a point's depth stay as it
  is, which is wrong wherever something comes closer.
- SE, the stable error: mean of ``|(p' - p) - (g' - g)|``. It asks that it change as the truth
  does. TGM (``losses.temporal_gradient_loss``) asks the same of each pixel instead of each
  point, and needs no flow.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import grid_sample

from kinedepth.dense.video_depth_anything.losses import aligned

_WHOLE = 0.999
"""A sample counts if all of its (up to four) pixels do; less than 1 for rounding."""


def flow_warped_loss(
    prediction: Tensor, truth: Tensor, mask: Tensor, flow: Tensor, visible: Tensor
) -> Tensor:
    """OPW: a point's predicted disparity should not change from frame to frame.

    Args:
        prediction, truth: ``(B, T, H, W)`` disparity, T >= 2.
        mask: bool of the same shape, the pixels where the truth is known.
        flow: ``(B, T - 1, H, W, 2)`` pixels from each frame to the next; finite.
        visible: ``(B, T - 1, H, W)`` bool, where the point is in view in the next frame.

    Returns:
        A scalar; 0 if no pixel counts.
    """
    truth = truth.masked_fill(~mask, 0)
    change, counted = _change(aligned(prediction, truth, mask), mask, flow, visible)
    return _mean(change.abs(), counted)


def stable_error_loss(
    prediction: Tensor, truth: Tensor, mask: Tensor, flow: Tensor, visible: Tensor
) -> Tensor:
    """SE: a point's disparity should change from frame to frame as the truth does.

    Args and result as of :func:`flow_warped_loss`.
    """
    truth = truth.masked_fill(~mask, 0)
    change, counted = _change(aligned(prediction, truth, mask), mask, flow, visible)
    # Read the same way, so that what interpolation does at edges is the same in both.
    true_change, _ = _change(truth, mask, flow, visible)
    return _mean((change - true_change).abs(), counted)


def _change(values: Tensor, mask: Tensor, flow: Tensor, visible: Tensor) -> tuple[Tensor, Tensor]:
    """Change of ``values`` along the flow, and where both ends of it are known."""
    later = warp(values[:, 1:], flow)
    whole = warp(mask[:, 1:].to(values.dtype), flow) > _WHOLE
    inside = lands_inside(flow)
    return later - values[:, :-1], visible & inside & whole & mask[:, :-1]


def warp(values: Tensor, flow: Tensor) -> Tensor:
    """Read ``values (B, T, H, W)`` bilinearly at each pixel centre moved by its flow.

    Args:
        flow: ``(B, T, H, W, 2)`` pixels; beyond the border, the border's value is read.
    """
    height, width = values.shape[-2:]
    size = torch.tensor([width, height], device=flow.device, dtype=flow.dtype)
    # grid_sample spans the frame, from the outer edges of its pixels, by -1..1.
    grid = (2 * _landing(flow) / size - 1).to(values.dtype)
    read = grid_sample(
        values.flatten(0, 1)[:, None], grid.flatten(0, 1), "bilinear", "border", align_corners=False
    )
    return read.view_as(values)


def lands_inside(flow: Tensor) -> Tensor:
    """``(B, T, H, W)`` bool: where the flow leads to within the outermost pixel centres."""
    height, width = flow.shape[2:4]
    landing = _landing(flow)
    low = torch.full((2,), 0.5, device=flow.device)
    high = torch.tensor([width - 0.5, height - 0.5], device=flow.device)
    return ((landing >= low) & (landing <= high)).all(-1)


def _landing(flow: Tensor) -> Tensor:
    """Pixel positions ``(B, T, H, W, 2)``, centres at +0.5, to which the flow leads."""
    height, width = flow.shape[2:4]
    rows = torch.arange(height, device=flow.device, dtype=flow.dtype) + 0.5
    columns = torch.arange(width, device=flow.device, dtype=flow.dtype) + 0.5
    return flow + torch.stack(torch.meshgrid(columns, rows, indexing="xy"), dim=-1)


def _mean(value: Tensor, counted: Tensor) -> Tensor:
    """Mean of the counted values; 0 if there is none."""
    return (value * counted).sum() / counted.sum().clamp(min=1)
