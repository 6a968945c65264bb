"""Error of log depth ratios on generator windows: constant depth, density, local fit, ours."""

from __future__ import annotations

import torch
from torch import Tensor

from kinedepth.seurat.density import density_log_ratio
from kinedepth.seurat.local_motion import robust_log_ratio
from kinedepth.seurat.model import Seurat, Tracklets
from kinedepth.synthesis.windows import TrackSet, WindowConfig, Windows, held_out_windows

MOVING = 0.05
"""A point really moves in depth when its true |log ratio| exceeds this."""

Figures = dict[str, float]


def score_windows(
    network: Seurat | None,
    config: WindowConfig,
    count: int,
    seed: int,
    device: torch.device,
    iterations: int | None = None,
) -> dict[str, Figures]:
    """Figures of every method over ``count`` held-out windows.

    Returns:
        Method name to ``mean`` (mean absolute error of the log ratio over truly visible query
        points, frames after the first), ``within_5`` and ``within_10`` (shares under log 1.05
        and log 1.10) and ``moving`` (the mean over points whose true change exceeds 5 %).
    """
    errors: dict[str, list[Tensor]] = {}
    true: list[Tensor] = []
    for windows in held_out_windows(config, count, seed, device):
        chosen = _scored(windows.queries)
        true.append(windows.queries.log_ratio[chosen])
        for name, estimate in _estimates(network, windows, iterations).items():
            error = (estimate - windows.queries.log_ratio).abs()
            errors.setdefault(name, []).append(error[chosen])
    truth = torch.cat(true)
    return {name: summarise(torch.cat(parts), truth) for name, parts in errors.items()}


def summarise(error: Tensor, truth: Tensor) -> Figures:
    """Mean, shares within 5 and 10 %, and the mean over points that move, of flat errors."""
    moving = truth.abs() > MOVING
    return {
        "mean": float(error.mean()),
        "within_5": float((error < torch.log(torch.tensor(1.05))).float().mean()),
        "within_10": float((error < torch.log(torch.tensor(1.10))).float().mean()),
        "moving": float(error[moving].mean()) if moving.any() else 0.0,
    }


def _estimates(
    network: Seurat | None, windows: Windows, iterations: int | None
) -> dict[str, Tensor]:
    queries, support = windows.queries, windows.support
    neighbourhood = (queries.position, support.position, support.visible)
    estimates = {
        "constant": torch.zeros_like(queries.log_ratio),
        "density": density_log_ratio(*neighbourhood),
        "robust": robust_log_ratio(*neighbourhood),
    }
    if network is not None:
        estimates["seurat"] = network(
            Tracklets(queries.position, queries.visible),
            Tracklets(support.position, support.visible),
            iterations,
        ).log_ratio
    return estimates


def _scored(queries: TrackSet) -> Tensor:
    """Points to score: truly visible, in a frame after the first, with a ratio to speak of."""
    scored = queries.truly_visible & (queries.weight > 0)
    scored[:, 0] = False
    return scored
