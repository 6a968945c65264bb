"""The whole network: encoder and head."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from kinedepth.dense.video_depth_anything.config import PATCH, VideoDepthConfig
from kinedepth.dense.video_depth_anything.encoder import Encoder
from kinedepth.dense.video_depth_anything.head import FrameFeatures, Head
from kinedepth.errors import KinedepthError


class VideoDepth(nn.Module):
    """Windows of frames to depth that is consistent within each window.

    :meth:`forward` does everything for training and small inputs; inference over long videos
    calls the parts, so that no frame is encoded twice.
    """

    def __init__(self, config: VideoDepthConfig) -> None:
        super().__init__()
        self.config = config
        self.encoder = Encoder(config)
        self.head = Head(config)

    def forward(self, frames: Tensor) -> Tensor:
        """Depth or disparity, as the configuration's ``kind`` says.

        Args:
            frames: ``(B, T, 3, H, W)``, B windows of T frames of RGB normalised as in
                ``preprocessing``; H and W multiples of 14.

        Returns:
            ``(B, T, H, W)`` float32 >= 0.
        """
        windows, length = frames.shape[:2]
        features = self.frame_features(frames.flatten(0, 1))
        mixed = self.head.mix(features.coarse, features.coarsest, windows)
        depth = self.head.decode(mixed, features.fine, features.finest)
        return depth.unflatten(0, (windows, length))

    def frame_features(self, images: Tensor) -> FrameFeatures:
        """What a frame contributes to any window, from ``images (N, 3, H, W)``.

        Raises:
            KinedepthError: if a side is not a multiple of 14.
        """
        height, width = images.shape[-2:]
        if height % PATCH or width % PATCH or 0 in (height, width):
            raise KinedepthError(
                f"The network takes sides that are multiples of {PATCH}; got {width}x{height}."
            )
        taps = self.encoder(images)
        return self.head.prepare(taps, (height // PATCH, width // PATCH))

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return self.encoder.class_token.device
