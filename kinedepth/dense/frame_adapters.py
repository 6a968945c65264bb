"""What published per-frame models want of an image, and what their output becomes.

Each adapter does the arithmetic of one family's image processor: resize and normalise before the
network, undo afterwards. It is done here, in a few lines on the device, because the processors
that transformers brings need further packages for some of the families.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor
from torch.nn import functional

from kinedepth.errors import KinedepthError

_PIL_BICUBIC = 3
"""How a processor's configuration calls bicubic; 2 is bilinear."""


@dataclass(frozen=True)
class FrameDepth:
    """What a network says of some frames.

    Attributes:
        depth: ``(B, H, W)`` float32 depth or disparity at the frames' size.
        field_of_view: ``(B,)`` degrees across the width of the frames, where the model tells it.
    """

    depth: Tensor
    field_of_view: Tensor | None = None


class FrameAdapter(Protocol):
    """Images to a network's input, and its output to depth at the images' size.

    Attributes:
        most_at_once: frames that may pass the network together; None for any number.
    """

    most_at_once: int | None

    def prepare(self, frames: Tensor) -> Tensor:
        """``(B, 3, h, w)`` float32 input for ``frames (B, 3, H, W)`` uint8 RGB."""
        ...

    def finish(self, output: Any, height: int, width: int) -> FrameDepth:
        """Depth at the frames' size from what the network gave."""
        ...


@dataclass(frozen=True)
class _Normalisation:
    mean: tuple[float, ...]
    std: tuple[float, ...]

    @classmethod
    def of(cls, config: dict[str, Any]) -> _Normalisation:
        return cls(
            tuple(config.get("image_mean", (0.5, 0.5, 0.5))),
            tuple(config.get("image_std", (0.5, 0.5, 0.5))),
        )

    def __call__(self, images: Tensor) -> Tensor:
        """``images`` between 0 and 1, channel by channel less the mean and over the deviation."""
        mean = images.new_tensor(self.mean)[:, None, None]
        return (images - mean) / images.new_tensor(self.std)[:, None, None]


@dataclass(frozen=True)
class DepthAnythingAdapter:
    """Depth Anything: resized to multiples of the patch, by the factor that is nearest to 1.

    Attributes:
        height, width: that the frame is fitted to.
        multiple: both sides become multiples of it.
        keep_aspect: one factor for both sides.
        bicubic: or bilinear.
        normalise: of the channels.
    """

    height: int
    width: int
    multiple: int
    keep_aspect: bool
    bicubic: bool
    normalise: _Normalisation
    most_at_once: int | None = None

    @classmethod
    def of(cls, config: dict[str, Any], input_size: int | None) -> DepthAnythingAdapter:
        """As ``preprocessor_config.json`` says; ``input_size`` in place of its size."""
        height, width = _size(config, (518, 518))
        if input_size is not None:
            height = width = input_size
        return cls(
            height,
            width,
            int(config.get("ensure_multiple_of", 14)),
            bool(config.get("keep_aspect_ratio", True)),
            int(config.get("resample", _PIL_BICUBIC)) == _PIL_BICUBIC,
            _Normalisation.of(config),
        )

    def prepare(self, frames: Tensor) -> Tensor:
        """As :class:`FrameAdapter` asks."""
        height, width = frames.shape[-2:]
        size = _fitted(height, width, self.height, self.width, self.multiple, self.keep_aspect)
        mode = "bicubic" if self.bicubic else "bilinear"
        resized = functional.interpolate(frames.float(), size, mode=mode, antialias=True)
        # The published pipeline resizes 8-bit images, which are rounded and cut off again.
        return self.normalise(resized.round().clamp(0, 255) / 255)

    def finish(self, output: Any, height: int, width: int) -> FrameDepth:
        """As :class:`FrameAdapter` asks."""
        depth = output.predicted_depth.float()[:, None]
        return FrameDepth(functional.interpolate(depth, (height, width), mode="bicubic")[:, 0])


