"""From a network of single images to one that takes an image's latents and those of its depth."""

from __future__ import annotations

from typing import Any

import torch

from kinedepth.errors import KinedepthError


def widen_first_convolution(unet: Any, times: int = 2) -> Any:
    """Let a ``UNet2DConditionModel`` take ``times`` as many channels, in place.

    As in Marigold (Ke et al., CVPR 2024, Section 3.2): the first convolution's weights are
    repeated for the new channels and divided by ``times``, so that what reaches the next layer
    keeps its size. Given the same latents ``times`` over, the wide network says what the narrow
    one said.

    Args:
        unet: with ``C`` input channels; from then on ``times * C``, in its configuration too.
        times: 2 for image and depth.

    Returns:
        The same network.

    Raises:
        KinedepthError: if ``times`` is under 1.
    """
    if times < 1:
        raise KinedepthError(f"A network is widened by a whole number from 1 up; got {times}.")
    narrow = unet.conv_in
    wide = torch.nn.Conv2d(
        times * narrow.in_channels,
        narrow.out_channels,
        narrow.kernel_size,
        narrow.stride,
        narrow.padding,
        bias=narrow.bias is not None,
        device=narrow.weight.device,
        dtype=narrow.weight.dtype,
    )
    state = dict(narrow.state_dict())
    state["weight"] = state["weight"].repeat(1, times, 1, 1) / times
    wide.load_state_dict(state)
    unet.conv_in = wide.requires_grad_(narrow.weight.requires_grad)
    unet.register_to_config(in_channels=wide.in_channels)
    return unet
