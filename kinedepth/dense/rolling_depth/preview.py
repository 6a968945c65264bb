"""Depth at the latents' resolution without the decoder, good enough to co-align by."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from kinedepth.dense.rolling_depth.config import PIXELS_PER_LATENT

_RIDGE = 1e-6
"""Of the features' mean square: enough to keep the system solvable where they are constant."""


@dataclass(frozen=True)
class LinearPreview:
    """A linear map from the latents around a position to the mean depth of its 8x8 pixels.

    The map is fitted to a few decoded frames of the video itself, so that it needs no training
    and holds for any autoencoder.

    Attributes:
        weights: ``(9 * 4 + 1,)`` float64 of the 3x3 neighbourhood's channels, and the offset.
        explained: share of the variance of the decoded means that the map explains.
    """

    weights: torch.Tensor
    explained: float

    @classmethod
    def fit(cls, latents: torch.Tensor, depth: torch.Tensor) -> LinearPreview:
        """The map that fits best, by least squares.

        Args:
            latents: ``(B, 4, h, w)``.
            depth: ``(B, 8 h, 8 w)`` that the decoder makes of them.
        """
        features = _neighbourhoods(latents).flatten(0, 2)
        means = torch.nn.functional.avg_pool2d(depth[:, None].double(), PIXELS_PER_LATENT)
        wanted = means.flatten().cpu()
        squares = features.T @ features
        ridge = _RIDGE * squares.diagonal().mean() * torch.eye(len(squares), dtype=torch.float64)
        weights = torch.linalg.solve(squares + ridge, features.T @ wanted)
        left = (wanted - features @ weights).square().mean()
        variance = wanted.var(unbiased=False)
        explained = 1.0 - float(left / variance) if variance > 0 else 1.0
        return cls(weights, explained)

    def __call__(self, latents: torch.Tensor) -> torch.Tensor:
        """Depth ``(B, h, w)`` float32 on the CPU of ``latents (B, 4, h, w)``."""
        return (_neighbourhoods(latents) @ self.weights).float()


def _neighbourhoods(latents: torch.Tensor) -> torch.Tensor:
    """``(B, h, w, 37)`` float64: the channels of the 3x3 positions around each, and 1."""
    padded = torch.nn.functional.pad(latents.double().cpu(), (1, 1, 1, 1), mode="replicate")
    batch, _, height, width = latents.shape
    patches = torch.nn.functional.unfold(padded, 3).transpose(1, 2)
    patches = patches.reshape(batch, height, width, -1)
    return torch.cat([patches, torch.ones_like(patches[..., :1])], dim=-1)
