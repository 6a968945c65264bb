"""Log factors by which depth flickers, over places of some frames, and depth without them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kinedepth._safe_npz import load_arrays
from kinedepth.errors import KinedepthError
from kinedepth.exporting.atomic import atomic_path

_ROWS = 64
"""Rows of a frame that are looked up together; memory is proportional to them."""


@dataclass(frozen=True)
class FlickerField:
    """By what factor depth is too large, B frames from ``start`` on.

    The factor's logarithm is ``frame + region``, the second interpolated linearly between the
    planes of a lattice over x, y and log depth (a bilateral grid), beyond which its last plane
    holds.

    Attributes:
        start: the first frame.
        frame: ``(B,)`` float32, log factor of the whole frame.
        region: ``(B, Z, Y, X)`` float32, what is added to it at places.
        middle: ``(B,)`` float32, to be taken from log depth before it is looked up.
        log_depth: ``(Z,)`` float32, of the lattice's planes, ascending, equally far apart; its
            first and last planes in x and y are the edges of the frame.
    """

    start: int
    frame: NDArray[np.float32]
    region: NDArray[np.float32]
    middle: NDArray[np.float32]
    log_depth: NDArray[np.float32]

    @property
    def stop(self) -> int:
        """The frame after the last."""
        return self.start + len(self.frame)

    def log_factor(self, index: int, depth: NDArray[np.floating]) -> NDArray[np.float32]:
        """Log factor ``(H, W)`` by which the source's ``depth (H, W)`` of frame ``index`` is off.

        Frames of other sizes than the video's show the same picture. Pixels without depth get
        the frame's own factor.
        """
        result = np.full(depth.shape, self.frame[index - self.start], dtype=np.float32)
        if not self.region[index - self.start].any():
            return result
        for rows, region in self._regional(index - self.start, depth):
            result[rows] += region
        return result

    def _regional(
        self, at: int, depth: NDArray[np.floating]
    ) -> Iterator[tuple[slice, NDArray[np.float32]]]:
        lattice = self.region[at]
        planes, down, across = lattice.shape
        height, width = depth.shape
        sideways = lattice @ _interpolation(across, width).T  # (Z, Y, W)
        upright = _interpolation(down, height)
        first, step = self.log_depth[0], self.log_depth[1] - self.log_depth[0]
        for top in range(0, height, _ROWS):
            rows = slice(top, min(top + _ROWS, height))
            sheets = np.einsum("hy,zyw->zhw", upright[rows], sideways, optimize=True)
            part = depth[rows].astype(np.float32)
            known = np.isfinite(part) & (part > 0)
            place = (np.log(np.where(known, part, 1.0)) - self.middle[at] - first) / step
            place = np.clip(place, 0, planes - 1)
            below = np.minimum(place.astype(np.intp), planes - 2)
            share = (place - below).astype(np.float32)
            low, high = (np.take_along_axis(sheets, (below + up)[None], axis=0)[0] for up in (0, 1))
            yield rows, np.where(known, low + share * (high - low), 0.0).astype(np.float32)

    def save(self, path: Path) -> None:
        """Write the field to an ``.npz``, whole or not at all."""
        with atomic_path(path) as temporary, open(temporary, "wb") as file:
            arrays: dict[str, Any] = {item.name: getattr(self, item.name) for item in fields(self)}
            np.savez(file, **arrays)

    @classmethod
    def load(cls, path: Path) -> FlickerField:
        """Read what :meth:`save` wrote.

        Raises:
            KinedepthError: if it is missing or damaged.
        """
        found = load_arrays(path)
        names = {item.name for item in fields(cls)}
        if not names <= set(found):
            raise KinedepthError(f"{path} holds no flicker of depth; begin anew.")
        return cls(
            start=int(found["start"]),
            frame=found["frame"],
            region=found["region"],
            middle=found["middle"],
            log_depth=found["log_depth"],
        )


def _interpolation(nodes: int, pixels: int) -> NDArray[np.float32]:
    """``(pixels, nodes)`` weights of nodes, first and last on the edges, at pixel centres."""
    place = (np.arange(pixels) + 0.5) / pixels * (nodes - 1)
    below = np.minimum(place.astype(np.intp), nodes - 2)
    weights = np.zeros((pixels, nodes), dtype=np.float32)
    weights[np.arange(pixels), below] = 1 - (place - below)
    weights[np.arange(pixels), below + 1] = place - below
    return weights
