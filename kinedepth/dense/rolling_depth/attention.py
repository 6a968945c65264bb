"""Self-attention across the frames of a snippet, the one thing that is new in the network."""

from __future__ import annotations

import torch
from diffusers.models.attention_processor import Attention, AttnProcessor2_0


class SnippetAttention(AttnProcessor2_0):
    """Self-attention over all positions of all frames of a snippet (Section 3.2 of the paper).

    Attention to the prompt is that of diffusers. Set it on the whole network with
    ``unet.set_attn_processor(SnippetAttention())``, and say how many frames a snippet has with
    ``unet(..., cross_attention_kwargs={"frames": n})``: the processor itself has no state, so a
    network serves snippets of any length. Weights are those of the single-image network.
    """

    def __call__(
        self,
        attn: Attention,
        hidden_states: torch.Tensor,
        encoder_hidden_states: torch.Tensor | None = None,
        attention_mask: torch.Tensor | None = None,
        temb: torch.Tensor | None = None,
        frames: int = 1,
    ) -> torch.Tensor:
        """Attend.

        Args:
            attn: the layer, with its projections.
            hidden_states: ``(B * frames, P, C)``, the frames of a snippet one after the other.
            encoder_hidden_states: ``(B * frames, K, C')`` of the prompt; None for self-attention.
            attention_mask: none is used with snippets.
            temb: not used by these layers.
            frames: of a snippet.

        Returns:
            The shape of ``hidden_states``.
        """
        if encoder_hidden_states is not None:
            return super().__call__(
                attn, hidden_states, encoder_hidden_states, attention_mask, temb
            )
        count, positions, channels = hidden_states.shape
        joined = hidden_states.reshape(count // frames, frames * positions, channels)
        seen = super().__call__(attn, joined, None, attention_mask, temb)
        return seen.reshape(count, positions, channels)
