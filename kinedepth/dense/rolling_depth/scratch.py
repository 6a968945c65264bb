"""Arrays of a run's own: in memory while they are few, in a temporary file when they are many."""

from __future__ import annotations

import math
import tempfile
from collections.abc import Iterable
from types import TracebackType
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from kinedepth._frame_store import LARGEST_IN_MEMORY
from kinedepth.errors import KinedepthError


class ScratchArrays:
    """``count`` float32 arrays of one ``shape``, at first 0, by their index.

    Args:
        count: how many.
        shape: of each.
        largest_in_memory: bytes up to which all are kept in memory.
    """

    def __init__(
        self, count: int, shape: tuple[int, ...], largest_in_memory: int = LARGEST_IN_MEMORY
    ) -> None:
        self.count, self.shape = count, shape
        self._bytes = 4 * math.prod(shape)
        self._array: NDArray[np.float32] | None = None
        self._file: IO[bytes] | None = None
        if count * self._bytes <= largest_in_memory:
            self._array = np.zeros((count, *shape), np.float32)
            return
        self._file = tempfile.TemporaryFile(prefix="kinedepth-")  # noqa: SIM115  # See close().
        self._file.truncate(count * self._bytes)  # What was not written reads as 0.

    def __enter__(self) -> ScratchArrays:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Give back the memory or the disk."""
        self._array = None
        if self._file is not None:
            self._file.close()

    def write(self, indices: Iterable[int], values: NDArray[np.float32]) -> None:
        """Set the arrays at ``indices`` to ``values (B, *shape)``.

        Raises:
            KinedepthError: there is no room for the temporary file.
        """
        for index, value in zip(indices, values, strict=True):
            if self._array is not None:
                self._array[index] = value
            else:
                self._write_to_file(index, value)

    def add(self, indices: Iterable[int], values: NDArray[np.float32]) -> None:
        """Add ``values (B, *shape)`` to the arrays at ``indices``, which may repeat."""
        for index, value in zip(indices, values, strict=True):
            self.write([index], self.read([index]) + value)

    def read(self, indices: Iterable[int]) -> NDArray[np.float32]:
        """Copies ``(B, *shape)`` of the arrays at ``indices``."""
        wanted = [int(index) for index in indices]
        if self._array is not None:
            return self._array[wanted]
        read = np.empty((len(wanted), *self.shape), np.float32)
        for position, index in enumerate(wanted):
            self._at(index).readinto(memoryview(read[position]).cast("B"))
        return read

    def _at(self, index: int) -> Any:
        assert self._file is not None
        self._file.seek(int(index) * self._bytes)
        return self._file

    def _write_to_file(self, index: int, value: NDArray[np.float32]) -> None:
        # Written, not filled through a map: a full disk then is an error and not a crash.
        try:
            self._at(index).write(np.ascontiguousarray(value, np.float32).data)
            self._at(index)  # Flushes what is buffered.
        except OSError as error:
            raise KinedepthError(
                f"A temporary file of {self.count * self._bytes / 1e9:.1f} GB in "
                f"{tempfile.gettempdir()} cannot be written ({error.strerror}); set TMPDIR to a "
                f"folder with more space."
            ) from error
