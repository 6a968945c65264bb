"""Depth models of others that look at each frame on its own, through Hugging Face transformers.

Their depth flickers: scale (and shift, where that is unknown) changes from frame to frame.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from kinedepth.dense.base import FrameProgress
from kinedepth.dense.frame_adapters import (
    DepthAnythingAdapter,
    DepthProAdapter,
    FrameAdapter,
    ZoeDepthAdapter,
)
from kinedepth.dense.registry import DepthOptions, find_entry
from kinedepth.depth import DepthKind
from kinedepth.errors import KinedepthError, MissingExtraError
from kinedepth.video import Video

_FAMILIES = {"depth-anything": "depth_anything", "zoedepth": "zoedepth", "depth-pro": "depth_pro"}
"""Beginning of a model's name to what its ``config.json`` calls it."""

_ADAPTERS: dict[str, Any] = {
    "depth_anything": DepthAnythingAdapter,
    "zoedepth": ZoeDepthAdapter,
    "depth_pro": DepthProAdapter,
}

_PRECISIONS = {
    "float32": torch.float32,
    "bfloat16": torch.bfloat16,
    "float16": torch.float16,
}

_AT_ONCE = {"cpu": 1, "cuda": 4, "mps": 1}
"""Frames that pass the network together on a kind of device."""


class PerFrameDepth:
    """A per-frame network as a ``ResumableDepthModel``.

    Args:
        network: of transformers, for depth estimation, on the device to run on.
        adapter: of its family.
        name: as the registry knows it.
        kind: what its numbers mean.
        frames_at_once: that pass the network together; None for what suits the device.

    Attributes:
        field_of_view: degrees across the longer side of the frames, the median of what the model
            estimated in the frames so far; None if it estimates none.
    """

    per_frame = True

    def __init__(
        self,
        network: torch.nn.Module,
        adapter: FrameAdapter,
        *,
        name: str,
        kind: DepthKind,
        frames_at_once: int | None = None,
    ) -> None:
        self.name = name
        self.kind: DepthKind = kind
        self._network = network.eval().requires_grad_(False)
        self._adapter = adapter
        parameter = next(network.parameters())
        self._device, self._type = parameter.device, parameter.dtype
        wanted = frames_at_once or _AT_ONCE.get(self._device.type, 1)
        self._at_once = min(wanted, adapter.most_at_once or wanted)
        self._done = 0
        self._fields_of_view: list[float] = []

    @property
    def field_of_view(self) -> float | None:
        """See the class."""
        return float(np.median(self._fields_of_view)) if self._fields_of_view else None

    def predict(
        self,
        video: Video,
        progress: FrameProgress | None = None,
        resume: Mapping[str, NDArray] | None = None,
    ) -> Iterator[NDArray[np.float32]]:
        """Depth ``(H, W)`` float32 of each frame, in order, at the video's own size.

        Args:
            video: of any size and length; a few frames are held at a time.
            progress: told after each frame.
            resume: what :meth:`state` gave; the frame after the saved ones comes first.

        Raises:
            KinedepthError: if the network gives values that are no numbers.
        """
        self._done = int(resume["frames_done"]) if resume else 0
        self._fields_of_view = list(map(float, resume["fields_of_view"])) if resume else []
        for first, frames in video.blocks(self._at_once, start=self._done):
            for offset, (depth, degrees) in enumerate(self._infer(frames)):
                if not np.isfinite(depth).all():
                    raise KinedepthError(
                        f"{self.name} gave values that are no numbers in frame {first + offset}; "
                        f"if its precision is float16, try bfloat16 or float32."
                    )
                self._done = first + offset + 1
                if degrees is not None:
                    self._fields_of_view.append(degrees)
                yield depth
                if progress:
                    progress(self._done, len(video))

    def state(self) -> dict[str, NDArray]:
        """What is needed to go on after the frames given out so far."""
        return {
            "frames_done": np.array(self._done, np.int64),
            "fields_of_view": np.array(self._fields_of_view, np.float64),
        }

    def _infer(self, frames: NDArray[np.uint8]) -> list[tuple[NDArray[np.float32], float | None]]:
        """Depth, and field of view across the longer side, of ``frames (B, H, W, 3)``."""
        height, width = frames.shape[1:3]
        images = torch.from_numpy(frames).to(self._device).permute(0, 3, 1, 2)
        with torch.inference_mode():
            output = self._network(pixel_values=self._adapter.prepare(images).to(self._type))
            found = self._adapter.finish(output, height, width)
        depth = list(found.depth.float().cpu().numpy())
        if found.field_of_view is None:
            return [(frame, None) for frame in depth]
        half = torch.deg2rad(found.field_of_view.double().cpu()) / 2
        longer = torch.rad2deg(2 * torch.atan(torch.tan(half) * (max(height, width) / width)))
        return list(zip(depth, longer.tolist(), strict=True))


