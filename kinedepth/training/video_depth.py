"""Video Depth Anything's task: clips with true depth, images with a teacher's, and their losses.

A step adds the gradients of two terms (Section 3.2 and 3.3 of the paper): video with truth,
under the spatial loss and one temporal loss; and single images that a teacher has labelled,
under the spatial loss alone, so that what only images show is not forgotten.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, cast, get_args

import torch
from torch import Tensor, nn

from kinedepth.dense.video_depth_anything.checkpoint import load_published
from kinedepth.dense.video_depth_anything.config import (
    SIZES,
    TEMPORAL_LENGTH,
    VideoDepthConfig,
)
from kinedepth.dense.video_depth_anything.losses import (
    TEMPORAL_WEIGHT,
    spatial_loss,
    temporal_gradient_loss,
)
from kinedepth.dense.video_depth_anything.model import VideoDepth
from kinedepth.errors import KinedepthError
from kinedepth.training.clip_batches import ClipBatch, check_crop, sample_clips
from kinedepth.training.flow_losses import flow_warped_loss, stable_error_loss
from kinedepth.training.held_out_video import score_clips
from kinedepth.training.labelled_images import LabelledImages, sample_images
from kinedepth.training.rendered_clips import TrainingClip

TINY = VideoDepthConfig(
    name="tiny",
    width=96,
    depth=4,
    heads=3,
    taps=(0, 1, 2, 3),
    head_features=32,
    head_channels=(24, 32, 64, 64),
    position_grid=6,
    temporal_heads=4,
)
"""Small enough to be trained from scratch on one core, to try losses and data with."""

MODELS = {"tiny": TINY, **SIZES}
"""What ``kinedepth train vda --model`` may name."""

TemporalLoss = Literal["tgm", "opw", "se", "none"]
"""See ``losses.py`` (tgm) and ``flow_losses.py`` (opw, se); none leaves frames to themselves."""

NEEDS_FLOW = ("opw", "se")

_FIRST_DISPARITY = 1.0
"""Bias of the last layer of a fresh network. Its output passes a ReLU, which would give neither
disparity nor gradient wherever random weights happen to be negative."""


@dataclass(frozen=True)
class VideoDepthTask:
    """Training Video Depth Anything.

    Attributes:
        clips: to train on.
        held_out: to test on; figures are taken on the middle ``size`` pixels of whole clips.
        model: the network's shape.
        temporal: the temporal loss, weighted by ``losses.TEMPORAL_WEIGHT``.
        frames: T of a training clip, up to 32; 1 trains a model of single images, whose temporal
            modules stay as they begin, without effect.
        size: pixels a side of training crops, a multiple of 14.
        freeze_encoder: train the head alone, as the paper does from pretrained encoders.
        init: weights to begin with, of the same shape; None for random ones.
        images: single images with a teacher's labels, or None.
        image_batch: how many of them a step takes, on each process.
        image_weight: of their loss.

    Raises:
        KinedepthError: if clips, sizes and losses do not fit together.
    """

    clips: Sequence[TrainingClip]
    held_out: Sequence[TrainingClip]
    model: VideoDepthConfig = TINY
    temporal: TemporalLoss = "tgm"
    frames: int = 16
    size: int = 84
    freeze_encoder: bool = False
    init: Path | None = None
    images: LabelledImages | None = None
    image_batch: int = 4
    image_weight: float = 1.0

    def __post_init__(self) -> None:
        if self.temporal not in get_args(TemporalLoss):
            raise KinedepthError(
                f"There is no temporal loss {self.temporal!r}; choose tgm, opw, se or none."
            )
        if not 1 <= self.frames <= TEMPORAL_LENGTH:
            raise KinedepthError(
                f"A training clip has 1 to {TEMPORAL_LENGTH} frames; got {self.frames}."
            )
        if self.frames == 1 and self.temporal != "none":
            raise KinedepthError(
                f"Clips of one frame have no change over time for the loss {self.temporal!r}; "
                f"choose none, or more frames."
            )
        check_crop(self.clips, self.frames, self.size, self.temporal in NEEDS_FLOW)
        check_crop(self.held_out, 2, self.size, with_flow=False)
        if self.images is not None:
            self.images.check_crop(self.size)
        if self.freeze_encoder and self.init is None:
            raise KinedepthError(
                "A frozen encoder has to come with weights; give --init as well as "
                "--freeze-encoder."
            )

    @property
    def name(self) -> str:
        """Task, model and losses, as the training state records them."""
        mixed = " with images" if self.images is not None else ""
        frozen = ", frozen encoder" if self.freeze_encoder else ""
        return f"video depth {self.model.name}, {self.temporal}{mixed}{frozen}"

    def build(self) -> nn.Module:
        """A fresh network, or that of ``init``."""
        if self.init is None:
            network = VideoDepth(self.model)
            last = cast(nn.Conv2d, network.head.to_depth[-2])
            nn.init.constant_(cast(Tensor, last.bias), _FIRST_DISPARITY)
        else:
            network = load_published(self.init, self.model).requires_grad_(True).train()
        network.encoder.requires_grad_(not self.freeze_encoder)
        # Of single frames they would learn to do without other frames.
        network.head.temporal.requires_grad_(self.frames > 1)
        return network

    def step(
        self, network: nn.Module, generator: torch.Generator, batch: int, progress: float
    ) -> dict[str, float]:
        """One batch of clips and, if there are any, one of images."""
        with_flow = self.temporal in NEEDS_FLOW
        clips = sample_clips(generator, self.clips, batch, self.frames, self.size, with_flow)
        prediction = network(clips.frames)
        spatial = spatial_loss(*(x.flatten(0, 1) for x in (prediction, clips.truth, clips.mask)))
        temporal = self._temporal_loss(prediction, clips)
        (spatial + TEMPORAL_WEIGHT * temporal).backward()
        logged = {
            "spatial_loss": float(spatial.detach()),
            "temporal_loss": float(temporal.detach()),
        }
        if self.images is not None:
            images = sample_images(generator, self.images, self.image_batch, self.size)
            # An image is a clip of one frame: the temporal modules pass it on unmixed.
            label = network(images.frames[:, None])[:, 0]
            loss = spatial_loss(label, images.label, images.mask)
            (self.image_weight * loss).backward()
            logged["image_loss"] = float(loss.detach())
        return logged

    def _temporal_loss(self, prediction: Tensor, clips: ClipBatch) -> Tensor:
        if self.temporal == "none":
            return prediction.new_zeros(())
        if self.temporal == "tgm":
            return temporal_gradient_loss(prediction, clips.truth, clips.mask)
        assert clips.flow is not None
        assert clips.visible is not None
        losses: dict[str, Callable[..., Tensor]] = {
            "opw": flow_warped_loss,
            "se": stable_error_loss,
        }
        loss = losses[self.temporal]
        return loss(prediction, clips.truth, clips.mask, clips.flow, clips.visible)

    def test(self, network: nn.Module) -> dict[str, float]:
        """AbsRel, delta1 and TAE of the held-out clips."""
        assert isinstance(network, VideoDepth)
        return score_clips(network, self.held_out, self.size)
