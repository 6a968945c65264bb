"""Batches of clips and of single images, cropped and mirrored, as the network takes them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from kinedepth.dense.video_depth_anything.config import PATCH
from kinedepth.dense.video_depth_anything.preprocessing import normalise
from kinedepth.errors import KinedepthError
from kinedepth.training.rendered_clips import TrainingClip


@dataclass(frozen=True)
class ClipBatch:
    """B pieces of clips, each T frames long; h and w are the crop's.

    Attributes:
        frames: ``(B, T, 3, h, w)`` float32, normalised.
        truth: ``(B, T, h, w)`` float32 disparity, 0 where it is not known.
        mask: ``(B, T, h, w)`` bool, where it is known.
        flow: ``(B, T - 1, h, w, 2)`` float32 pixels to the next frame, 0 where hidden there;
            None where not asked for.
        visible: ``(B, T - 1, h, w)`` bool, or None likewise.
    """

    frames: Tensor
    truth: Tensor
    mask: Tensor
    flow: Tensor | None
    visible: Tensor | None


def check_crop(clips: Sequence[TrainingClip], frames: int, size: int, with_flow: bool) -> None:
    """Raise unless every clip has crops of ``frames`` frames and ``size`` pixels a side.

    Raises:
        KinedepthError: if the side is no multiple of the patch, or a clip is too small, too
            short, or lacks the flow.
    """
    if size < PATCH or size % PATCH:
        raise KinedepthError(f"The network takes sides that are multiples of {PATCH}; got {size}.")
    for clip in clips:
        if min(clip.size) < size:
            raise KinedepthError(
                f"{clip.name} is {clip.size[1]}x{clip.size[0]} pixels, too small for crops of "
                f"{size}x{size}; ask for a smaller size or make larger clips."
            )
        if len(clip) < frames:
            raise KinedepthError(
                f"{clip.name} has {len(clip)} frames, fewer than the {frames} of a training "
                f"clip; ask for fewer or make longer clips."
            )
        if with_flow and clip.flow is None:
            raise KinedepthError(
                f"{clip.name} has no flow, which this loss follows; train with tgm or none, or "
                f"make clips with: kinedepth train clips"
            )


def sample_clips(
    generator: torch.Generator,
    clips: Sequence[TrainingClip],
    batch: int,
    frames: int,
    size: int,
    with_flow: bool = False,
) -> ClipBatch:
    """Draw ``batch`` pieces: clip, first frame, crop and mirroring, the same for all its frames.

    Args:
        generator: of all draws; the batch lies on its device.
        clips: with which :func:`check_crop` agrees.
        batch, frames: B and T.
        size: pixels a side of the crop.
        with_flow: whether flow is wanted as well.
    """
    parts = []
    for _ in range(batch):
        clip = clips[_draw(generator, len(clips))]
        start = _draw(generator, len(clip) - frames + 1)
        top, left = (_draw(generator, side - size + 1) for side in clip.size)
        mirrored = bool(_draw(generator, 2))
        parts.append(_cut(clip, start, frames, top, left, size, mirrored, with_flow))
    device = generator.device
    columns = zip(*parts, strict=True)
    stacked = [torch.from_numpy(np.stack(column)).to(device) for column in columns]
    images, truth, mask = stacked[:3]
    flow, visible = stacked[3:] if with_flow else (None, None)
    return ClipBatch(images, truth, mask, flow, visible)


def middle_of(clip: TrainingClip, size: int, frames: int) -> ClipBatch:
    """Its first (at most) ``frames`` frames, cut to the middle ``size`` pixels a side."""
    top, left = ((side - size) // 2 for side in clip.size)
    images, truth, mask = (
        torch.from_numpy(part)[None]
        for part in _cut(clip, 0, min(frames, len(clip)), top, left, size, False, False)
    )
    return ClipBatch(images, truth, mask, None, None)


def _cut(
    clip: TrainingClip,
    start: int,
    frames: int,
    top: int,
    left: int,
    size: int,
    mirrored: bool,
    with_flow: bool,
) -> list[NDArray]:
    """Frames, truth, mask and, if wanted, flow and visibility of one piece."""
    area = (slice(top, top + size), slice(left, left + size))

    def take(array: NDArray, length: int) -> NDArray:
        piece = np.asarray(array[(slice(start, start + length), *area)])
        return piece[:, :, ::-1] if mirrored else piece

    truth = take(clip.disparity, frames).astype(np.float32)
    mask = np.asarray(np.isfinite(truth) & (truth > 0))
    images = normalise(take(clip.frames, frames)).transpose(0, 3, 1, 2)
    parts = [np.ascontiguousarray(images), np.where(mask, truth, 0), mask]
    if with_flow:
        assert clip.flow is not None
        flow = take(clip.flow, frames - 1).astype(np.float32)
        visible = np.asarray(np.isfinite(flow).all(axis=-1))
        if mirrored:
            flow = flow * np.array([-1, 1], np.float32)
        parts += [np.where(visible[..., None], flow, 0), visible]
    return parts


def _draw(generator: torch.Generator, below: int) -> int:
    return int(torch.randint(below, (), generator=generator, device=generator.device))
