"""Depth as a folder of OpenEXR files, without any loss."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kinedepth.errors import MissingExtraError
from kinedepth.exporting.depth_writer import DepthFolderWriter, DepthSettings


class ExrWriter(DepthFolderWriter):
    """``depth_exr/``: ``00000.exr`` and on, and ``depth.json``.

    One channel of 32-bit floats (16-bit ones with ``half``): ``Z``, OpenEXR's own name for
    depth, where larger is farther; ``disparity`` where larger is nearer. The attribute
    ``depthKind`` of each file tells its kind. Values are kept as they are, NaN included.
    """

    def __init__(self, folder: Path, settings: DepthSettings) -> None:
        self._openexr = _import_openexr()
        super().__init__(folder, settings)
        self.path = folder / "depth_exr"
        self.manifest = self._describe("exr")
        self._channel = "disparity" if settings.kind == "affine_invariant_disparity" else "Z"

    def write(
        self, index: int, image: NDArray[np.uint8] | None, depth: NDArray[np.float32]
    ) -> None:
        """Write one file."""
        header = {
            "compression": self._openexr.ZIP_COMPRESSION,
            "type": self._openexr.scanlineimage,
            "depthKind": self._settings.kind,
        }
        with np.errstate(over="ignore"):  # Beyond 65504, half floats say infinite.
            values = np.ascontiguousarray(
                depth, dtype=np.float16 if self._settings.half else np.float32
            )
        with self._openexr.File(header, {self._channel: values}) as file:
            file.write(str(self._file(index, ".exr")))


def _import_openexr() -> Any:
    try:
        import OpenEXR
    except ImportError:
        raise MissingExtraError("OpenEXR", "exr") from None
    return OpenEXR
