"""A tiny autoencoder of images and depth, trained from scratch, for a tiny latent pipeline."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from kinedepth.dense.rolling_depth.tiny import tiny_autoencoder
from kinedepth.training.footage import Footage
from kinedepth.training.snippets import (
    SnippetBatch,
    check_footage,
    draw_snippets,
    squeeze_range,
)

_KL_WEIGHT = 1e-4
"""Just enough to keep the latents near each other: they are to be diffused, not sampled."""

_SCALED_BY = 64
"""Frames by whose latents their scale is told."""


@dataclass(frozen=True)
class AutoencoderTask:
    """Training it: half of what it sees are images, half their depth as grey images.

    Half of the depth has a smaller range, since a frame need not span that of its snippet.

    Attributes:
        footage: to train on, none of it stills.
        held_out: to test on.
        size: pixels a side of crops, a multiple of 8.
    """

    footage: Sequence[Footage]
    held_out: Sequence[Footage]
    size: int

    def __post_init__(self) -> None:
        for footage in (self.footage, self.held_out):
            check_footage(footage, (1,), self.size)

    @property
    def name(self) -> str:
        """As the training state records it."""
        return "tiny autoencoder"

    def build(self) -> nn.Module:
        """A fresh network."""
        network: nn.Module = tiny_autoencoder()
        return network

    def step(
        self, network: nn.Module, generator: torch.Generator, batch: int, progress: float
    ) -> dict[str, float]:
        """One batch; the loss is the mean absolute error, and a little of the KL divergence."""
        snippets = draw_snippets(generator, self.footage, batch, 1, self.size)
        squeezed = squeeze_range(generator, snippets.depth[: batch // 2])
        depth = torch.cat([squeezed, snippets.depth[batch // 2 :]])
        pictures = _pictures(replace(snippets, depth=depth))
        posterior = network.encode(pictures).latent_dist  # type: ignore[operator]
        found = network.decode(posterior.sample(generator)).sample  # type: ignore[operator]
        error = (found - pictures).abs().mean()
        divergence = posterior.kl().mean() / posterior.mean[0].numel()
        (error + _KL_WEIGHT * divergence).backward()
        return {"error": float(error.detach()), "divergence": float(divergence.detach())}

    def test(self, network: nn.Module) -> dict[str, float]:
        """Mean absolute error of images and of depth, of a range of 2."""
        generator = torch.Generator(next(network.parameters()).device).manual_seed(0)
        pictures = _pictures(draw_snippets(generator, self.held_out, 32, 1, self.size))
        found = network.decode(network.encode(pictures).latent_dist.mean).sample  # type: ignore[operator]
        images, depth = (found - pictures).abs().mean(dim=(1, 2, 3)).chunk(2)
        return {"image_error": float(images.mean()), "depth_error": float(depth.mean())}


@torch.no_grad()
def set_scaling_factor(autoencoder: Any, footage: Sequence[Footage], size: int) -> None:
    """Tell the pipeline by what latents have to be multiplied to have a variance of 1."""
    generator = torch.Generator(autoencoder.device).manual_seed(0)
    pictures = _pictures(draw_snippets(generator, footage, _SCALED_BY, 1, size))
    spread = float(autoencoder.encode(pictures).latent_dist.mean.std())
    autoencoder.register_to_config(scaling_factor=1 / spread)


def _pictures(snippets: SnippetBatch) -> Tensor:
    """Images and, behind them, depth ``(2 B, 3, h, w)`` from -1 to 1."""
    depth = snippets.depth.expand(-1, 3, -1, -1)
    return torch.cat([snippets.images[:, 0], depth])
