"""Damaged and odd files of weights."""

from __future__ import annotations

import dataclasses
import functools
import io
import json
import pickle
import struct
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from damaged.archives import RunsCode
from damaged.case import Case, Cases, cut_and_flipped, written

if TYPE_CHECKING:
    from kinedepth.dense.video_depth_anything.config import VideoDepthConfig


@functools.cache
def whole_weights() -> bytes:
    """A tiny network's checkpoint."""
    from kinedepth.seurat.checkpoint import save_checkpoint
    from kinedepth.seurat.config import SeuratConfig
    from kinedepth.seurat.model import Seurat

    config = SeuratConfig(name="tiny", width=24, heads=2, layers=1, support_grid=4)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "tiny.safetensors"
        save_checkpoint(path, Seurat(config), {"steps": 0})
        return path.read_bytes()


@functools.cache
def whole_video_weights() -> bytes:
    """A tiny video depth network's file."""
    from kinedepth.dense.video_depth_anything.model import VideoDepth
    from kinedepth.dense.video_depth_anything.trained import save_trained

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "tiny.safetensors"
        save_trained(path, VideoDepth(_video_config()), {"steps": 0})
        return path.read_bytes()


def _video_config() -> VideoDepthConfig:
    from kinedepth.dense.video_depth_anything.config import VideoDepthConfig

    return VideoDepthConfig("tiny", 16, 4, 2, (0, 1, 2, 3), 32, (8, 8, 32, 32), 3, 2)


def weights_cases() -> Cases:
    """Every file of weights of the corpus."""
    yield from cut_and_flipped(
        "weights", "model", "a.safetensors", whole_weights, (0.0, 0.001, 0.01, 0.1, 0.5, 0.99)
    )
    yield from cut_and_flipped(
        "weights", "video_depth_model", "b.safetensors", whole_video_weights, (0.01, 0.5)
    )
    yield from cut_and_flipped("weights", "published_weights", "c.pth", _archive, (0.1, 0.5))
    yield from cut_and_flipped("weights", "published_weights", "d.pth", _old_archive, (0.1, 0.5))
    for name, content in _video_configurations().items():
        make = written("b.safetensors", content)
        yield Case("weights: wrong contents", f"video depth: {name}", "video_depth_model", make)
    for reader in ("model", "video_depth_model"):
        for name, content in _headers().items():
            case = written("a.safetensors", content)
            yield Case("weights: absurd header", f"{reader}: {name}", reader, case)
    for name, content in _configurations().items():
        yield Case("weights: wrong contents", name, "model", written("a.safetensors", content))
    for reader in ("video_depth_model", "published_weights"):
        for name, content in _pickles().items():
            file = "a.safetensors" if reader == "video_depth_model" else "a.pth"
            case = written(file, content)
            yield Case("weights: pickles", f"{reader}: {name}", reader, case)


def _split(content: bytes | None = None) -> tuple[dict[str, Any], bytes]:
    content = content or whole_weights()
    (length,) = struct.unpack("<Q", content[:8])
    return json.loads(content[8 : 8 + length]), content[8 + length :]


def joined(header: bytes | dict[str, Any], body: bytes, length: int | None = None) -> bytes:
    """A safetensors file whose header may say anything."""
    if isinstance(header, dict):
        header = json.dumps(header).encode()
    return struct.pack("<Q", len(header) if length is None else length) + header + body


def _headers() -> dict[str, Callable[[], bytes]]:
    def changed(**facts: Any) -> bytes:
        header, body = _split()
        name = next(key for key in header if key != "__metadata__")
        header[name] = header[name] | facts
        return joined(header, body)

    cases: dict[str, Callable[[], bytes]] = {
        f"header of {length} bytes": lambda n=length: joined(_split()[0], _split()[1], n)  # type: ignore[misc]
        for length in (0, 1, 2**20, 2**31, 2**40, 2**63, 2**64 - 1)
    }
    return cases | {
        "header is no JSON": lambda: joined(b"x" * 400, b""),
        "header of 100,000 brackets": lambda: joined(b'{"a":' + b"[" * 100_000, b""),
        "header is a list": lambda: joined(b"[1, 2]", b""),
        "no tensor": lambda: joined({}, b""),
        "shape of 2^62": lambda: changed(shape=[2**62, 4]),
        "negative shape": lambda: changed(shape=[-3, 4]),
        "shape that does not fit": lambda: changed(shape=[3, 5]),
        "unknown type": lambda: changed(dtype="Z99"),
        "offsets beyond the file": lambda: changed(data_offsets=[0, 2**40]),
        "offsets backward": lambda: changed(data_offsets=[400, 0]),
        "bytes after the end": lambda: whole_weights() + bytes(100),
    }