@dataclass(frozen=True)
class ZoeDepthAdapter:
    """ZoeDepth: mirrored at the borders, where its output is bad, and resized.

    The network decides between its indoor and outdoor heads by a vote over the batch, so frames
    pass one by one: a frame's depth must not depend on which others come along.
    """

    height: int
    width: int
    multiple: int
    keep_aspect: bool
    pad: bool
    normalise: _Normalisation
    most_at_once: int | None = 1

    @classmethod
    def of(cls, config: dict[str, Any], input_size: int | None) -> ZoeDepthAdapter:
        """As ``preprocessor_config.json`` says; ``input_size`` in place of its height."""
        height, width = _size(config, (384, 512))
        if input_size is not None:
            height, width = input_size, round(input_size * width / height)
        return cls(
            height,
            width,
            int(config.get("ensure_multiple_of", 32)),
            bool(config.get("keep_aspect_ratio", True)),
            bool(config.get("do_pad", True)),
            _Normalisation.of(config),
        )

    def prepare(self, frames: Tensor) -> Tensor:
        """As :class:`FrameAdapter` asks."""
        images = frames.float() / 255
        above, beside = self._padding(*frames.shape[-2:])
        images = functional.pad(images, (beside, beside, above, above), mode="reflect")
        height, width = images.shape[-2:]
        size = _fitted(height, width, self.height, self.width, self.multiple, self.keep_aspect)
        resized = functional.interpolate(images, size, mode="bilinear", align_corners=True)
        return self.normalise(resized)

    def finish(self, output: Any, height: int, width: int) -> FrameDepth:
        """As :class:`FrameAdapter` asks."""
        above, beside = self._padding(height, width)
        padded = (height + 2 * above, width + 2 * beside)
        depth = output.predicted_depth.float()[:, None]
        depth = functional.interpolate(depth, padded, mode="bicubic")[:, 0]
        return FrameDepth(depth[:, above : above + height, beside : beside + width])

    def _padding(self, height: int, width: int) -> tuple[int, int]:
        """Rows above and below, columns to both sides."""
        if not self.pad:
            return 0, 0
        return int(math.sqrt(height / 2) * 3), int(math.sqrt(width / 2) * 3)


@dataclass(frozen=True)
class DepthProAdapter:
    """Depth Pro: a square whatever the aspect, inverse depth over the field of view.

    The network gives inverse depth for a camera whose focal length is the image's width, and the
    field of view that tells the real one.
    """

    height: int
    width: int
    normalise: _Normalisation
    most_at_once: int | None = None

    @classmethod
    def of(cls, config: dict[str, Any], input_size: int | None) -> DepthProAdapter:
        """As ``preprocessor_config.json`` says; the size is fixed by the network."""
        if input_size is not None:
            raise KinedepthError("Depth Pro works at one size only; leave out the input size.")
        height, width = _size(config, (1536, 1536))
        return cls(height, width, _Normalisation.of(config))

    def prepare(self, frames: Tensor) -> Tensor:
        """As :class:`FrameAdapter` asks."""
        images = self.normalise(frames.float() / 255)
        return functional.interpolate(images, (self.height, self.width), mode="bilinear")

    def finish(self, output: Any, height: int, width: int) -> FrameDepth:
        """As :class:`FrameAdapter` asks."""
        degrees = output.field_of_view
        if degrees is None:
            raise KinedepthError(
                "These weights of Depth Pro come without the part that estimates the field of "
                "view, so that their depth has no unit; use the published ones."
            )
        degrees = degrees.float()
        inverse = output.predicted_depth.float()
        # Focal length in widths is 0.5 / tan(fov / 2).
        inverse = inverse * (2 * torch.tan(torch.deg2rad(degrees) / 2))[:, None, None]
        inverse = functional.interpolate(inverse[:, None], (height, width), mode="bilinear")
        return FrameDepth(1 / inverse[:, 0].clamp(1e-4, 1e4), degrees)


def _size(config: dict[str, Any], default: tuple[int, int]) -> tuple[int, int]:
    size = config.get("size", {})
    return int(size.get("height", default[0])), int(size.get("width", default[1]))


def _fitted(
    height: int, width: int, to_height: int, to_width: int, multiple: int, keep_aspect: bool
) -> tuple[int, int]:
    """Size of a frame after resizing: of two factors, the one nearer to 1 is for both sides."""
    by_height, by_width = to_height / height, to_width / width
    if keep_aspect:
        by_height = by_width = min(by_height, by_width, key=lambda factor: abs(1 - factor))
    rows = max(round(by_height * height / multiple), 1) * multiple
    columns = max(round(by_width * width / multiple), 1) * multiple
    return rows, columns
