"""Images and depth to latents and back, through the autoencoder."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from kinedepth.dense.rolling_depth.config import PIXELS_PER_LATENT


class LatentCodec:
    """The autoencoder, as RollingDepth uses it; ``(h, w)`` is an eighth of ``(H, W)``.

    Args:
        vae: ``AutoencoderKL``, on the device to run on; its last layer is kept in float32.
        tiny_decoder: ``AutoencoderTiny`` that decodes in its place, on the same device, or None.
    """

    def __init__(self, vae: Any, tiny_decoder: Any = None) -> None:
        self._vae = vae.eval()
        self._tiny = tiny_decoder
        self._factor = float(vae.config.scaling_factor)
        self.device = vae.device
        self._type = vae.encoder.conv_in.weight.dtype
        # In 16 bits, depth between -1 and 1 has steps that show on smooth surfaces. The last
        # layer sums many numbers: with float32 from there on, there are none.
        decoder = vae.decoder
        if decoder.conv_out.weight.dtype != torch.float32:
            decoder.conv_norm_out.float()
            decoder.conv_out.float()
            decoder.conv_norm_out.register_forward_pre_hook(_to_float32)

    def encode_images(self, images: torch.Tensor) -> torch.Tensor:
        """Latents ``(B, 4, h, w)`` float32 of ``images (B, 3, H, W)`` from -1 to 1."""
        # The mean, not a sample: the same image has the same latents every time.
        posterior = self._vae.encode(images.to(self.device, self._type)).latent_dist
        mean: torch.Tensor = posterior.mean
        return mean.float() * self._factor

    def encode_depth(self, depth: torch.Tensor) -> torch.Tensor:
        """Latents ``(B, 4, h, w)`` float32 of ``depth (B, H, W)`` from -1 to 1."""
        return self.encode_images(depth[:, None].expand(-1, 3, -1, -1))

    def decode_depth(self, latents: torch.Tensor) -> torch.Tensor:
        """Depth ``(B, H, W)`` float32, not clipped, of ``latents (B, 4, h, w)``."""
        if self._tiny is not None:
            # It takes latents as they are diffused: their scale is part of its weights.
            scaled = latents.to(self.device, self._type) / self._tiny.config.scaling_factor
            decoded: torch.Tensor = self._tiny.decode(scaled).sample
            return decoded.float().mean(dim=1)
        scaled = latents.to(self.device, torch.float32) / self._factor
        images: torch.Tensor = self._vae.decode(scaled.to(self._type)).sample
        return images.float().mean(dim=1)


def network_size(height: int, width: int, resolution: int) -> tuple[int, int]:
    """Size in pixels, rows first, at which frames pass the network: multiples of 8.

    The long side is ``resolution`` (0: as it is). Both sides are rounded to the nearest
    multiple, so that depth covers the whole frame; the published code cuts off what is left.
    """
    factor = resolution / max(height, width) if resolution else 1.0
    return _nearest_multiple(height * factor), _nearest_multiple(width * factor)


def to_network(frames: NDArray[np.uint8], size: tuple[int, int]) -> torch.Tensor:
    """Images ``(B, 3, *size)`` float32 from -1 to 1 of ``frames (B, H, W, 3)``, on the CPU."""
    images = torch.from_numpy(frames).permute(0, 3, 1, 2).to(torch.float32) / 255
    return resize(images, size) * 2 - 1


def resize(images: torch.Tensor, size: tuple[int, int]) -> torch.Tensor:
    """``images (B, C, H, W)`` at another size, linearly, without aliasing."""
    if tuple(images.shape[-2:]) == size:
        return images
    return torch.nn.functional.interpolate(
        images, size, mode="bilinear", align_corners=False, antialias=True
    )


def _nearest_multiple(side: float) -> int:
    return max(1, round(side / PIXELS_PER_LATENT)) * PIXELS_PER_LATENT


def _to_float32(
    module: torch.nn.Module, inputs: tuple[torch.Tensor, ...]
) -> tuple[torch.Tensor, ...]:
    return (inputs[0].float(), *inputs[1:])
