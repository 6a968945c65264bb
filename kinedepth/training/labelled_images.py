"""Single images and the disparity that a teacher sees in them (Section 3.3 of the paper).

Stills show more of the world than any video with depth does. A teacher, a model of single
images, labels them once; the labels are kept in a file beside each image.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from kinedepth.dense.base import DepthModel
from kinedepth.dense.video_depth_anything.preprocessing import normalise
from kinedepth.errors import KinedepthError
from kinedepth.exporting.atomic import atomic_path
from kinedepth.training._reading import read_image
from kinedepth.video import Video

IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".webp")

Teacher = Callable[[NDArray[np.uint8]], NDArray[np.float32]]
"""An image ``(H, W, 3)`` uint8 RGB to its disparity ``(H, W)``, up to a scale and a shift."""

_LABEL_SUFFIX = "_disparity.npy"


@dataclass(frozen=True)
class LabelledImages:
    """Images and where their labels are.

    Attributes:
        images: paths, in order.
        labels: of the same length, ``.npy`` files of disparity ``(H, W)``; 0 or NaN where the
            teacher does not know.
        sizes: rows and columns of each.
    """

    images: Sequence[Path]
    labels: Sequence[Path]
    sizes: Sequence[tuple[int, int]]

    def __len__(self) -> int:
        return len(self.images)

    def check_crop(self, size: int) -> None:
        """Raise unless crops of ``size`` pixels a side fit into every image.

        Raises:
            KinedepthError: if one is too small.
        """
        for image, sides in zip(self.images, self.sizes, strict=True):
            if min(sides) < size:
                raise KinedepthError(
                    f"{image} is {sides[1]}x{sides[0]} pixels, too small for crops of "
                    f"{size}x{size}; remove it or ask for a smaller size."
                )


@dataclass(frozen=True)
class ImageBatch:
    """N crops.

    Attributes:
        frames: ``(N, 3, h, w)`` float32, normalised.
        label: ``(N, h, w)`` float32, 0 where the teacher does not know.
        mask: ``(N, h, w)`` bool.
    """

    frames: Tensor
    label: Tensor
    mask: Tensor


def find_labelled_images(folder: str | Path) -> LabelledImages:
    """Images ``NAME.png`` (or jpg, webp) of a folder with ``NAME_disparity.npy`` beside them.

    Raises:
        KinedepthError: if there is no such folder, no image in it, or an image lacks its label.
    """
    images = _images_in(folder)
    labels = [_label_of(image) for image in images]
    sizes = []
    for image, label in zip(images, labels, strict=True):
        if not label.is_file():
            raise KinedepthError(
                f"{image} has no label {label.name} beside it; name a --teacher that makes them."
            )
        # Of the label, whose header is quick to read; images are compared as they are drawn.
        sizes.append(_load_label(label).shape)
    return LabelledImages(images, labels, sizes)


def label_images(
    folder: str | Path,
    teacher: Teacher,
    progress: Callable[[int, int], None] | None = None,
) -> LabelledImages:
    """Let the teacher label what has no label yet; labels stay in the folder.

    Args:
        folder: of images.
        teacher: any function of an image; see :func:`teacher_of` for a depth model.
        progress: called with the number of images done and the number in all.

    Raises:
        KinedepthError: as :func:`find_labelled_images`, or if the teacher gives something of
            another shape.
    """
    images = _images_in(folder)
    for index, image in enumerate(images):
        label = _label_of(image)
        if not label.is_file():
            rgb = read_image(image)
            disparity = np.asarray(teacher(rgb), np.float32)
            if disparity.shape != rgb.shape[:2]:
                raise KinedepthError(
                    f"The teacher gave disparity of shape {disparity.shape} for {image}, which "
                    f"is {rgb.shape[:2]}."
                )
            with atomic_path(label) as path:
                np.save(path, disparity)
        if progress is not None:
            progress(index + 1, len(images))
    return find_labelled_images(folder)


def teacher_of(model: DepthModel) -> Teacher:
    """A model of dense depth as a teacher: each image is shown to it on its own.

    Raises:
        KinedepthError: if the model gives depth up to a shift, which has no disparity.
    """
    if model.kind == "affine_invariant":
        raise KinedepthError(
            f"{model.name} gives depth up to a shift, from which no disparity follows; choose a "
            f"teacher that gives disparity or depth up to a scale."
        )

    def teach(image: NDArray[np.uint8]) -> NDArray[np.float32]:
        prediction = next(iter(model.predict(Video.from_array(image[None], fewest=1))))
        if model.kind == "affine_invariant_disparity":
            return prediction
        with np.errstate(divide="ignore"):
            disparity = 1 / prediction
        return np.where(prediction > 0, disparity, np.nan).astype(np.float32)

    return teach


def sample_images(
    generator: torch.Generator, images: LabelledImages, batch: int, size: int
) -> ImageBatch:
    """Draw ``batch`` crops, each mirrored or not, onto the generator's device.

    Raises:
        KinedepthError: if an image cannot be read or its label is of another size.
    """
    frames, labels, masks = [], [], []
    for _ in range(batch):
        index = _draw(generator, len(images))
        top, left = (_draw(generator, side - size + 1) for side in images.sizes[index])
        area = (slice(top, top + size), slice(left, left + size))
        rgb, label = _read_pair(images.images[index], images.labels[index])
        rgb, label = rgb[area], label[area]
        if _draw(generator, 2):
            rgb, label = rgb[:, ::-1], label[:, ::-1]
        mask = np.isfinite(label) & (label > 0)
        frames.append(np.ascontiguousarray(normalise(rgb).transpose(2, 0, 1)))
        labels.append(np.where(mask, label, 0).astype(np.float32))
        masks.append(mask)
    stacked = (torch.from_numpy(np.stack(x)).to(generator.device) for x in (frames, labels, masks))
    return ImageBatch(*stacked)


def _images_in(folder: str | Path) -> list[Path]:
    folder = Path(folder)
    if not folder.is_dir():
        raise KinedepthError(f"There is no folder {folder} of images.")
    images = sorted(p for p in folder.iterdir() if p.suffix.lower() in IMAGE_SUFFIXES)
    if not images:
        raise KinedepthError(f"{folder} holds no images ({', '.join(IMAGE_SUFFIXES)}).")
    return images


def _label_of(image: Path) -> Path:
    return image.with_name(image.stem + _LABEL_SUFFIX)


def _read_pair(image: Path, label: Path) -> tuple[NDArray[np.uint8], NDArray[np.floating]]:
    rgb, disparity = read_image(image), _load_label(label)
    if disparity.shape != rgb.shape[:2]:
        raise KinedepthError(
            f"{label} has shape {disparity.shape}, but its image {rgb.shape[:2]}; remove it to "
            f"have it made again."
        )
    return rgb, disparity


def _load_label(path: Path) -> NDArray[np.floating]:
    try:
        label = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise KinedepthError(
            f"{path} is not a readable label ({error}); remove it to have it made again."
        ) from None
    if label.ndim != 2 or label.dtype.kind != "f":
        raise KinedepthError(f"{path} has to be (H, W) of floats; got {label.shape} {label.dtype}.")
    return label


def _draw(generator: torch.Generator, below: int) -> int:
    return int(torch.randint(below, (), generator=generator, device=generator.device))
