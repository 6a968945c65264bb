"""Arrays read and written a few rows at a time: in memory, or in a file where they are too long.

A file is read and written, not mapped: pages of a mapped file count as the process's memory.
"""

from __future__ import annotations

import io
import math
import os
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.lib import format as npy_format
from numpy.typing import DTypeLike, NDArray

from kinedepth.errors import KinedepthError
from kinedepth.exporting.atomic import disk_is_full


class Rows(Protocol):
    """An array of known shape whose rows, along the first axis, are read and written.

    Attributes:
        shape: of the whole array.
        dtype: of its values.
    """

    shape: tuple[int, ...]
    dtype: np.dtype

    def read(self, rows: range) -> NDArray:
        """The rows at ``rows``, ascending; zero where nothing has been written.

        What comes back may share the array's memory: do not change it.
        """
        ...

    def write(self, start: int, values: NDArray) -> None:
        """Put ``values (R, ...)`` in the place of R rows from ``start`` on."""
        ...

    def sync(self) -> None:
        """Return once what was written would survive a power cut."""
        ...

    def close(self) -> None:
        """Let go of the file, if there is one."""
        ...


class RowsInMemory:
    """Rows of an array that simply lies in memory."""

    def __init__(self, shape: tuple[int, ...], dtype: DTypeLike) -> None:
        self.array = np.zeros(shape, dtype)
        self.shape, self.dtype = self.array.shape, self.array.dtype

    def read(self, rows: range) -> NDArray:
        """As of :class:`Rows`: a view."""
        return self.array[rows.start : rows.stop : rows.step]

    def write(self, start: int, values: NDArray) -> None:
        """As of :class:`Rows`."""
        self.array[start : start + len(values)] = values

    def sync(self) -> None:
        """Nothing to do."""

    def close(self) -> None:
        """Nothing to do."""


class RowsOnDisk:
    """Rows of an array in a ``.npy`` file, which takes disk space only where it was written.

    Args:
        path: the file; made anew unless ``opened``.
        shape, dtype: of the array.
        opened: take the file that is there.

    Raises:
        KinedepthError: the file cannot be made, read or written, is of another shape, or the
            disk is full.
    """

    def __init__(
        self, path: Path, shape: tuple[int, ...], dtype: DTypeLike, opened: bool = False
    ) -> None:
        self.path = path
        self.shape = shape
        self.dtype = np.dtype(dtype)
        self._row_bytes = math.prod(shape[1:]) * self.dtype.itemsize
        header = npy_header(shape, self.dtype)
        self._offset = len(header)
        size = self._offset + shape[0] * self._row_bytes
        try:
            self._file = open(path, "r+b" if opened else "w+b", buffering=0)  # noqa: SIM115
        except OSError as error:
            raise self._told(error) from error
        try:
            if not opened:
                self._file.write(header)
                self._file.truncate(size)
            elif self._file.read(len(header)) != header or path.stat().st_size != size:
                raise KinedepthError(f"{path} is not what an earlier run should have left.")
        except BaseException as error:
            self._file.close()
            if isinstance(error, OSError):
                raise self._told(error) from error
            raise

    def read(self, rows: range) -> NDArray:
        """As of :class:`Rows`: a new array."""
        values = np.empty((len(rows), *self.shape[1:]), self.dtype)
        # Neighbouring rows in one go; others one by one.
        whole = rows.step == 1
        parts = [(rows.start, values)] if whole else zip(rows, values, strict=True)
        try:
            for start, part in parts:
                self._file.seek(self._offset + start * self._row_bytes)
                if part.size and self._file.readinto(part.data.cast("B")) != part.nbytes:
                    raise KinedepthError(f"{self.path} ended before it should; begin anew.")
        except OSError as error:
            raise self._told(error) from error
        return values

    def write(self, start: int, values: NDArray) -> None:
        """As of :class:`Rows`."""
        part = np.ascontiguousarray(values, self.dtype)
        if not part.size:
            return
        try:
            self._file.seek(self._offset + start * self._row_bytes)
            left = part.data.cast("B")
            while left:
                left = left[self._file.write(left) :]
        except OSError as error:
            raise self._told(error) from error

    def sync(self) -> None:
        """As of :class:`Rows`."""
        try:
            os.fsync(self._file.fileno())
        except OSError as error:
            raise self._told(error) from error

    def close(self) -> None:
        """As of :class:`Rows`."""
        self._file.close()

    def _told(self, error: OSError) -> KinedepthError:
        if disk_is_full(error):
            return KinedepthError(f"No space left on the disk while writing {self.path}.")
        return KinedepthError(f"{self.path} cannot be used ({error.strerror}).")


def read_at(rows: Rows, frame: NDArray[np.int64]) -> NDArray:
    """Of each track the value at a frame of its own, ``(N, ...)``.

    Args:
        rows: ``(T, N, ...)``.
        frame: ``(N,)``.
    """
    values = np.empty(rows.shape[1:], rows.dtype)
    for each in np.unique(frame):
        here = frame == each
        values[here] = rows.read(range(int(each), int(each) + 1))[0][here]
    return values


def npy_header(shape: tuple[int, ...], dtype: np.dtype) -> bytes:
    """What a ``.npy`` file of an array begins with."""
    buffer = io.BytesIO()
    description = npy_format.dtype_to_descr(dtype)
    npy_format.write_array_header_1_0(
        buffer, {"descr": description, "fortran_order": False, "shape": shape}
    )
    return buffer.getvalue()