def _configurations() -> dict[str, Callable[[], bytes]]:
    from kinedepth.seurat.config import SeuratConfig

    plain = dataclasses.asdict(
        SeuratConfig(name="tiny", width=24, heads=2, layers=1, support_grid=4)
    )

    def with_metadata(**facts: str) -> bytes:
        header, body = _split()
        header["__metadata__"] = header["__metadata__"] | facts
        return joined(header, body)

    cases: dict[str, Callable[[], bytes]] = {
        "of another program": lambda: with_metadata(format="pt"),
        "configuration is no JSON": lambda: with_metadata(config="tiny"),
        "configuration is a list": lambda: with_metadata(config="[1, 2]"),
        "configuration is a number": lambda: with_metadata(config="7"),
        "configuration of 100,000 brackets": lambda: with_metadata(config="[" * 100_000),
        "record is no JSON": lambda: with_metadata(training="{"),
        "record is a list": lambda: with_metadata(training="[1]"),
        "unknown option": lambda: with_metadata(config=json.dumps(plain | {"colour": 1})),
    }
    for key, values in {
        "width": (0, -24, 25, 10**9, 1e300, "wide", None, True, [24]),
        "heads": (0, -2, 7, "two"),
        "layers": (0, -1, 10**9, "one", 1.5),
        "hidden_ratio": (0, -1, 10**8),
        "window": (0, -8, 10**9, "x", 2.5),
        "fourier_bands": (-1, 10**9, "x"),
        "iterations": (0, -1, "x", 10**12),
        "stride": (0, -1, "x"),
        "support_grid": (-1, "x", 10**9),
        "geometric_features": ("yes", None),
        "name": (5, None, "x" * 10_000),
    }.items():
        for value in values:
            config = json.dumps(plain | {key: value})
            cases[f"{key} is {str(value)[:12]}"] = lambda c=config: with_metadata(config=c)  # type: ignore[misc]
    return cases


def _video_configurations() -> dict[str, Callable[[], bytes]]:
    def with_config(**facts: Any) -> bytes:
        header, body = _split(whole_video_weights())
        config = dataclasses.asdict(_video_config()) | facts
        header["__metadata__"] = header["__metadata__"] | {"config": json.dumps(config)}
        return joined(header, body)

    return {
        f"{key} is {str(value)[:12]}": lambda k=key, v=value: with_config(**{k: v})  # type: ignore[misc]
        for key, values in {
            "width": (0, -1, 33, 10**9, "wide", None),
            "depth": (0, 10**9, "x", 2),
            "heads": (0, 5, 10**9),
            "taps": ([], [0, 1], [9, 9, 9, 9], "x", [[0]]),
            "head_channels": ([], [0, 0, 0, 0], [10**9] * 4, [3, 5, 7, 9]),
            "head_features": (0, 10**9, 16.5),
            "position_grid": (0, -1, 10**9),
            "temporal_heads": (0, 7, 10**9),
            "output": ("depth", None, []),
            "name": (None, {}),
        }.items()
        for value in values
    }


def _pickles() -> dict[str, Callable[[], bytes]]:
    saved = _saved
    return {
        "one that runs code": lambda: pickle.dumps(RunsCode()),
        "an archive that runs code": lambda: saved({"weights": RunsCode()}),
        "an old archive that runs code": lambda: saved(
            RunsCode(), _use_new_zipfile_serialization=False
        ),
        "other tensors": _archive,
        "a list": lambda: saved([1, 2]),
        "numbers for tensors": lambda: saved({"a": 1}),
        "empty": lambda: b"",
        "text": lambda: b"version https://git-lfs.github.com/spec/v1\n",
        "zeros": lambda: bytes(5000),
    }


def _saved(value: Any, **options: Any) -> bytes:
    import torch

    content = io.BytesIO()
    torch.save(value, content, **options)
    return content.getvalue()


def _archive(**options: Any) -> bytes:
    import torch

    return _saved({f"{name}.weight": torch.ones(40, 4) for name in "abc"}, **options)


def _old_archive() -> bytes:
    return _archive(_use_new_zipfile_serialization=False)
