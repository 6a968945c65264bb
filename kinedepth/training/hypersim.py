"""Hypersim (Roberts et al., 2021) as footage: renderings of rooms, taken as single images.

    ROOT/ai_001_001/images/scene_cam_00_final_preview/frame.0000.tonemap.jpg
    ROOT/ai_001_001/images/scene_cam_00_geometry_hdf5/frame.0000.depth_meters.hdf5

The files store the length of each pixel's ray in metres, not z-depth, and NaN where there is
nothing. Neighbouring images of a camera are far apart, so they make no video. A field of view of
60 degrees is taken for all, as the data set's own text does for its conversion; a few scenes have
shifted lenses.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from kinedepth.errors import KinedepthError, MissingExtraError
from kinedepth.evaluation.depth_truth import CameraPath
from kinedepth.training._reading import disparity_of, read_image

FIELD_OF_VIEW = 60.0
"""Degrees across the width: 886.81 pixels at a width of 1024."""

_IMAGE_END, _DEPTH_END = ".tonemap.jpg", ".depth_meters.hdf5"


@dataclass(frozen=True)
class HypersimCamera:
    """The images of one camera of a scene.

    Attributes:
        name: scene and camera.
        size: rows and columns.
        images, depths: files, in order.
    """

    name: str
    size: tuple[int, int]
    images: list[Path]
    depths: list[Path]
    stills: bool = True
    static: bool = True
    cameras: CameraPath | None = None

    def __len__(self) -> int:
        return len(self.images)

    def read(self, frame: int) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
        """As of ``Footage``."""
        image, length = read_image(self.images[frame]), read_ray_length(self.depths[frame])
        if image.shape[:2] != self.size or length.shape != self.size:
            raise KinedepthError(
                f"{self.images[frame]} is {image.shape[:2]} and its depth {length.shape}, but "
                f"{self.name} is {self.size}; unpack the scene anew."
            )
        return image, disparity_of(ray_length_to_depth(length))


def find_hypersim(root: str | Path) -> list[HypersimCamera]:
    """All cameras of all scenes below a folder, by name; images without depth are left out.

    Raises:
        KinedepthError: if there is none.
    """
    root = Path(root)
    if not root.is_dir():
        raise KinedepthError(f"There is no folder {root} with Hypersim.")
    found = []
    for folder in sorted(root.rglob("scene_*_final_preview")):
        geometry = folder.with_name(folder.name.replace("final_preview", "geometry_hdf5"))
        pairs = [
            (image, depth)
            for image in sorted(folder.glob(f"frame.*{_IMAGE_END}"))
            if (depth := geometry / image.name.replace(_IMAGE_END, _DEPTH_END)).is_file()
        ]
        if pairs:
            images, depths = map(list, zip(*pairs, strict=True))
            scene = folder.parents[1].name
            name = f"{scene} {folder.name.removesuffix('_final_preview')}"
            found.append(HypersimCamera(name, read_image(images[0]).shape[:2], images, depths))
    if not found:
        raise KinedepthError(
            f"{root} holds no images of Hypersim with depth (scene_cam_00_final_preview/"
            f"frame.0000{_IMAGE_END} and scene_cam_00_geometry_hdf5/frame.0000{_DEPTH_END})."
        )
    return found


def ray_length_to_depth(length: NDArray[np.floating]) -> NDArray[np.float32]:
    """Depth ``(H, W)`` along the optical axis of lengths ``(H, W)`` of the pixels' rays."""
    height, width = length.shape
    focal = width / 2 / np.tan(np.radians(FIELD_OF_VIEW) / 2)
    x = (np.arange(width) + 0.5 - width / 2) / focal
    y = (np.arange(height) + 0.5 - height / 2) / focal
    return (length / np.sqrt(1 + x**2 + y[:, None] ** 2)).astype(np.float32)


def read_ray_length(path: Path) -> NDArray[np.floating]:
    """``(H, W)`` metres as stored.

    Raises:
        KinedepthError: if h5py is not installed, or the file is damaged.
    """
    try:
        import h5py
    except ImportError:
        raise MissingExtraError("h5py, which reads Hypersim's depth,", "hypersim") from None
    try:
        with h5py.File(path, "r") as file:
            length = np.asarray(file["dataset"])
    except (OSError, KeyError) as error:
        raise KinedepthError(f"{path} is not readable depth ({error}).") from None
    if length.ndim != 2:
        raise KinedepthError(f"{path} has to hold (H, W); got {length.shape}.")
    return length
