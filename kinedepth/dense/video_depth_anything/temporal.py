"""Temporal modules: each pixel of a feature map attends over the frames (Section 3.1).

They are the only part of the network in which frames see each other. In a pass over a window
every frame attends to every frame; in streaming, one new frame attends to what earlier frames
left behind (:meth:`TemporalModule.step`).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import cast

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


def _tokens_at_once(device: torch.device) -> int:
    """Tokens that pass at a time when no gradient is wanted.

    The feed-forward block is eight times as wide as its input, which for whole windows would be
    the largest tensor of all; and a CPU is fastest while it fits into its caches.
    """
    return 1 << 13 if device.type == "cpu" else 1 << 17


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

    def forward(self, x: Tensor) -> Tensor:
        """``x (P, T, width)``, P pixels of T frames, to the same shape."""
        seen = x + self._positions(x.shape[1])
        return self._attend(self.query(seen), self.key(seen), self.value(seen))

    def step(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """One new frame that attends to itself and earlier frames.

        Args:
            x: ``(P, 1, width)`` the new frame.
            context: ``(P, S, 2 * width)``, the states of S earlier frames in order; None for 0.

        Returns:
            The result, shaped as ``x``, and the frame's own state ``(P, 1, 2 * width)``: its
            key and value without a position, which changes as the frame grows older. Keys and
            values are linear in the position, so it can be added afterwards, and no frame has
            to be projected again.
        """
        state = torch.cat([self.key(x), self.value(x)], dim=-1)
        seen = state if context is None else torch.cat([context, state], dim=1)
        positions = self._positions(seen.shape[1])
        seen = seen + torch.cat([self.key(positions), self.value(positions)], dim=-1)
        key, value = seen.chunk(2, dim=-1)
        return self._attend(self.query(x + positions[:, -1:]), key, value), state

    def _attend(self, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        attended = scaled_dot_product_attention(
            self._split(query), self._split(key), self._split(value)
        )
        return self.out(attended.transpose(1, 2).reshape(query.shape))

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
            return x + self._to_map(self._transform(tokens), x)
        pixels = max(1, _tokens_at_once(x.device) // x.shape[1])
        # A pixel's frames attend to each other only, so pixels can come in parts.
        parts = [self._transform(part) for part in tokens.split(pixels)]
        return x + self._to_map(torch.cat(parts), x)

    def step(self, x: Tensor, context: list[Tensor] | None = None) -> tuple[Tensor, list[Tensor]]:
        """One new frame, given what earlier frames left behind.

        Args:
            x: ``(B, 1, C, H, W)`` the new frame.
            context: for each attention ``(B * H * W, S, 2 * C)``, the states of S earlier
                frames in order; None if there are none.

        Returns:
            The result, shaped as ``x``, and the frame's own states, ``(B * H * W, 1, 2 * C)``
            for each attention.
        """
        states: list[Tensor] = []

        def attend(index: int, normed: Tensor) -> Tensor:
            earlier = None if context is None else context[index]
            result, state = self._attention(index).step(normed, earlier)
            states.append(state)
            return result

        return x + self._to_map(self._transform(self._to_tokens(x), attend), x), states

    def _to_tokens(self, x: Tensor) -> Tensor:
        """Normalised frame by frame, as ``(B * H * W, T, C)``."""
        normed = self.norm(x.flatten(0, 1)).unflatten(0, x.shape[:2])
        return normed.permute(0, 3, 4, 1, 2).flatten(0, 2)

    @staticmethod
    def _to_map(tokens: Tensor, like: Tensor) -> Tensor:
        batch, _, _, height, width = like.shape
        return tokens.unflatten(0, (batch, height, width)).permute(0, 3, 4, 1, 2)

    def _transform(
        self, tokens: Tensor, attend: Callable[[int, Tensor], Tensor] | None = None
    ) -> Tensor:
        """``tokens (P, T, C)`` to the same shape; ``attend`` replaces the attentions."""
        # Contiguous, or the matrix product goes pixel by pixel.
        x = self.project_in(tokens.contiguous())
        for index, norm in enumerate(self.attention_norms):
            normed = norm(x)
            x = x + (attend(index, normed) if attend else self._attention(index)(normed))
        x = x + self.feed_forward(self.feed_forward_norm(x))
        return self.project_out(x)

    def _attention(self, index: int) -> TemporalAttention:
        return cast(TemporalAttention, self.attentions[index])
