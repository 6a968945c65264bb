"""Looking at a window once, or forwards and backwards.

Run backwards, a window shows the network the same change in depth from another side: other
supporting tracks are near at the start, and what hides at the end is hidden from the first frame
on. Both looks err partly on their own, so together they are better than either, and what they
disagree by tells how sure to be.
"""

from __future__ import annotations

import torch

from kinedepth.seurat.model import Estimate, Seurat, Tracklets


def look(
    network: Seurat, queries: Tracklets, support: Tracklets, iterations: int | None = None
) -> Estimate:
    """The queries' estimate, from as many looks as the network's configuration asks for."""
    forwards = network(queries, support, iterations)
    if not network.config.both_ways:
        return forwards
    backwards = network(_turned(queries), _turned(support), iterations)
    return _together(forwards, backwards)


def _turned(tracks: Tracklets) -> Tracklets:
    """The same tracks, last frame first."""
    return Tracklets(tracks.position.flip(1), tracks.visible.flip(1))


def _together(forwards: Estimate, backwards: Estimate) -> Estimate:
    """Mean of both looks, each weighted by the inverse square of the error it expects.

    The backward look tells log(depth_t / depth_last); less its value at the first frame it tells
    what the forward one does. Its own scale over as many frames stands for its error there.
    """
    there = backwards.log_ratio.flip(1)
    there = there - there[:, :1]
    values = torch.stack([forwards.log_ratio, there])
    log_scales = torch.stack([forwards.log_scale, backwards.log_scale])
    weights = torch.softmax(-2 * log_scales, dim=0)
    mean = (weights * values).sum(dim=0)
    # A mixture of two Laplace distributions spreads as far as each does, plus how far they are
    # apart.
    scale = (weights * (log_scales.exp() + (values - mean).abs())).sum(dim=0)
    return Estimate(mean, scale.log())
