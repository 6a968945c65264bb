"""Depth as one ``.npz``, written frame by frame."""

from __future__ import annotations

import contextlib
import zipfile
from pathlib import Path
from typing import IO

import numpy as np
from numpy.lib import format as npy_format
from numpy.typing import NDArray

from kinedepth.exporting.atomic import atomic_path
from kinedepth.exporting.depth_writer import DepthSettings, DepthWriter
from kinedepth.rows import npy_header

_ALIGNMENT = 64
"""Bytes; the values start at a multiple of it in the file, so that they can be memory-mapped."""


class NpzWriter(DepthWriter):
    """``depth.npz``: ``depth (T, H, W)`` float32 (or float16), ``kind``, ``fps``, ``per_frame``.

    Not compressed: float depth shrinks by little, and an array that lies plainly in the archive
    can be memory-mapped by ``kinedepth.depth_files``. Values are kept as they are, NaN included.
    """

    def __init__(self, folder: Path, settings: DepthSettings) -> None:
        super().__init__(folder, settings)
        self.path = folder / "depth.npz"
        self._type = np.dtype(np.float16 if settings.half else np.float32)
        self._member: IO[bytes]

    def _open(self, stack: contextlib.ExitStack) -> None:
        settings = self._settings
        temporary = stack.enter_context(atomic_path(self.path))
        archive = stack.enter_context(zipfile.ZipFile(temporary, "w", zipfile.ZIP_STORED))
        for name, value in (
            ("kind", np.array(settings.kind)),
            ("fps", np.array(settings.fps, dtype=np.float64)),
            ("per_frame", np.array(settings.per_frame)),
        ):
            with archive.open(f"{name}.npy", "w") as member:
                npy_format.write_array(member, value, allow_pickle=False)
        # The size may pass 4 GiB, which has to be said before the first byte: zip64.
        self._member = stack.enter_context(archive.open("depth.npy", "w", force_zip64=True))
        shape = (settings.frames, settings.height, settings.width)
        assert archive.fp is not None
        self._member.write(_aligned_header(shape, self._type, archive.fp.tell()))

    def write(
        self, index: int, image: NDArray[np.uint8] | None, depth: NDArray[np.float32]
    ) -> None:
        """Append the depth of a frame."""
        with np.errstate(over="ignore"):  # Beyond 65504, float16 says infinite.
            values = np.ascontiguousarray(depth, dtype=self._type)
        self._member.write(values.tobytes())


def _aligned_header(shape: tuple[int, ...], dtype: np.dtype, start: int) -> bytes:
    """Header of a ``.npy`` that begins at byte ``start`` of a file, values after it aligned."""
    header = npy_header(shape, dtype)
    # The text of a header ends with blanks and a line feed; its length is in bytes 8 and 9.
    padding = -(start + len(header)) % _ALIGNMENT
    text = header[10:-1] + b" " * padding + b"\n"
    return header[:8] + len(text).to_bytes(2, "little") + text
