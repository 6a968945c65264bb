"""Depth of a video in the making: chunks on disk, and what is needed to go on after them.

A folder with

- ``manifest.json``: what is being made, and which chunks are complete;
- ``depth-NNNNNN.npy``: chunks ``(B, H, W)`` float32, named after their first frame;
- ``state-NNNNNN.npz``: what the model needs to go on with frame N.

Chunk and state are on the disk before the manifest names them, and each file takes its place
whole. So whatever ends a run, a crash or a full disk, the folder is valid as it was after the
last complete chunk.
"""

from __future__ import annotations

import contextlib
import json
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kinedepth.errors import KinedepthError
from kinedepth.exporting.atomic import atomic_path, file_in, sync_file
from kinedepth.exporting.working_folder import make_working_folder, why_unreadable

_MANIFEST = "manifest.json"
_FORMAT = 1


class DepthStore:
    """The frames of a video that are done so far.

    Attributes:
        folder: where they lie.
        header: what is being made, in plain values (as JSON has them).
        height, width: of a frame.
        frames_done: how many frames are complete; they are the first ones.
        seconds: what they took.
    """

    def __init__(self, folder: Path, manifest: dict[str, Any]) -> None:
        """For :meth:`create` and :meth:`open`."""
        self.folder = folder
        self.header: dict[str, Any] = manifest["header"]
        self.height, self.width = (int(side) for side in manifest["size"])
        self._chunks: list[dict[str, Any]] = manifest["chunks"]
        self._state_name: str | None = manifest["state"]

    @classmethod
    def create(cls, folder: Path, header: Mapping[str, Any], height: int, width: int) -> DepthStore:
        """An empty store in ``folder``; what an earlier one held there is lost.

        Raises:
            KinedepthError: the folder cannot be made, or the disk is full.
        """
        manifest = {"header": dict(header), "size": [height, width], "chunks": [], "state": None}
        make_working_folder(folder, "the depth to come")
        store = cls(folder, manifest)
        store._write_manifest()
        # As JSON gives it back, so that a header compares equal with one that was read.
        return cls.open(folder)

    @classmethod
    def open(cls, folder: Path) -> DepthStore:
        """The store that an earlier run left in ``folder``.

        Raises:
            KinedepthError: it cannot be read, or a chunk is missing or damaged.
        """
        try:
            manifest = json.loads((folder / _MANIFEST).read_text(encoding="utf-8"))
            if manifest["format"] != _FORMAT:
                raise KinedepthError(f"{folder} was written by another version.")
            store = cls(folder, manifest)
            for chunk in store._chunks:
                store._chunk(chunk)
            if store._state_name is not None:
                file_in(folder, store._state_name)
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise KinedepthError(
                f"The unfinished depth in {folder} cannot be read ({why_unreadable(error)}); begin "
                f"anew."
            ) from error
        return store

    @staticmethod
    def is_at(folder: Path) -> bool:
        """Whether ``folder`` holds a store."""
        return (folder / _MANIFEST).is_file()

    @property
    def frames_done(self) -> int:
        """How many frames are complete."""
        return sum(chunk["frames"] for chunk in self._chunks)

    @property
    def seconds(self) -> float:
        """Wall-clock seconds that the complete frames took."""
        return float(sum(chunk["seconds"] for chunk in self._chunks))

    def append(
        self,
        depth: NDArray[np.float32],
        state: Mapping[str, NDArray] | None = None,
        seconds: float = 0.0,
    ) -> None:
        """Add the next frames.

        Args:
            depth: ``(B, H, W)``, at least one frame.
            state: what the model needs to go on after them; None where it cannot.
            seconds: what they took.

        Raises:
            KinedepthError: the disk is full, or the folder cannot be written to; the frames of
                before stay.
        """
        if depth.shape[1:] != (self.height, self.width) or not len(depth):
            raise KinedepthError(
                f"The model gave depth of shape {depth.shape} for frames of "
                f"{self.width}x{self.height}."
            )
        first, done = self.frames_done, self.frames_done + len(depth)
        name = f"depth-{first:06d}.npy"
        with atomic_path(self.folder / name) as temporary:
            np.save(temporary, np.ascontiguousarray(depth, dtype=np.float32))
            sync_file(temporary)
        earlier, self._state_name = self._state_name, None
        if state is not None:
            self._state_name = f"state-{done:06d}.npz"
            with atomic_path(self.folder / self._state_name) as temporary:
                arrays: dict[str, Any] = dict(state)
                np.savez(temporary, **arrays)
                sync_file(temporary)
        chunk = {"file": name, "frames": len(depth), "seconds": seconds}
        self._chunks.append(chunk)
        self._write_manifest()
        if earlier is not None:
            with contextlib.suppress(OSError):
                (self.folder / earlier).unlink()

    def state(self) -> dict[str, NDArray] | None:
        """What the model needs to go on after the complete frames; None where there is nothing.

        Raises:
            KinedepthError: if it cannot be read.
        """
        if self._state_name is None:
            return None
        path = self.folder / self._state_name
        try:
            with np.load(path, allow_pickle=False) as arrays:
                return dict(arrays)
        except (OSError, ValueError, EOFError) as error:
            raise KinedepthError(f"{path} cannot be read ({error}); begin anew.") from error

    def frames(self) -> Iterator[NDArray[np.float32]]:
        """Depth ``(H, W)`` of every complete frame, in order; chunks are memory-mapped."""
        for chunk in self._chunks:
            yield from self._chunk(chunk)

    def clear(self) -> None:
        """Forget all frames, to begin again with the first."""
        self._chunks, self._state_name = [], None
        self._write_manifest()

    def remove(self) -> None:
        """Remove the folder with everything in it."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def _chunk(self, chunk: Mapping[str, Any]) -> NDArray[np.float32]:
        path = file_in(self.folder, chunk["file"])
        depth = np.load(path, mmap_mode="r", allow_pickle=False)
        if depth.shape != (chunk["frames"], self.height, self.width):
            raise ValueError(f"{path.name} has shape {depth.shape}")
        return depth

    def _write_manifest(self) -> None:
        manifest = {
            "format": _FORMAT,
            "header": self.header,
            "size": [self.height, self.width],
            "chunks": self._chunks,
            "state": self._state_name,
        }
        with atomic_path(self.folder / _MANIFEST) as temporary:
            temporary.write_text(json.dumps(manifest, indent=1), encoding="utf-8")
            sync_file(temporary)
