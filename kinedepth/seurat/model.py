"""The network of Seurat (Section 3, Figure 3): two branches of attention over 2D tracks.

*Supporting* tracks, a uniform grid seeded in the window's first frame, attend over time and
over each other. *Query* tracks attend over time and, by cross-attention, to the supporting
tokens of the same frame at the previous level (Eq. 6), each query on its own. A head on each
branch corrects the current estimate of log(depth_t / depth_0); the corrected estimate is fed
back, detached, for K iterations.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.functional import gelu, scaled_dot_product_attention

from kinedepth.seurat import tokens
from kinedepth.seurat.config import SeuratConfig

_LOG_SCALE_RANGE = (-8.0, 1.0)


@dataclass(frozen=True)
class Tracklets:
    """The 2D tracks of a batch of windows.

    Attributes:
        position: ``(B, T, N, 2)`` in half widths of the image, centred.
        visible: ``(B, T, N)`` bool.
    """

    position: Tensor
    visible: Tensor


@dataclass(frozen=True)
class Estimate:
    """What the network says about a batch of tracklets.

    Attributes:
        log_ratio: ``(B, T, N)`` log of depth over depth in the window's first frame; 0 there.
        log_scale: ``(B, T, N)`` log of the scale b of a Laplace distribution about it
            (its standard deviation is sqrt(2) b).
    """

    log_ratio: Tensor
    log_scale: Tensor


class Attention(nn.Module):
    """Multi-head attention of one token set over another (or itself), pre-normalised."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm = nn.LayerNorm(width)
        self.query = nn.Linear(width, width)
        self.key_value = nn.Linear(width, 2 * width)
        self.out = nn.Linear(width, width)

    def forward(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        """``x (..., n, width)`` attends to ``context (..., m, width)``; residual added."""
        normed = self.norm(x)
        other = normed if context is None else self.norm(context)
        q = self._split(self.query(normed))
        k, v = (self._split(part) for part in self.key_value(other).chunk(2, dim=-1))
        attended = _attend(q, k, v)
        return x + self.out(attended.transpose(1, 2).reshape(x.shape))

    def _split(self, x: Tensor) -> Tensor:
        # Four dimensions exactly: fused kernels take no other number.
        return x.flatten(0, -3).unflatten(-1, (self.heads, -1)).transpose(1, 2)


def _attend(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """Scaled dot-product attention ``(batch, heads, n, width / heads)``."""
    if q.device.type == "cpu" and torch.is_grad_enabled():
        # Windows are short and grids small: written out in bfloat16, a CPU's forward and backward
        # pass takes half the time of the fused kernel or less (measured at 8 and 144 tokens).
        weight = (q @ k.transpose(-1, -2) * q.shape[-1] ** -0.5).softmax(dim=-1)
        return weight.to(v.dtype) @ v
    return scaled_dot_product_attention(q, k, v)


class FeedForward(nn.Module):
    """Two linear layers with a GELU between, pre-normalised, residual added."""

    def __init__(self, width: int, ratio: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.expand = nn.Linear(width, ratio * width)
        self.contract = nn.Linear(ratio * width, width)

    def forward(self, x: Tensor) -> Tensor:
        """``x (..., width)`` with its own transformation added."""
        return x + self.contract(gelu(self.expand(self.norm(x))))


class Layer(nn.Module):
    """Attention over the frames of a track, then over the (supporting) tracks of a frame."""

    def __init__(self, config: SeuratConfig) -> None:
        super().__init__()
        self.temporal = Attention(config.width, config.heads)
        self.temporal_mlp = FeedForward(config.width, config.hidden_ratio)
        self.spatial = Attention(config.width, config.heads)
        self.spatial_mlp = FeedForward(config.width, config.hidden_ratio)

    def forward(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        """``x (B, T, N, width)``, ``context (B, T, S, width)`` or None for self-attention."""
        x = self.temporal(x.transpose(1, 2)).transpose(1, 2)
        x = self.temporal_mlp(x)
        return self.spatial_mlp(self.spatial(x, context))


class Branch(nn.Module):
    """Embedding, layers and head for one kind of track."""

    def __init__(self, config: SeuratConfig) -> None:
        super().__init__()
        self.width = config.width
        inputs = tokens.static_width(config) + tokens.FEEDBACK
        self.embed = nn.Sequential(
            nn.Linear(inputs, config.width), nn.GELU(), nn.Linear(config.width, config.width)
        )
        self.layers = nn.ModuleList(Layer(config) for _ in range(config.layers))
        self.norm = nn.LayerNorm(config.width)
        self.head = nn.Linear(config.width, 2)
        nn.init.zeros_(self.head.weight)
        with torch.no_grad():
            self.head.bias.copy_(torch.tensor([0.0, -4.0]))

    def tokens(self, static: Tensor, estimate: Tensor) -> Tensor:
        """Embed ``static (B, T, N, F)`` with the fed-back ``estimate (B, T, N)``."""
        embedded = self.embed(torch.cat([static, tokens.feedback(estimate)], dim=-1))
        return embedded + tokens.time_code(static.shape[1], self.width, static.device)[:, None]

    def correct(self, x: Tensor, estimate: Tensor) -> Estimate:
        """The estimate plus the head's correction, zero in the window's first frame."""
        with torch.autocast(x.device.type, enabled=False):
            change, log_scale = self.head(self.norm(x.float())).unbind(-1)
        log_ratio = estimate + change
        return Estimate(log_ratio - log_ratio[:, :1], log_scale.clamp(*_LOG_SCALE_RANGE))


class Seurat(nn.Module):
    """2D tracks of a window to log depth ratios, for queries and supporting tracks alike."""

    def __init__(self, config: SeuratConfig) -> None:
        super().__init__()
        self.config = config
        self.support = Branch(config)
        self.query = Branch(config)

    def refine(
        self, queries: Tracklets, support: Tracklets, iterations: int
    ) -> Iterator[tuple[Estimate, Estimate]]:
        """Yield the (query, support) estimates of each iteration.

        The graph of one iteration does not reach into the one before, so a training step may
        call ``backward`` after each and never hold more than one in memory.
        """
        with torch.no_grad():
            static_query, query_estimate = self.describe(queries, support, exclude_self=False)
            static_support, support_estimate = self.describe(support, support, exclude_self=True)
        for _ in range(iterations):
            s = self.support.tokens(static_support, support_estimate)
            q = self.query.tokens(static_query, query_estimate)
            for support_layer, query_layer in zip(
                self.support.layers, self.query.layers, strict=True
            ):
                # Eq. 6: queries look at the supporting tokens of the previous level.
                q, s = query_layer(q, s), support_layer(s)
            query = self.query.correct(q, query_estimate)
            supporting = self.support.correct(s, support_estimate)
            yield query, supporting
            query_estimate = query.log_ratio.detach()
            support_estimate = supporting.log_ratio.detach()

    def describe(
        self, tracks: Tracklets, support: Tracklets, exclude_self: bool
    ) -> tuple[Tensor, Tensor]:
        """What tokens know before any estimate, and the first estimate (``static_features``)."""
        return tokens.static_features(
            self.config, tracks.position, tracks.visible,
            support.position, support.visible, exclude_self,
        )  # fmt: skip

    def forward(
        self, queries: Tracklets, support: Tracklets, iterations: int | None = None
    ) -> Estimate:
        """The queries' estimate after the last iteration (``config.iterations`` by default)."""
        *_, (last, _) = self.refine(queries, support, iterations or self.config.iterations)
        return last
