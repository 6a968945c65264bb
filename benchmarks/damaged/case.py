"""One damaged input, and the ways in which bytes are damaged."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np


@dataclass(frozen=True)
class Case:
    """One input that is made by script.

    Attributes:
        family: the class it is counted under, e.g. ``video: cut short``.
        name: what is wrong with it, unique in its family.
        reader: which of the package's readers is given it, see ``reading.READERS``.
        make: writes it into an empty folder and returns what to give the reader: a path, or
            a pattern of paths.
    """

    family: str
    name: str
    reader: str
    make: Callable[[Path], Path | str]


Cases = Iterator[Case]


def written(name: str, content: bytes | Callable[[], bytes]) -> Callable[[Path], Path]:
    """Make a case that is one file of this name; bytes may be computed when they are needed."""

    def make(folder: Path) -> Path:
        path = folder / name
        path.write_bytes(content() if callable(content) else content)
        return path

    return make


def cut(content: bytes, share: float) -> bytes:
    """The leading part of ``content``."""
    return content[: int(share * len(content))]


def flipped(content: bytes, label: str, begin: float, end: float, count: int) -> bytes:
    """``content`` with ``count`` bytes changed between two shares of its length.

    The label seeds the choice, so a case is damaged in the same way in every run.
    """
    choice = np.random.default_rng(zlib.crc32(label.encode()))
    first, stop = int(begin * len(content)), max(int(end * len(content)), 1)
    damaged = bytearray(content)
    for place in choice.integers(first, stop, count):
        damaged[place] ^= int(choice.integers(1, 256))
    return bytes(damaged)


def cut_and_flipped(
    family: str, reader: str, name: str, content: Callable[[], bytes], shares: tuple[float, ...]
) -> Cases:
    """Cases of one file cut at each of ``shares``, and with bytes changed in several places."""
    for share in shares:
        yield Case(
            f"{family}: cut short",
            f"{name} at {share:.1%}",
            reader,
            written(name, lambda share=share: cut(content(), share)),  # type: ignore[misc]
        )
    for begin, end, count in ((0.0, 0.04, 2), (0.0, 0.04, 8), (0.05, 0.9, 10), (0.9, 1.0, 4)):
        label = f"{name}, {count} bytes from {begin:.0%} to {end:.0%}"
        yield Case(
            f"{family}: flipped bytes",
            label,
            reader,
            written(
                name,
                lambda b=begin, e=end, c=count, s=label: flipped(content(), s, b, e, c),  # type: ignore[misc]
            ),
        )
