"""The head: patch features of four depths to one depth map a frame.

A dense prediction head with temporal modules in its two coarse halves (Section 3.1, Figure 2
of the paper), cut into three parts by what they have to see:

1. :meth:`Head.prepare`: each frame alone, before any temporal module. It need be computed only
   once for a frame, whatever windows the frame is part of.
2. :meth:`Head.mix`: all frames of a window together.
3. :meth:`Head.decode`: each frame alone again, at high resolution and so the dearest; only for
   the frames whose depth is wanted.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate, relu

from kinedepth.dense.video_depth_anything.config import PATCH, VideoDepthConfig
from kinedepth.dense.video_depth_anything.temporal import TemporalModule

_LAST_CHANNELS = 32

Mixer = Callable[[int, Tensor], Tensor]
"""Lets frames see each other: ``(index of the temporal module, (B, T, C, H, W))`` to the same
shape."""


@dataclass(frozen=True)
class FrameFeatures:
    """All that later stages need to know of N frames; h and w are their sizes in patches.

    Attributes:
        finest: ``(N, F, 4h, 4w)``, and
        fine: ``(N, F, 2h, 2w)``: side inputs of the last two fusions, for :meth:`Head.decode`.
        coarse: ``(N, C3, h, w)``, and
        coarsest: ``(N, C4, ceil(h/2), ceil(w/2))``: what :meth:`Head.mix` takes.
    """

    finest: Tensor
    fine: Tensor
    coarse: Tensor
    coarsest: Tensor

    def __len__(self) -> int:
        """N, the number of frames."""
        return len(self.finest)

    def split(self) -> list[FrameFeatures]:
        """The frames one by one, as copies, so that none keeps the others in memory."""
        parts = (self.finest, self.fine, self.coarse, self.coarsest)
        return [FrameFeatures(*(p[n : n + 1].clone() for p in parts)) for n in range(len(self))]


class ResidualUnit(nn.Module):
    """Two pre-activated 3x3 convolutions, added to their input."""

    def __init__(self, features: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(features, features, kernel_size=3, padding=1)
        self.second = nn.Conv2d(features, features, kernel_size=3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """``x (N, features, H, W)`` to the same shape."""
        return x + self.second(relu(self.first(relu(x))))


class Fusion(nn.Module):
    """Adds a finer map to a coarser one and brings the sum to a finer grid.

    The coarsest fusion has no side input.
    """

    def __init__(self, features: int, has_side: bool) -> None:
        super().__init__()
        self.side_unit = ResidualUnit(features) if has_side else None
        self.unit = ResidualUnit(features)
        self.out = nn.Conv2d(features, features, kernel_size=1)

    def side(self, x: Tensor) -> Tensor:
        """What a side input ``(N, features, H, W)`` adds; it depends on the frame alone."""
        assert self.side_unit is not None
        return self.side_unit(x)

    def forward(self, x: Tensor, side: Tensor | None, size: tuple[int, int]) -> Tensor:
        """``x`` and the result of :meth:`side`, both ``(N, features, H, W)``, to ``size``."""
        x = self.unit(x if side is None else x + side)
        # A 1x1 convolution and a bilinear resize can change places: this way round is cheaper.
        return resize(self.out(x), size)


class Head(nn.Module):
    """Features of the encoder's four taps to depth; see the module's text for its parts."""

    def __init__(self, config: VideoDepthConfig) -> None:
        super().__init__()
        channels, features = config.head_channels, config.head_features
        self.projections = nn.ModuleList(
            nn.Conv2d(config.width, count, kernel_size=1) for count in channels
        )
        self.resizers = nn.ModuleList(
            [
                nn.ConvTranspose2d(channels[0], channels[0], kernel_size=4, stride=4),
                nn.ConvTranspose2d(channels[1], channels[1], kernel_size=2, stride=2),
                nn.Identity(),
                nn.Conv2d(channels[3], channels[3], kernel_size=3, stride=2, padding=1),
            ]
        )
        self.to_features = nn.ModuleList(
            nn.Conv2d(count, features, kernel_size=3, padding=1, bias=False) for count in channels
        )
        self.fusions = nn.ModuleList(Fusion(features, has_side=index < 3) for index in range(4))
        self.temporal = nn.ModuleList(
            TemporalModule(count, config.temporal_heads)
            for count in (channels[2], channels[3], features, features)
        )
        self.reduce = nn.Conv2d(features, features // 2, kernel_size=3, padding=1)
        self.to_depth = nn.Sequential(
            nn.Conv2d(features // 2, _LAST_CHANNELS, kernel_size=3, padding=1),
            nn.ReLU(),
            nn.Conv2d(_LAST_CHANNELS, 1, kernel_size=1),
            nn.ReLU(),
        )

    def prepare(self, taps: list[Tensor], patches: tuple[int, int]) -> FrameFeatures:
        """Part 1, each frame alone.

        Args:
            taps: what the encoder gives for N frames.
            patches: rows and columns of patches.
        """
        maps = []
        for tap, project, resizer in zip(taps, self.projections, self.resizers, strict=True):
            maps.append(resizer(project(tap.transpose(1, 2).unflatten(2, patches))))
        finest = self._fusion(0).side(self.to_features[0](maps[0]))
        fine = self._fusion(1).side(self.to_features[1](maps[1]))
        return FrameFeatures(finest, fine, maps[2], maps[3])

    def mix(
        self, coarse: Tensor, coarsest: Tensor, windows: int = 1, mixer: Mixer | None = None
    ) -> Tensor:
        """Part 2, all frames of a window together.

        Args:
            coarse, coarsest: of ``N = windows * T`` frames, window by window, shaped as in
                :class:`FrameFeatures`.
            windows: how many windows there are.
            mixer: takes the place of the temporal modules (streaming); None for themselves.

        Returns:
            ``(N, F, 2h, 2w)``.
        """

        def see_each_other(index: int, x: Tensor) -> Tensor:
            x = x.unflatten(0, (windows, -1))
            x = self.temporal[index](x) if mixer is None else mixer(index, x)
            return x.flatten(0, 1)

        rows, columns = coarse.shape[-2:]
        coarse = self.to_features[2](see_each_other(0, coarse))
        coarsest = self.to_features[3](see_each_other(1, coarsest))
        x = see_each_other(2, self.fusions[3](coarsest, None, (rows, columns)))
        x = self.fusions[2](x, self._fusion(2).side(coarse), (2 * rows, 2 * columns))
        return see_each_other(3, x)

    def decode(self, mixed: Tensor, fine: Tensor, finest: Tensor) -> Tensor:
        """Part 3, each frame alone.

        Args:
            mixed: what :meth:`mix` gives for N frames.
            fine, finest: of the same frames, shaped as in :class:`FrameFeatures`.

        Returns:
            ``(N, 14h, 14w)`` >= 0, float32 whatever the precision of the rest.
        """
        rows, columns = fine.shape[-2] // 2, fine.shape[-1] // 2
        x = self.fusions[1](mixed, fine, (4 * rows, 4 * columns))
        x = self.fusions[0](x, finest, (8 * rows, 8 * columns))
        x = resize(self.reduce(x), (PATCH * rows, PATCH * columns))
        # Depth spans more than half precision resolves, so its last layers run in full.
        with torch.autocast(x.device.type, enabled=False):
            return self.to_depth(x.float())[:, 0]

    def temporal_module(self, index: int) -> TemporalModule:
        """Temporal module 0 to 3, in the order in which :meth:`mix` calls them."""
        return cast(TemporalModule, self.temporal[index])

    def _fusion(self, index: int) -> Fusion:
        return cast(Fusion, self.fusions[index])


def resize(x: Tensor, size: tuple[int, int]) -> Tensor:
    """Bilinear to ``size`` (rows, columns); the centres of corner pixels stay in place."""
    return interpolate(x, size=size, mode="bilinear", align_corners=True)
