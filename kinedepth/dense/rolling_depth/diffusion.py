"""Denoising of snippets: from noise, or from a depth that is there already."""

from __future__ import annotations

from typing import Any

import torch

from kinedepth.dense.rolling_depth.components import Components


def shared_noise(seed: int, height: int, width: int) -> torch.Tensor:
    """Latent ``(4, height, width)`` float32 of normal numbers that all frames begin with.

    They come from the CPU, so that a seed gives the same depth on every device.
    """
    generator = torch.Generator("cpu").manual_seed(seed)
    return torch.randn((4, height, width), generator=generator)


class SnippetDiffusion:
    """Latent depth of snippets from their latent images (Section 3.2 of the paper).

    Args:
        components: on the device to run on.
    """

    def __init__(self, components: Components) -> None:
        self._unet = components.unet
        self._scheduler = components.scheduler
        self._prompt = components.prompt.to(self._unet.device, self._unet.dtype)
        self._schedules: dict[int, Any] = {}

    def timesteps(self, steps: int) -> list[int]:
        """Times of a run of ``steps`` steps, from noise to depth; 999 is nothing but noise."""
        return [int(time) for time in self._schedule(steps).timesteps]

    def denoise(self, images: torch.Tensor, noise: torch.Tensor, steps: int = 1) -> torch.Tensor:
        """Latent depth ``(B, L, 4, h, w)`` float32 of snippets.

        Args:
            images: ``(B, L, 4, h, w)`` latent images.
            noise: ``(4, h, w)`` that every frame begins with.
            steps: in which the noise is taken away.
        """
        sample = noise.to(images.device).expand(images.shape)
        for time in self.timesteps(steps):
            sample = self.step(images, sample, time, steps)
        return sample

    def step(
        self, images: torch.Tensor, sample: torch.Tensor, time: int, steps: int
    ) -> torch.Tensor:
        """One step: ``sample (B, L, 4, h, w)`` of ``time`` as it is at the next time, float32.

        Args:
            images: ``(B, L, 4, h, w)`` latent images of the same frames.
            sample: latent depth with the noise of ``time``.
            time: one of :meth:`timesteps`.
            steps: of the run that this is a step of.
        """
        velocity = self.velocity(images, sample, time)
        # In float32: the step is a difference of large parts.
        schedule = self._schedule(steps)
        moved: torch.Tensor = schedule.step(velocity, time, sample.float(), return_dict=False)[0]
        return moved

    def velocity(
        self, images: torch.Tensor, sample: torch.Tensor, time: int | torch.Tensor
    ) -> torch.Tensor:
        """The network's own output ``(B, L, 4, h, w)`` float32 (v-prediction).

        Args:
            images, sample: as of :meth:`step`.
            time: of all snippets, or ``(B,)`` of each.
        """
        batch, length = images.shape[:2]
        joined = torch.cat([images, sample], dim=2).flatten(0, 1).to(self._unet.dtype)
        times = torch.as_tensor(time, device=joined.device)
        found: torch.Tensor = self._unet(
            joined,
            times.repeat_interleave(length) if times.ndim else times,
            encoder_hidden_states=self._prompt.expand(batch * length, -1, -1),
            cross_attention_kwargs={"frames": length},
            return_dict=False,
        )[0]
        return found.float().unflatten(0, (batch, length))

    def add_noise(self, latents: torch.Tensor, noise: torch.Tensor, time: int) -> torch.Tensor:
        """``latents (..., 4, h, w)`` with as much of ``noise (4, h, w)`` as ``time`` has."""
        times = torch.tensor([time], device=latents.device)
        spread = noise.to(latents.device).expand(latents.shape)
        noisy: torch.Tensor = self._scheduler.add_noise(latents, spread, times)
        return noisy

    def _schedule(self, steps: int) -> Any:
        """A scheduler of its own for every number of steps, because it carries that number."""
        if steps not in self._schedules:
            schedule = type(self._scheduler).from_config(self._scheduler.config)
            schedule.set_timesteps(steps)
            self._schedules[steps] = schedule
        return self._schedules[steps]
