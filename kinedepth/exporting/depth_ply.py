"""Frames as coloured point clouds in binary PLY files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from kinedepth.errors import KinedepthError
from kinedepth.exporting.depth_colours import usable
from kinedepth.exporting.depth_writer import DepthFolderWriter, DepthSettings

_VERTEX = np.dtype(
    [(axis, "<f4") for axis in "xyz"] + [(colour, "u1") for colour in ("red", "green", "blue")]
)
_PLY_TYPES = {"<f4": "float", "|u1": "uchar"}


class PointCloudWriter(DepthFolderWriter):
    """``point_clouds/``: a ``.ply`` for each chosen frame, and ``depth.json``.

    Points are in the camera frame of their time: x right, y down, z forward; in metres where
    depth is metric, up to one scale otherwise. Pixels without a usable depth give no point.

    Raises:
        KinedepthError: if depth has a free shift, so that it has no shape in 3D; if the camera
            is not known; or if a chosen frame does not exist.
    """

    needs_images = True

    def __init__(self, folder: Path, settings: DepthSettings) -> None:
        camera = settings.intrinsics
        if settings.kind not in ("metric", "scale_invariant"):
            raise KinedepthError(
                f"Point clouds need depth in metres or known up to scale; {settings.kind} values "
                f"have no shape in 3D. Choose a metric model."
            )
        if camera is None:
            raise KinedepthError("Point clouds need the camera's intrinsics or field of view.")
        if (camera.width, camera.height) != (settings.width, settings.height):
            raise KinedepthError(
                f"The intrinsics are of {camera.width}x{camera.height} frames, the depth is "
                f"{settings.width}x{settings.height}."
            )
        self._chosen = frozenset(settings.point_cloud_frames)
        outside = [index for index in self._chosen if not 0 <= index < settings.frames]
        if outside:
            raise KinedepthError(
                f"A point cloud of frame {min(outside)} was asked for, but the frames are 0 to "
                f"{settings.frames - 1}."
            )
        super().__init__(folder, settings)
        self.path = folder / "point_clouds"
        self.manifest = self._describe("ply", frames=len(self._chosen))
        column, row = np.meshgrid(np.arange(settings.width), np.arange(settings.height))
        self._pixels = np.stack([column, row], axis=-1).astype(np.float32) + np.float32(0.5)

    def write(
        self, index: int, image: NDArray[np.uint8] | None, depth: NDArray[np.float32]
    ) -> None:
        """Write the frame's file, if it is a chosen one."""
        if index not in self._chosen:
            return
        assert image is not None
        assert self._settings.intrinsics is not None
        known = usable(depth, self._settings.kind)
        points = self._settings.intrinsics.unproject(self._pixels[known], depth[known])
        vertices = np.empty(len(points), dtype=_VERTEX)
        for column, axis in enumerate("xyz"):
            vertices[axis] = points[:, column]
        for column, colour in enumerate(("red", "green", "blue")):
            vertices[colour] = image[known][:, column]
        path = self._file(index, ".ply")
        path.write_bytes(_header(len(vertices)) + vertices.tobytes())


def _header(count: int) -> bytes:
    lines = ["ply", "format binary_little_endian 1.0", f"element vertex {count}"]
    lines += [f"property {_PLY_TYPES[_VERTEX[name].str]} {name}" for name in _VERTEX.names or ()]
    return ("\n".join([*lines, "end_header"]) + "\n").encode("ascii")
