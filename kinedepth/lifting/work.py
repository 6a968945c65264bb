"""What a lift has found so far: arrays in memory, or in a folder that outlives the process."""

from __future__ import annotations

import contextlib
import json
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import DTypeLike, NDArray

from kinedepth.errors import KinedepthError
from kinedepth.exporting.atomic import atomic_path, file_in, sync_file
from kinedepth.exporting.working_folder import make_working_folder, why_unreadable
from kinedepth.rows import Rows, RowsInMemory, RowsOnDisk

_MANIFEST = "manifest.json"
_FORMAT = "kinedepth lift 1"


class LiftWork(Protocol):
    """Arrays that the stages of a lift fill in, and how far each stage is."""

    def rows(self, name: str, shape: tuple[int, ...], dtype: DTypeLike) -> Rows:
        """The array of this name: the one that is there, or a new one of zeros."""
        ...

    def done(self, stage: str) -> int:
        """How much of a stage is safe; 0 where it has not begun."""
        ...

    def state(self, stage: str) -> dict[str, NDArray] | None:
        """What the stage needs besides to go on; None where it left nothing."""
        ...

    def checkpoint(
        self, stage: str, done: int, state: Callable[[], Mapping[str, NDArray]] | None = None
    ) -> None:
        """Make safe what the arrays hold, and note that ``done`` of a stage is done.

        Args:
            stage: its name.
            done: how much.
            state: gives what is needed to go on from there; asked only where it is kept.
        """
        ...


class WorkInMemory:
    """Everything in memory; gone with the process."""

    def __init__(self) -> None:
        self._rows: dict[str, RowsInMemory] = {}

    def rows(self, name: str, shape: tuple[int, ...], dtype: DTypeLike) -> Rows:
        """As of :class:`LiftWork`."""
        if name not in self._rows:
            self._rows[name] = RowsInMemory(shape, dtype)
        return self._rows[name]

    def done(self, stage: str) -> int:
        """Nothing is ever gone on with."""
        return 0

    def state(self, stage: str) -> dict[str, NDArray] | None:
        """Nothing is kept."""
        return None

    def checkpoint(
        self, stage: str, done: int, state: Callable[[], Mapping[str, NDArray]] | None = None
    ) -> None:
        """Nothing to do."""


class WorkOnDisk:
    """Arrays in files of one folder, and a manifest that says how much of them is true.

    What a checkpoint vouches for has reached the disk before the manifest says so. What was
    written after it is written again, with the same values, when the lift goes on.

    ::

        with WorkOnDisk.create(folder, header) as work:
            ...

    Args:
        folder: where the files lie.
        manifest: as :meth:`create` and :meth:`open` make it.
    """

    def __init__(self, folder: Path, manifest: dict[str, Any]) -> None:
        self.folder = folder
        self.header: dict[str, Any] = manifest["header"]
        self._stages: dict[str, dict[str, Any]] = manifest["stages"]
        self._shapes: dict[str, list[Any]] = manifest["arrays"]
        self._rows: dict[str, RowsOnDisk] = {}

    @classmethod
    def create(cls, folder: Path, header: Mapping[str, Any]) -> WorkOnDisk:
        """An empty one; what an earlier run left in ``folder`` is lost.

        Raises:
            KinedepthError: the folder cannot be made, or the disk is full.
        """
        make_working_folder(folder, "the work to come")
        work = cls(folder, {"header": dict(header), "stages": {}, "arrays": {}})
        work._write_manifest({})
        # As JSON gives it back, so that a header compares equal with one that was read.
        return cls.open(folder)

    @classmethod
    def open(cls, folder: Path) -> WorkOnDisk:
        """The one that an earlier run left in ``folder``.

        Raises:
            KinedepthError: it cannot be read, or a file is missing or damaged.
        """
        try:
            manifest = json.loads((folder / _MANIFEST).read_text(encoding="utf-8"))
            if manifest["format"] != _FORMAT:
                raise KinedepthError(f"{folder} was written by another version; begin anew.")
            work = cls(folder, manifest)
            for name, (shape, dtype) in work._shapes.items():
                work._rows[name] = RowsOnDisk(work._path(name), tuple(shape), dtype, opened=True)
            for stage in work._stages.values():
                if stage["state"] is not None:
                    file_in(folder, stage["state"])
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise KinedepthError(
                f"The unfinished run in {folder} cannot be read ({why_unreadable(error)}); begin "
                f"anew with --overwrite."
            ) from error
        return work

    @staticmethod
    def is_at(folder: Path) -> bool:
        """Whether ``folder`` holds an unfinished run."""
        return (folder / _MANIFEST).is_file()

    def __enter__(self) -> WorkOnDisk:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def rows(self, name: str, shape: tuple[int, ...], dtype: DTypeLike) -> Rows:
        """As of :class:`LiftWork`.

        Raises:
            KinedepthError: the file cannot be made or read, or the disk is full.
        """
        wanted = [list(shape), np.dtype(dtype).str]
        if self._shapes.get(name) != wanted:
            self._rows[name] = RowsOnDisk(self._path(name), shape, dtype)
            self._shapes[name] = wanted
        return self._rows[name]

    def done(self, stage: str) -> int:
        """As of :class:`LiftWork`."""
        return int(self._stages.get(stage, {}).get("done", 0))

    @property
    def has_begun(self) -> bool:
        """Whether there is anything to go on with."""
        return bool(self._stages)

    def state(self, stage: str) -> dict[str, NDArray] | None:
        """As of :class:`LiftWork`.

        Raises:
            KinedepthError: if it cannot be read.
        """
        name = self._stages.get(stage, {}).get("state")
        if name is None:
            return None
        path = self.folder / name
        try:
            with np.load(path, allow_pickle=False) as arrays:
                return dict(arrays)
        except (OSError, ValueError, EOFError) as error:
            raise KinedepthError(
                f"{path} cannot be read ({error}); begin anew with --overwrite."
            ) from error

    def checkpoint(
        self, stage: str, done: int, state: Callable[[], Mapping[str, NDArray]] | None = None
    ) -> None:
        """As of :class:`LiftWork`.

        Raises:
            KinedepthError: the disk is full; what was safe before stays so.
        """
        for rows in self._rows.values():
            rows.sync()
        before = self._stages.get(stage, {}).get("state")
        name = None
        if state is not None:
            name = f"{stage}-{done:08d}.npz"
            with atomic_path(self.folder / name) as temporary:
                arrays: dict[str, Any] = dict(state())
                np.savez(temporary, **arrays)
                sync_file(temporary)
        self._write_manifest({**self._stages, stage: {"done": done, "state": name}})
        if before not in (None, name):
            with contextlib.suppress(OSError):
                (self.folder / before).unlink()

    def close(self) -> None:
        """Let go of the files, which stay."""
        for rows in self._rows.values():
            rows.close()

    def remove(self) -> None:
        """Remove the folder with everything in it."""
        self.close()
        # Without its manifest, what is left of a removal that was cut short is no run.
        (self.folder / _MANIFEST).unlink(missing_ok=True)
        shutil.rmtree(self.folder, ignore_errors=True)

    def _path(self, name: str) -> Path:
        return file_in(self.folder, f"{name}.npy")

    def _write_manifest(self, stages: dict[str, dict[str, Any]]) -> None:
        manifest = {
            "format": _FORMAT,
            "header": self.header,
            "stages": stages,
            "arrays": self._shapes,
        }
        with atomic_path(self.folder / _MANIFEST) as temporary:
            temporary.write_text(json.dumps(manifest, indent=1), encoding="utf-8")
            sync_file(temporary)
        self._stages = stages
