"""Frames that are stored as encoded images: a folder of files, or the JPEGs of a TAPVid-3D clip."""

from __future__ import annotations

import glob
import re
from collections.abc import Callable, Sequence
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from kinedepth._frame_source import ASSUMED_FPS, Frames, check_frame_size
from kinedepth._image_size import encoded_size
from kinedepth._safe_npz import load_tapvid3d
from kinedepth.camera import Intrinsics
from kinedepth.errors import KinedepthError

IMAGE_SUFFIXES = {".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff", ".ppm", ".pgm"}
"""File names taken for images, in lower case."""


class ImageSource:
    """A sequence of encoded images of one size.

    Only the first image is decoded up front; one that cannot be read, or whose size differs,
    is reported when its turn comes.

    Args:
        name: short name of the sequence.
        label: what to call the sequence in an error.
        labels: what to call each image in an error, e.g. its path.
        load: gives the encoded bytes of the image at an index.
    """

    def __init__(
        self, name: str, label: str, labels: Sequence[str], load: Callable[[int], bytes]
    ) -> None:
        self.name = name
        self.label = label
        self.intrinsics: Intrinsics | None = None
        self.times = np.arange(len(labels)) / ASSUMED_FPS
        self._labels = labels
        self._load = load
        self.height, self.width = self._decode(0).shape[:2]

    def read(self, indices: range) -> Frames:
        """Yield the frames ``(H, W, 3)`` uint8 RGB at ``indices``."""
        for index in indices:
            image = self._decode(index)
            height, width = image.shape[:2]
            if (width, height) != (self.width, self.height):
                raise KinedepthError(
                    f"{self._labels[index]} is {width}x{height} but {self._labels[0]} is "
                    f"{self.width}x{self.height}; all frames need one size."
                )
            yield image

    def _decode(self, index: int) -> NDArray[np.uint8]:
        label = self._labels[index]
        try:
            encoded = self._load(index)
        except OSError as error:
            raise KinedepthError(f"{label} cannot be read ({error.strerror}).") from error
        image = None
        if encoded:
            check_frame_size(label, *(encoded_size(encoded) or (0, 0)))
            try:
                image = cv2.imdecode(np.frombuffer(encoded, np.uint8), cv2.IMREAD_COLOR)
            except cv2.error:
                image = None
        if image is None:
            raise KinedepthError(
                f"{label} is not an image that can be decoded; replace it or leave it out."
            )
        return np.asarray(cv2.cvtColor(image, cv2.COLOR_BGR2RGB), dtype=np.uint8)


def open_folder(folder: Path) -> ImageSource:
    """All images of ``folder``, in natural order of their names (``2.png`` before ``10.png``)."""
    try:
        paths = [path for path in folder.iterdir() if _is_image(path)]
    except OSError as error:
        raise KinedepthError(f"{folder} cannot be read ({error.strerror}).") from error
    if not paths:
        raise KinedepthError(
            f"{folder} holds no images; give the folder that directly holds the frames as "
            f"{_suffix_list()} files."
        )
    return _image_files(folder.resolve().name, str(folder), paths)


def open_glob(pattern: str) -> ImageSource:
    """All images that match a pattern such as ``dir/*.png``, in natural order."""
    paths = [path for path in map(Path, glob.glob(pattern, recursive=True)) if _is_image(path)]
    if not paths:
        raise KinedepthError(f"{pattern} matches no images ({_suffix_list()}); check the pattern.")
    return _image_files(paths[0].parent.resolve().name, pattern, paths)


def open_tapvid3d(path: Path) -> ImageSource:
    """The frames of a TAPVid-3D ``.npz``, with the intrinsics it stores."""
    clip = load_tapvid3d(path)
    images = clip["images_jpeg_bytes"]
    labels = [f"Frame {index} of {path}" for index in range(len(images))]
    source = ImageSource(path.stem, str(path), labels, lambda index: images[index])
    fx, fy, cx, cy = (float(value) for value in clip["fx_fy_cx_cy"])
    source.intrinsics = Intrinsics(fx, fy, cx, cy, source.width, source.height)
    return source


def _image_files(name: str, label: str, paths: list[Path]) -> ImageSource:
    paths = sorted(paths, key=_natural_key)
    labels = [str(path) for path in paths]
    return ImageSource(name, label, labels, lambda index: paths[index].read_bytes())


def _is_image(path: Path) -> bool:
    hidden = path.name.startswith(".")  # macOS leaves "._name.png" files that are no images.
    return path.suffix.lower() in IMAGE_SUFFIXES and not hidden and path.is_file()


def _natural_key(path: Path) -> list[tuple[int, int, str]]:
    pieces = re.split(r"(\d+)", str(path))
    return [(0, int(piece), piece) if piece.isdecimal() else (1, 0, piece) for piece in pieces]


def _suffix_list() -> str:
    return ", ".join(sorted(suffix[1:] for suffix in IMAGE_SUFFIXES))
