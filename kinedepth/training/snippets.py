"""Snippets of one to a few frames with true depth, as RollingDepth is trained on (Section 3.2).

Disparity is brought to -1 (far) to 1 (near) for each snippet on its own, all its frames together,
so the network learns how depth changes between them but neither scale nor shift.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from kinedepth.dense.rolling_depth.config import PIXELS_PER_LATENT
from kinedepth.errors import KinedepthError
from kinedepth.training.footage import Footage, shared_view

PERCENTILES = 2.0, 98.0
"""Of the known disparity of a snippet that become -1 and 1."""

LEAST_SHARED_VIEW = 0.3
"""Share of the first frame's view that the last one has to see, as published."""

LONGEST_DILATION = 25
"""Frames between the neighbours of a training snippet, at most: that of inference."""

_LEAST_RANGE = 0.3
_FRAME_RESCALE, _FRAME_SHIFT = 0.05, 0.05
"""How much of its range depth keeps at least, and how far each frame is then off by itself. The
paper names the augmentation; these numbers are ours."""


@dataclass(frozen=True)
class SnippetBatch:
    """B snippets of L frames each; h and w are the crop's.

    Attributes:
        images: ``(B, L, 3, h, w)`` float32 from -1 to 1.
        depth: ``(B, L, h, w)`` float32 disparity from -1 (far) to 1; -1 where it is not known.
        known: ``(B, L, h, w)`` bool.
    """

    images: Tensor
    depth: Tensor
    known: Tensor


def check_footage(footage: Sequence[Footage], lengths: Sequence[int], size: int) -> None:
    """Raise unless snippets of all ``lengths`` with crops of ``size`` pixels a side can be drawn.

    Raises:
        KinedepthError: if the side is no multiple of 8, frames are smaller, or nothing has
            enough frames.
    """
    if size < PIXELS_PER_LATENT or size % PIXELS_PER_LATENT:
        raise KinedepthError(
            f"The network takes sides that are multiples of {PIXELS_PER_LATENT}; got {size}."
        )
    for each in footage:
        if min(each.size) < size:
            raise KinedepthError(
                f"{each.name} is {each.size[1]}x{each.size[0]} pixels, too small for crops of "
                f"{size}x{size}; ask for a smaller size, or shrink less."
            )
    for length in lengths:
        if not _suitable(footage, length):
            raise KinedepthError(
                f"There is no footage for snippets of {length} frames; give longer clips, or "
                f"shorter snippets."
            )


def draw_snippets(
    generator: torch.Generator,
    footage: Sequence[Footage],
    batch: int,
    length: int,
    size: int,
    longest_dilation: int = LONGEST_DILATION,
) -> SnippetBatch:
    """Draw snippets: which footage, dilation, first frame, crop and mirroring.

    Single frames come from stills where there are any. A dilation that leaves too little of the
    first frame in view (:data:`LEAST_SHARED_VIEW`) is halved until it does not, where cameras
    are known.

    Args:
        generator: of all draws; the batch lies on its device.
        footage: with which :func:`check_footage` agrees.
        batch, length: B and L.
        size: pixels a side of the crop.
        longest_dilation: frames between neighbours, at most.
    """
    suitable = _suitable(footage, length)
    images, disparity = [], []
    for _ in range(batch):
        chosen = suitable[_draw(generator, len(suitable))]
        frames = _draw_frames(generator, chosen, length, longest_dilation)
        top, left = (_draw(generator, side - size + 1) for side in chosen.size)
        area = (slice(top, top + size), slice(left, left + size))
        step = -1 if _draw(generator, 2) else 1
        read = [chosen.read(frame) for frame in frames]
        images.append(np.stack([image[area][:, ::step] for image, _ in read]))
        disparity.append(np.stack([values[area][:, ::step] for _, values in read]))
    depth, known = normalise_snippets(np.stack(disparity))
    rgb = torch.from_numpy(np.stack(images)).to(generator.device).movedim(-1, 2)
    return SnippetBatch(
        rgb.float() / 127.5 - 1,
        torch.from_numpy(depth).to(generator.device),
        torch.from_numpy(known).to(generator.device),
    )


def normalise_snippets(
    disparity: NDArray[np.float32],
) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Disparity from -1 to 1, jointly over the frames of each snippet, and where it is known.

    The percentiles :data:`PERCENTILES` become -1 and 1; what lies beyond is cut off.

    Args:
        disparity: ``(B, L, h, w)``, 0 where it is not known.
    """
    known = np.asarray(disparity > 0)
    scaled = np.full(disparity.shape, -1, np.float32)
    for snippet, counts, into in zip(disparity, known, scaled, strict=True):
        if not counts.any():
            continue
        low, high = np.percentile(snippet[counts], PERCENTILES)
        # A wall that faces the camera is in the middle, not noise from end to end.
        spread = (high - low) / 2
        middle = (snippet - (low + high) / 2) / spread if spread > 1e-6 * high else 0 * snippet
        into[counts] = np.clip(middle, -1, 1)[counts]
    return scaled, known


def squeeze_range(generator: torch.Generator, depth: Tensor) -> Tensor:
    """Depth-range augmentation: a smaller range for the snippet, then each frame a little off.

    In a long video most snippets do not span the range of the whole, and frames that come out
    of co-alignment are not quite of one scale: refinement gets such input.

    Args:
        generator: of the draws.
        depth: ``(B, L, h, w)`` from -1 to 1.

    Returns:
        The same shape, from -1 to 1.
    """
    batch, length = depth.shape[:2]

    def uniform(low: float, high: float, *shape: int) -> Tensor:
        share = torch.rand(*shape, 1, 1, generator=generator, device=depth.device)
        return low + (high - low) * share

    kept = uniform(_LEAST_RANGE, 1, batch, 1)
    middle = (1 - kept) * uniform(-1, 1, batch, 1)
    rescaled = 1 + uniform(-_FRAME_RESCALE, _FRAME_RESCALE, batch, length)
    shifted = uniform(-_FRAME_SHIFT, _FRAME_SHIFT, batch, length)
    return ((kept * depth + middle) * rescaled + shifted).clamp(-1, 1)


def _suitable(footage: Sequence[Footage], length: int) -> list[Footage]:
    stills = [each for each in footage if each.stills]
    if length == 1 and stills:
        return stills
    return [each for each in footage if not each.stills and len(each) >= length]


def _draw_frames(
    generator: torch.Generator, footage: Footage, length: int, longest_dilation: int
) -> list[int]:
    """Frames of one snippet."""
    if length == 1:
        return [_draw(generator, len(footage))]
    most = min(longest_dilation, (len(footage) - 1) // (length - 1))
    dilation = 1 + _draw(generator, most)
    first = _draw(generator, len(footage) - (length - 1) * dilation)
    cameras = footage.cameras
    if cameras is not None:
        _, disparity = footage.read(first)
        while dilation > 1:
            last = first + (length - 1) * dilation
            if shared_view(disparity, cameras, first, last) >= LEAST_SHARED_VIEW:
                break
            dilation //= 2
    return [first + place * dilation for place in range(length)]


def _draw(generator: torch.Generator, below: int) -> int:
    return int(torch.randint(below, (), generator=generator, device=generator.device))
