"""The image encoder: a vision transformer as of DINOv2, one frame at a time.

Frames do not see each other here, so each one needs to pass only once, however many windows
it is part of.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import gelu, interpolate, scaled_dot_product_attention

from kinedepth.dense.video_depth_anything.config import PATCH, VideoDepthConfig

_NORM_EPSILON = 1e-6
_HIDDEN_RATIO = 4
# The position table is stretched by (patches + 0.1) / table, as it was in training: the exact
# ratio would give other numbers, and now and then, by rounding, one patch too few.
_SCALE_MARGIN = 0.1


class SelfAttention(nn.Module):
    """Attention of the patches of a frame over each other."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.query_key_value = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        """``x (N, P, width)`` to the same shape."""
        frames, patches, width = x.shape
        split = self.query_key_value(x).view(frames, patches, 3, self.heads, width // self.heads)
        query, key, value = split.permute(2, 0, 3, 1, 4)
        attended = scaled_dot_product_attention(query, key, value)
        return self.out(attended.transpose(1, 2).reshape(x.shape))


class FeedForward(nn.Module):
    """Two linear layers with an exact GELU between."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.expand = nn.Linear(width, _HIDDEN_RATIO * width)
        self.contract = nn.Linear(_HIDDEN_RATIO * width, width)

    def forward(self, x: Tensor) -> Tensor:
        """``x (..., width)`` to the same shape."""
        return self.contract(gelu(self.expand(x)))


class Block(nn.Module):
    """Attention and feed-forward, each pre-normalised and scaled channel by channel."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.attention_norm = nn.LayerNorm(width, eps=_NORM_EPSILON)
        self.attention = SelfAttention(width, heads)
        self.attention_scale = nn.Parameter(torch.ones(width))
        self.feed_forward_norm = nn.LayerNorm(width, eps=_NORM_EPSILON)
        self.feed_forward = FeedForward(width)
        self.feed_forward_scale = nn.Parameter(torch.ones(width))

    def forward(self, x: Tensor) -> Tensor:
        """``x (N, P, width)`` to the same shape."""
        x = x + self.attention_scale * self.attention(self.attention_norm(x))
        return x + self.feed_forward_scale * self.feed_forward(self.feed_forward_norm(x))


class Encoder(nn.Module):
    """Images to patch features at four depths of the transformer."""

    def __init__(self, config: VideoDepthConfig) -> None:
        super().__init__()
        width, grid = config.width, config.position_grid
        self.taps = config.taps
        self.grid = grid
        self.patch_embedding = nn.Conv2d(3, width, kernel_size=PATCH, stride=PATCH)
        self.class_token = nn.Parameter(torch.zeros(1, 1, width))
        self.positions = nn.Parameter(0.02 * torch.randn(1, 1 + grid * grid, width))
        self.blocks = nn.ModuleList(Block(width, config.heads) for _ in range(config.depth))
        self.norm = nn.LayerNorm(width, eps=_NORM_EPSILON)

    def forward(self, images: Tensor) -> list[Tensor]:
        """Features of each frame at the four taps, normalised, without the class token.

        Args:
            images: ``(N, 3, H, W)`` normalised RGB; H and W multiples of :data:`PATCH`.

        Returns:
            Four tensors ``(N, H / 14 * W / 14, width)``, patches row by row.
        """
        rows, columns = images.shape[-2] // PATCH, images.shape[-1] // PATCH
        patches = self.patch_embedding(images).flatten(2).transpose(1, 2)
        class_token = self.class_token.expand(len(images), -1, -1)
        x = torch.cat([class_token, patches], dim=1) + self.positions_for(rows, columns)
        taps = []
        for index, block in enumerate(self.blocks):
            x = block(x)
            if index in self.taps:
                taps.append(self.norm(x)[:, 1:])
        return taps

    def positions_for(self, rows: int, columns: int) -> Tensor:
        """Positions ``(1, 1 + rows * columns, width)`` of the class token and the patches.

        The stored table serves as it is for an image of its own size only.
        """
        if rows == columns == self.grid:
            return self.positions
        table = self.positions[:, 1:].float().unflatten(1, (self.grid, self.grid))
        stretched = interpolate(
            table.permute(0, 3, 1, 2),
            scale_factor=(
                (rows + _SCALE_MARGIN) / self.grid,
                (columns + _SCALE_MARGIN) / self.grid,
            ),
            mode="bicubic",
        )
        return torch.cat([self.positions[:, :1], stretched.flatten(2).transpose(1, 2)], dim=1)
