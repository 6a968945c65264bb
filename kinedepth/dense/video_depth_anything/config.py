"""The published sizes of the network, and what its output means."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

from kinedepth.depth import DepthKind
from kinedepth.errors import KinedepthError

PATCH = 14
"""Pixels a side of an image patch; image sizes are multiples of it."""

TEMPORAL_LENGTH = 32
"""Frames that the temporal attentions were trained with (and positions a checkpoint stores)."""


@dataclass(frozen=True)
class VideoDepthConfig:
    """Everything that fixes the network's shape (Section 3.1 of the paper).

    Attributes:
        name: of the size, as checkpoints are called: ``vits``, ``vitb``, ``vitl``.
        width, depth, heads: of the image encoder.
        taps: the encoder blocks, counted from 0, whose output the head reads, shallow first.
        head_features: channels of the head where it fuses resolutions.
        head_channels: channels of the four resolutions before that, finest first.
        position_grid: patches a side of the stored position table.
        temporal_heads: attention heads of the temporal modules.
        output: ``relative`` gives affine-invariant disparity, ``metric`` metres.
    """

    name: str
    width: int
    depth: int
    heads: int
    taps: tuple[int, int, int, int]
    head_features: int
    head_channels: tuple[int, int, int, int]
    position_grid: int = 37
    temporal_heads: int = 8
    output: Literal["relative", "metric"] = "relative"

    @property
    def kind(self) -> DepthKind:
        """What the numbers of a whole video mean."""
        return "metric" if self.output == "metric" else "affine_invariant_disparity"

    def as_metric(self) -> VideoDepthConfig:
        """The same network with weights that were trained to give metres."""
        return replace(self, output="metric")


VITS = VideoDepthConfig("vits", 384, 12, 6, (2, 5, 8, 11), 64, (48, 96, 192, 384))
VITB = VideoDepthConfig("vitb", 768, 12, 12, (2, 5, 8, 11), 128, (96, 192, 384, 768))
VITL = VideoDepthConfig("vitl", 1024, 24, 16, (4, 11, 17, 23), 256, (256, 512, 1024, 1024))

SIZES = {config.name: config for config in (VITS, VITB, VITL)}


def find_config(name: str, output: Literal["relative", "metric"] = "relative") -> VideoDepthConfig:
    """The published configuration called ``name``.

    Raises:
        KinedepthError: if there is none of that name.
    """
    if name not in SIZES:
        raise KinedepthError(
            f"Unknown size '{name}' of Video Depth Anything; known are {', '.join(SIZES)}."
        )
    return replace(SIZES[name], output=output)
