"""The paper's hand-crafted baseline: depth ratio from how crowded tracks are (Eq. 1-4)."""

from __future__ import annotations

import torch
from torch import Tensor

from kinedepth.seurat.local_motion import as_complex, find_neighbours

_LARGEST = 2.0


def density_log_ratio(
    position: Tensor,
    support: Tensor,
    support_visible: Tensor,
    count: int = 16,
    exclude_self: bool = False,
) -> Tensor:
    """``(B, T, N)`` log ratio: half the log of the density now over the density at first.

    Neighbours are the ``count`` nearest in the first frame and stay the same; the density of a
    frame is a Gaussian kernel's, whose width is the neighbours' mean distance in the first
    frame. Points that recede crowd together, so the ratio grows with density (Eq. 4, up to
    the direction in which the ratio is read).
    """
    near = find_neighbours(position, support, support_visible, count, exclude_self)
    both = near.visible
    width = near.distance.clamp_max(4.0).mean(-1)[:, None, :, None].clamp_min(1e-4)
    offset = near.place - as_complex(position)[..., None]
    kernel = torch.exp(-0.5 * offset.abs().square() / width.square())
    now = (both * kernel).sum(-1)
    first = (both * kernel[:, :1]).sum(-1)
    log_ratio = 0.5 * (now.clamp_min(1e-6) / first.clamp_min(1e-6)).log()
    known = both.sum(-1) >= 3
    return torch.where(known, log_ratio, torch.zeros_like(log_ratio)).clamp(-_LARGEST, _LARGEST)
