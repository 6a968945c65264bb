"""The ways to say how depth changes along tracks of a window, side by side."""

from __future__ import annotations

import torch
from torch import Tensor

from kinedepth.seurat.density import density_log_ratio
from kinedepth.seurat.local_motion import robust_log_ratio
from kinedepth.seurat.looking import look
from kinedepth.seurat.model import Seurat, Tracklets

METHODS = {
    "constant": "constant depth",
    "density": "density, Eq. 4 (k = 16)",
    "robust": "similarity, IRLS (k = 16)",
    "seurat": "Seurat",
}
"""Key of each method and how tables call it."""

MOVING = 0.05
"""A point really moves in depth when its true |log ratio| exceeds this."""


def estimate(
    network: Seurat | None, queries: Tracklets, support: Tracklets, iterations: int | None = None
) -> dict[str, Tensor]:
    """Log depth ratio ``(B, T, N)`` of the queries by every method; ours if there is a network.

    Local fits and density use the 16 nearest supporting tracks.
    """
    neighbourhood = (queries.position, support.position, support.visible)
    estimates = {
        "constant": torch.zeros_like(queries.position[..., 0]),
        "density": density_log_ratio(*neighbourhood),
        "robust": robust_log_ratio(*neighbourhood),
    }
    if network is not None:
        estimates["seurat"] = look(network, queries, support, iterations).log_ratio
    return estimates


def summarise(error: Tensor, truth: Tensor) -> dict[str, float]:
    """Figures of flat absolute errors of the log ratio, given the true log ratios.

    Returns:
        ``mean``; ``within_5`` and ``within_10``, shares under log 1.05 and log 1.10; over points
        whose true change exceeds ``MOVING``: ``moving`` (mean), ``moving_median`` and
        ``moving_within_10``; and the number of points ``count`` and the share
        ``moving_share``.
    """
    if not len(error):
        return {"count": 0}
    moving = truth.abs() > MOVING
    near, tenth = torch.log(torch.tensor([1.05, 1.10]))
    figures = {
        "count": len(error),
        "moving_share": float(moving.float().mean()),
        "mean": float(error.mean()),
        "within_5": float((error < near).float().mean()),
        "within_10": float((error < tenth).float().mean()),
    }
    if moving.any():
        figures["moving"] = float(error[moving].mean())
        figures["moving_median"] = float(error[moving].median())
        figures["moving_within_10"] = float((error[moving] < tenth).float().mean())
    return figures
