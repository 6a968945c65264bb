"""RollingDepth's task: snippets of one to three frames under the v-prediction loss (Section 3.2).

The image's latents are given; those of depth are mixed with as much noise as a random time has,
and the network has to say the velocity, which is noise and depth in one. Inference takes the
snippets' depth in one step from nothing but noise, refinement takes little noise off in many: so
a share of the snippets is trained at the last time, and the others at any.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor, nn

from kinedepth.dense.rolling_depth.components import Components
from kinedepth.dense.rolling_depth.config import PIXELS_PER_LATENT, RollingDepthSettings
from kinedepth.dense.rolling_depth.diffusion import SnippetDiffusion
from kinedepth.dense.rolling_depth.latents import LatentCodec
from kinedepth.dense.rolling_depth.trained import load_to_train
from kinedepth.errors import KinedepthError
from kinedepth.training.footage import Footage
from kinedepth.training.held_out_footage import FARTHEST, score_footage
from kinedepth.training.snippets import (
    LONGEST_DILATION,
    SnippetBatch,
    check_footage,
    draw_snippets,
    squeeze_range,
)

_TESTED_FRAMES = 32


@dataclass(frozen=True)
class RollingDepthTask:
    """Training RollingDepth's network; the autoencoder stays as it is.

    Attributes:
        footage: to train on; single frames are drawn from stills, where there are any.
        held_out: to test on, videos only: the middle ``size`` pixels of their first 32 frames.
        init: folder of the pipeline to begin with, see ``load_to_train``.
        lengths: frames of the snippets that a step mixes, in equal parts, each from 1 to 4.
        size: pixels a side of crops, a multiple of 8.
        last_time_share: of snippets that are trained at the last time, where inference begins;
            the others at any time. Marigold's training has 0.
        squeezed_share: of the other snippets whose range is made smaller, see
            ``squeeze_range``. At the last time nothing tells the range, so there it would only
            blur.
        at_once: snippets that pass the network together; the rest of a step is accumulated.
        longest_dilation: frames between neighbours, at most.
        farthest: depth beyond which nothing counts in the test.

    Raises:
        KinedepthError: if footage, lengths and sizes do not fit together, or ``init`` cannot be
            trained from.
    """

    footage: Sequence[Footage]
    held_out: Sequence[Footage]
    init: Path
    lengths: tuple[int, ...] = (1, 2, 3)
    size: int = 480
    last_time_share: float = 0.5
    squeezed_share: float = 0.5
    at_once: int = 8
    longest_dilation: int = LONGEST_DILATION
    farthest: float = FARTHEST
    _parts: Components = field(init=False, repr=False)

    def __post_init__(self) -> None:
        if not self.lengths or not all(1 <= length <= 4 for length in self.lengths):
            raise KinedepthError(
                f"Snippets have 1 to 4 frames; got {', '.join(map(str, self.lengths)) or 'none'}."
            )
        for share in (self.last_time_share, self.squeezed_share):
            if not 0 <= share <= 1:
                raise KinedepthError(f"A share of the snippets is from 0 to 1; got {share}.")
        check_footage(self.footage, self.lengths, self.size)
        check_footage(self.held_out, (2,), self.size)
        object.__setattr__(self, "_parts", load_to_train(self.init))

    @property
    def name(self) -> str:
        """What is trained, as the training state records it."""
        return f"RollingDepth, snippets of {', '.join(map(str, self.lengths))}"

    def build(self) -> nn.Module:
        """The network of ``init``, widened if need be."""
        network: nn.Module = copy.deepcopy(self._parts.unet).requires_grad_(True).train()
        return network

    def step(
        self, network: nn.Module, generator: torch.Generator, batch: int, progress: float
    ) -> dict[str, float]:
        """``batch`` snippets, split over the lengths as evenly as they can be."""
        parts = self.parts_with(network)
        logged = {}
        for place, length in enumerate(self.lengths):
            count = (batch + place) // len(self.lengths)
            total = 0.0
            for first in range(0, count, self.at_once):
                some = min(self.at_once, count - first)
                snippets = draw_snippets(
                    generator, self.footage, some, length, self.size, self.longest_dilation
                )
                loss = self.loss(parts, snippets, generator)
                (loss * some / batch).backward()
                total += float(loss.detach()) * some
            if count:
                logged[f"loss_of_{length}"] = total / count
        return logged

    def loss(self, parts: Components, snippets: SnippetBatch, generator: torch.Generator) -> Tensor:
        """Mean squared error of the velocity, where depth is known."""
        batch, length = snippets.depth.shape[:2]
        last = parts.scheduler.config.num_train_timesteps - 1
        device = snippets.depth.device

        def share(of: float) -> Tensor:
            return torch.rand(batch, generator=generator, device=device) < of

        times = torch.randint(last + 1, (batch,), generator=generator, device=device)
        times = torch.where(share(self.last_time_share), last, times)
        squeezed = share(self.squeezed_share) & (times < last)
        depth = torch.where(
            squeezed[:, None, None, None], squeeze_range(generator, snippets.depth), snippets.depth
        )
        codec = LatentCodec(parts.vae)
        with torch.no_grad():
            images = codec.encode_images(snippets.images.flatten(0, 1)).unflatten(0, (batch, -1))
            clean = codec.encode_depth(depth.flatten(0, 1)).unflatten(0, (batch, -1))
        # One noise for all frames, as in inference.
        noise = torch.randn(clean[:, :1].shape, generator=generator, device=device)
        noise = noise.expand(clean.shape)
        of_frames = times.repeat_interleave(length)
        flat = (clean.flatten(0, 1), noise.flatten(0, 1), of_frames)
        noisy = parts.scheduler.add_noise(*flat).unflatten(0, (batch, -1))
        target = parts.scheduler.get_velocity(*flat).unflatten(0, (batch, -1))
        found = SnippetDiffusion(parts).velocity(images, noisy, times)
        # A latent that sees any unknown pixel is not trusted.
        unknown = torch.nn.functional.max_pool2d((~snippets.known).float(), PIXELS_PER_LATENT)
        trusted = (unknown == 0)[:, :, None].expand(found.shape)
        return ((found - target).square() * trusted).sum() / trusted.sum().clamp(min=1)

    def parts_with(self, network: nn.Module) -> Components:
        """The whole pipeline around ``network``, on its device."""
        device = next(network.parameters()).device
        if self._parts.vae.device != device:
            self._parts.vae.to(device)
        return Components(network, self._parts.vae, self._parts.scheduler, self._parts.prompt)

    def test(self, network: nn.Module) -> dict[str, float]:
        """AbsRel, delta1 and TAE of the held-out footage."""
        settings = RollingDepthSettings(resolution=0, dilations=(1, 10))
        parts = self.parts_with(network)
        return score_footage(
            parts, self.held_out, self.size, settings, _TESTED_FRAMES, self.farthest
        )
