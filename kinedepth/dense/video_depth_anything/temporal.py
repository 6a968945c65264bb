"""Temporal modules: each pixel of a feature map attends over the frames (Section 3.1).

They are the only part of the network in which frames see each other. In a pass over a window
every frame attends to every frame; in streaming, one new frame attends to what earlier frames
left behind (:meth:`TemporalModule.step`).
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn.functional import gelu, scaled_dot_product_attention

from kinedepth.dense.video_depth_anything.config import TEMPORAL_LENGTH

_NORM_GROUPS = 32
_NORM_EPSILON = 1e-6
_HIDDEN_RATIO = 4
ATTENTIONS = 2
"""Attentions in a temporal module; streaming keeps one state for each."""

_WAVELENGTH_BASE = 10000.0
# Tokens that pass at a time when no gradient is wanted: the feed-forward block is eight times
# as wide as its input, which for whole windows would be the largest tensor of all.
_TOKENS_AT_ONCE = 1 << 16


def sinusoidal_positions(length: int, width: int) -> Tensor:
    """``(1, length, width)`` float32: sine in even channels, cosine in odd ones."""
    position = torch.arange(length, dtype=torch.float32)[:, None]
    even = torch.arange(0, width, 2, dtype=torch.float32)
    angle = position * torch.exp(even * (-math.log(_WAVELENGTH_BASE) / width))
    return torch.stack([angle.sin(), angle.cos()], dim=-1).flatten(1)[None]


class TemporalAttention(nn.Module):
    """Attention over time; the frame's position is added to queries, keys *and* values."""

    positions: Tensor

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.query = nn.Linear(width, width, bias=False)
        self.key = nn.Linear(width, width, bias=False)
        self.value = nn.Linear(width, width, bias=False)
        self.out = nn.Linear(width, width)
        self.register_buffer("positions", sinusoidal_positions(TEMPORAL_LENGTH, width))

    def forward(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        """Attend over frames.

        Args:
            x: ``(P, T, width)``, P pixels.
            context: ``(P, S, width)`` of S earlier frames, which are attended to as well but
                give no output; None for none.
        """
        seen = x if context is None else torch.cat([context, x], dim=1)
        seen = seen + self._positions(seen.shape[1])
        query = self._split(self.query(seen[:, -x.shape[1] :]))
        key, value = self._split(self.key(seen)), self._split(self.value(seen))
        attended = scaled_dot_product_attention(query, key, value)
        return self.out(attended.transpose(1, 2).reshape(x.shape))

    def _positions(self, length: int) -> Tensor:
        stored = self.positions
        if length <= stored.shape[1]:
            return stored[:, :length]
        # Windows longer than in training: the same waves, continued.
        return sinusoidal_positions(length, stored.shape[2]).to(stored)

    def _split(self, x: Tensor) -> Tensor:
        return x.unflatten(-1, (self.heads, -1)).transpose(1, 2)


class GatedFeedForward(nn.Module):
    """Feed-forward block whose hidden half is gated by the GELU of the other half."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.expand = nn.Linear(width, 2 * _HIDDEN_RATIO * width)
        self.contract = nn.Linear(_HIDDEN_RATIO * width, width)

    def forward(self, x: Tensor) -> Tensor:
        """``x (..., width)`` to the same shape."""
        hidden, gate = self.expand(x).chunk(2, dim=-1)
        return self.contract(hidden * gelu(gate))


class TemporalModule(nn.Module):
    """Two temporal attentions and a feed-forward block, added to a feature map.

    A new one changes nothing: its last layer starts at zero.
    """

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.norm = nn.GroupNorm(_NORM_GROUPS, width, eps=_NORM_EPSILON)
        self.project_in = nn.Linear(width, width)
        self.attention_norms = nn.ModuleList(nn.LayerNorm(width) for _ in range(ATTENTIONS))
        self.attentions = nn.ModuleList(TemporalAttention(width, heads) for _ in range(ATTENTIONS))
        self.feed_forward_norm = nn.LayerNorm(width)
        self.feed_forward = GatedFeedForward(width)
        self.project_out = nn.Linear(width, width)
        nn.init.zeros_(self.project_out.weight)
        nn.init.zeros_(self.project_out.bias)

    def forward(self, x: Tensor) -> Tensor:
        """``x (B, T, C, H, W)``, B windows of T frames, to the same shape."""
        tokens = self._to_tokens(x)
        if torch.is_grad_enabled():
            return x + self._to_map(self._transform(tokens)[0], x)
        pixels = max(1, _TOKENS_AT_ONCE // x.shape[1])
        # A pixel's frames attend to each other only, so pixels can come in parts.
        parts = [self._transform(part)[0] for part in tokens.split(pixels)]
        return x + self._to_map(torch.cat(parts), x)

    def step(self, x: Tensor, context: list[Tensor] | None = None) -> tuple[Tensor, list[Tensor]]:
        """One new frame, given what earlier frames left behind.

        Args:
            x: ``(B, 1, C, H, W)`` the new frame.
            context: for each attention ``(B * H * W, S, C)``, the states of S earlier frames
                in order; None if there are none.

        Returns:
            The result, shaped as ``x``, and the frame's own states, each ``(B * H * W, 1, C)``.
        """
        tokens, states = self._transform(self._to_tokens(x), context)
        return x + self._to_map(tokens, x), states

    def _to_tokens(self, x: Tensor) -> Tensor:
        """Normalised frame by frame, as ``(B * H * W, T, C)``."""
        normed = self.norm(x.flatten(0, 1)).unflatten(0, x.shape[:2])
        return normed.permute(0, 3, 4, 1, 2).flatten(0, 2)

    @staticmethod
    def _to_map(tokens: Tensor, like: Tensor) -> Tensor:
        batch, _, _, height, width = like.shape
        return tokens.unflatten(0, (batch, height, width)).permute(0, 3, 4, 1, 2)

    def _transform(
        self, tokens: Tensor, context: list[Tensor] | None = None
    ) -> tuple[Tensor, list[Tensor]]:
        """``tokens (P, T, C)`` and, for each attention, what later frames may attend to."""
        x = self.project_in(tokens)
        states = []
        for index, attention in enumerate(self.attentions):
            normed = self.attention_norms[index](x)
            states.append(normed)
            x = x + attention(normed, None if context is None else context[index])
        x = x + self.feed_forward(self.feed_forward_norm(x))
        return self.project_out(x), states
