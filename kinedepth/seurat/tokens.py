"""What a token of the network knows about one track in one frame, before any attention."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from kinedepth.seurat import local_motion
from kinedepth.seurat.config import SeuratConfig

FEEDBACK = 4
"""Columns of :func:`feedback`."""


def static_width(config: SeuratConfig) -> int:
    """Columns of :func:`static_features`."""
    width = 2 + 4 * config.fourier_bands + 2
    width += 12 if config.motion_features else 0
    return width + (local_motion.FEATURES if config.geometric_features else 0)


def static_features(
    config: SeuratConfig,
    position: Tensor,
    visible: Tensor,
    support: Tensor,
    support_visible: Tensor,
    exclude_self: bool,
) -> tuple[Tensor, Tensor]:
    """The part of the tokens that does not change between iterations.

    Args:
        config: which features there are.
        position: ``(B, T, N, 2)`` in half widths of the image; visible: ``(B, T, N)`` bool.
        support: ``(B, T, S, 2)``; support_visible: ``(B, T, S)`` bool.
        exclude_self: the tracks are the supporting ones.

    Returns:
        ``(B, T, N, static_width)`` and the first estimate of the log ratio ``(B, T, N)``.
    """
    bands = math.pi * 2.0 ** torch.arange(config.fourier_bands, device=position.device)
    angle = (position[..., None] * bands).flatten(-2)
    seen = visible.to(position.dtype)
    columns = [
        position,
        angle.sin(),
        angle.cos(),
        torch.stack([seen, seen[:, :1].expand_as(seen)], -1),
    ]
    if config.motion_features:
        displacement = position - position[:, :1]
        velocity = torch.zeros_like(position)
        velocity[:, 1:] = position[:, 1:] - position[:, :-1]
        for scale in (1.0, 8.0, 64.0):
            columns += [torch.asinh(scale * displacement), torch.asinh(scale * velocity)]
    start = torch.zeros_like(seen)
    if config.geometric_features or config.start_at_fit:
        geometric, fit = local_motion.features(position, support, support_visible, exclude_self)
        if config.geometric_features:
            columns.append(geometric)
        if config.start_at_fit:
            start = fit
    return torch.cat(columns, dim=-1), start


def feedback(estimate: Tensor) -> Tensor:
    """``(..., FEEDBACK)``: the current log ratio at four magnifications."""
    return torch.stack([estimate, *(torch.asinh(s * estimate) for s in (4.0, 16.0, 64.0))], dim=-1)


def time_code(frames: int, width: int, device: torch.device) -> Tensor:
    """Sinusoidal code ``(frames, width)`` of the frame's place in the window."""
    rate = torch.exp(torch.arange(0, width, 2, device=device) * (-math.log(1e3) / width))
    angle = torch.arange(frames, device=device)[:, None] * rate
    return torch.stack([angle.sin(), angle.cos()], dim=-1).flatten(1)[:, :width]
