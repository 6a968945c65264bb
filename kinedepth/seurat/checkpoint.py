"""Weights on disk: safetensors with the configuration and the training record inside."""

from __future__ import annotations

import dataclasses
import json
import math
from importlib import resources
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from kinedepth.errors import KinedepthError
from kinedepth.exporting.atomic import atomic_path
from kinedepth.seurat.config import SeuratConfig
from kinedepth.seurat.model import Seurat
from kinedepth.seurat.uncertainty import Calibration

_FORMAT = "kinedepth seurat 1"

_RANGES = {
    "width": (1, 8192),
    "heads": (1, 256),
    "layers": (1, 128),
    "hidden_ratio": (1, 64),
    "window": (2, 4096),
    "fourier_bands": (0, 64),
    "iterations": (1, 1000),
    "stride": (1, 4096),
    "support_grid": (0, 1000),
}
"""What a stored configuration may say, both ends included: far beyond any network of use, and
small enough that building one to compare it with the file takes no time."""


def save_checkpoint(path: Path, network: Seurat, record: dict[str, Any]) -> None:
    """Write the weights in half precision, with their configuration and training record.

    Half precision halves the file; the tests hold what it changes to a log ratio under 0.002.
    """
    tensors = {
        name: value.detach().to("cpu", torch.float16).contiguous()
        for name, value in network.state_dict().items()
    }
    metadata = {
        "format": _FORMAT,
        "config": json.dumps(dataclasses.asdict(network.config)),
        "training": json.dumps(record),
    }
    with atomic_path(path) as temporary:
        save_file(tensors, temporary, metadata)


def shipped_models() -> dict[str, Path]:
    """Names and files of the weights inside the package."""
    folder = resources.files("kinedepth.seurat") / "weights"
    if not folder.is_dir():
        return {}
    files = (Path(str(item)) for item in folder.iterdir())
    return {file.stem: file for file in sorted(files) if file.suffix == ".safetensors"}


def find_model(name: str) -> Path:
    """The file of a shipped model's name, or the path given."""
    shipped = shipped_models()
    if name in shipped:
        return shipped[name]
    path = Path(name)
    if path.is_file():
        return path
    known = ", ".join(shipped) or "none is shipped"
    raise KinedepthError(
        f"Unknown model '{name}': neither a shipped one ({known}) nor a checkpoint file."
    )


def read_record(path: Path) -> tuple[SeuratConfig, dict[str, Any]]:
    """Configuration and training record of a checkpoint, without its weights."""
    try:
        with safe_open(path, "pt") as file:
            metadata = file.metadata() or {}
    except (SafetensorError, OSError) as error:
        raise KinedepthError(f"{path} is not a readable safetensors file ({error}).") from None
    if metadata.get("format") != _FORMAT:
        raise KinedepthError(
            f"{path} is not a Seurat checkpoint of this package; train one with "
            f"'kinedepth train seurat' or name a shipped model."
        )
    try:
        stored = json.loads(metadata["config"])
        # Weights from before windows were run backwards in training cannot be read both ways.
        config = SeuratConfig(**({"both_ways": False} | stored))
        _check_config(config)
        record = json.loads(metadata["training"])
        if not isinstance(record, dict):
            raise TypeError("the training record is no table")
    except (KeyError, TypeError, ValueError, RecursionError) as error:
        raise KinedepthError(
            f"{path} holds a configuration that this version does not know ({error})."
        ) from None
    return config, record


def _check_config(config: SeuratConfig) -> None:
    """Raise TypeError or ValueError unless a network can be built from what was stored."""
    for field in dataclasses.fields(config):
        value = getattr(config, field.name)
        # Exactly: True is an int as well, and 24.0 is no size of a layer.
        if type(value) is not type(field.default):
            raise TypeError(f"{field.name} is {str(value)[:40]!r}")
    for name, (least, most) in _RANGES.items():
        if not least <= getattr(config, name) <= most:
            raise ValueError(f"{name} is {getattr(config, name)}")
    if config.width % config.heads:
        raise ValueError(f"a width of {config.width} does not divide into {config.heads} heads")
    if len(config.name) > 100:
        raise ValueError(f"its name has {len(config.name)} letters")


def read_calibration(name: str) -> Calibration:
    """How the errors of a shipped model or checkpoint are spread; rough if it was never fitted.

    Raises:
        KinedepthError: unknown name or unreadable file.
    """
    path = find_model(name)
    _, record = read_record(path)
    stored = record.get("calibration", {})
    try:
        calibration = Calibration(**stored)
        if not all(math.isfinite(value) for value in dataclasses.astuple(calibration)):
            raise ValueError("a coefficient is not finite")
    except (TypeError, ValueError, OverflowError) as error:
        raise KinedepthError(
            f"{path} holds a calibration that this version does not know ({error})."
        ) from None
    return calibration


def write_calibration(path: Path, calibration: Calibration) -> None:
    """Store a fitted calibration in the training record of a checkpoint."""
    _, record = read_record(path)
    with safe_open(path, "pt") as file:
        metadata = dict(file.metadata())
        tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
    record = record | {"calibration": dataclasses.asdict(calibration)}
    with atomic_path(path) as temporary:
        save_file(tensors, temporary, metadata | {"training": json.dumps(record)})


def load_checkpoint(name: str, device: torch.device | str = "cpu") -> Seurat:
    """The network of a shipped model or a checkpoint file, ready to run on ``device``.

    Raises:
        KinedepthError: unknown name, unreadable file, or weights that do not fit the
            configuration stored beside them.
    """
    path = find_model(name)
    config, _ = read_record(path)
    with safe_open(path, "pt") as file:
        stored = {key: file.get_tensor(key).float() for key in file.keys()}  # noqa: SIM118
    with torch.device("meta"):  # No memory is taken for what the configuration merely says.
        expected = {key: value.shape for key, value in Seurat(config).state_dict().items()}
    if expected != {key: value.shape for key, value in stored.items()}:
        raise KinedepthError(
            f"The weights in {path} do not fit the configuration '{config.name}' stored with "
            f"them; the file is damaged or was edited."
        )
    network = Seurat(config)
    network.load_state_dict(stored)
    return network.eval().requires_grad_(False).to(device)
