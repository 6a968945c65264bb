"""Error of log depth ratios on generator windows."""

from __future__ import annotations

import torch
from torch import Tensor

from kinedepth.evaluation.methods import estimate, summarise
from kinedepth.seurat.model import Seurat, Tracklets
from kinedepth.synthesis.windows import TrackSet, WindowConfig, held_out_windows


def score_windows(
    network: Seurat | None,
    config: WindowConfig,
    count: int,
    seed: int,
    device: torch.device,
    iterations: int | None = None,
) -> dict[str, dict[str, float]]:
    """Figures (``methods.summarise``) of every method over ``count`` held-out windows.

    Scored are query points where they are truly visible, in the frames after the first.
    """
    errors: dict[str, list[Tensor]] = {}
    true: list[Tensor] = []
    for windows in held_out_windows(config, count, seed, device):
        chosen = _scored(windows.queries)
        truth = windows.queries.log_ratio
        true.append(truth[chosen])
        queries, support = (
            Tracklets(tracks.position, tracks.visible)
            for tracks in (windows.queries, windows.support)
        )
        for name, log_ratio in estimate(network, queries, support, iterations).items():
            errors.setdefault(name, []).append((log_ratio - truth).abs()[chosen])
    flat = torch.cat(true)
    return {name: summarise(torch.cat(parts), flat) for name, parts in errors.items()}


def _scored(queries: TrackSet) -> Tensor:
    """Points to score: truly visible, in a frame after the first, with a ratio to speak of."""
    scored = queries.truly_visible & (queries.weight > 0)
    scored[:, 0] = False
    return scored