def load(name: str, weights: Path, options: DepthOptions, device: torch.device) -> PerFrameDepth:
    """The model called ``name`` from a folder, ready to run.

    Args:
        name: of :data:`kinedepth.dense.registry.DEPTH_MODELS`.
        weights: a folder with ``config.json``, ``preprocessor_config.json`` and
            ``model.safetensors``, as published.
        options: ``input_size`` and ``precision`` are looked at.
        device: where to run.

    Raises:
        KinedepthError: the folder lacks a file, is of another model, or is damaged; or an
            option's value makes no sense.
        MissingExtraError: transformers is not installed.
    """
    precision = options.precision or "float32"
    if precision not in _PRECISIONS:
        raise KinedepthError(f"Unknown precision '{precision}'; choose {', '.join(_PRECISIONS)}.")
    if options.input_size is not None and options.input_size < 28:
        raise KinedepthError(
            f"An input size of {options.input_size} pixels is too small; give at least 28."
        )
    config, processor = (
        _read_json(weights, file) for file in ("config.json", "preprocessor_config.json")
    )
    family = _family_of(name)
    _check_config(name, family, config, weights)
    adapter = _ADAPTERS[family].of(processor, options.input_size)
    network = _load_network(weights).to(device=device, dtype=_PRECISIONS[precision])
    return PerFrameDepth(network, adapter, name=name, kind=find_entry(name).kind)


def _family_of(name: str) -> str:
    return next(family for start, family in _FAMILIES.items() if name.startswith(start))


def _read_json(folder: Path, file: str) -> dict[str, Any]:
    path = folder / file
    if not folder.is_dir() or not path.is_file():
        raise KinedepthError(
            f"{folder} is no folder with {file}; give the folder of a published model, with "
            f"config.json, preprocessor_config.json and model.safetensors."
        )
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise KinedepthError(f"{path} is damaged: it is not JSON ({error}).") from error
    if not isinstance(found, dict):
        raise KinedepthError(f"{path} is damaged: it holds no settings.")
    return found


def _check_config(name: str, family: str, config: dict[str, Any], folder: Path) -> None:
    """Raise unless ``config.json`` is of the family and kind that ``name`` asks for."""
    found = config.get("model_type")
    if found != family:
        raise KinedepthError(
            f"{folder} holds a model of the type '{found}', but {name} is a {family}."
        )
    if family == "depth_anything":
        # Both have the same tensors: a wrong one would load without a word.
        estimates = config.get("depth_estimation_type", "relative")
        if (estimates == "metric") != ("metric" in name):
            raise KinedepthError(
                f"{folder} holds a model of {estimates} depth, which {name} is not."
            )


def _load_network(folder: Path) -> torch.nn.Module:
    try:
        from transformers import AutoModelForDepthEstimation
    except ImportError:
        raise MissingExtraError("transformers", "hub") from None
    if not (folder / "model.safetensors").is_file():
        raise KinedepthError(f"{folder} lacks model.safetensors.")
    try:
        with _without_progress_bar():
            network, report = AutoModelForDepthEstimation.from_pretrained(
                folder, local_files_only=True, use_safetensors=True, output_loading_info=True
            )
    except Exception as error:  # The library raises almost anything on damaged files.
        first_line = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise KinedepthError(f"{folder} cannot be loaded ({first_line}).") from error
    # Without this, weights that are not in the file would silently be random ones.
    if report["missing_keys"] or report["mismatched_keys"]:
        lacking = len(report["missing_keys"]) + len(report["mismatched_keys"])
        raise KinedepthError(
            f"model.safetensors in {folder} does not fit its config.json: {lacking} tensors are "
            f"missing or of another shape."
        )
    return network


@contextlib.contextmanager
def _without_progress_bar() -> Iterator[None]:
    """The library's own bar would cut through ours."""
    from transformers.utils import logging

    shown = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        if shown:
            logging.enable_progress_bar()
