"""Weights on disk: safetensors with the configuration and the training record inside."""

from __future__ import annotations

import dataclasses
import json
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
        # Weights from before windows were run backwards in training cannot be read both ways.
        config = SeuratConfig(**({"both_ways": False} | json.loads(metadata["config"])))
        record = json.loads(metadata["training"])
    except (KeyError, TypeError, ValueError) as error:
        raise KinedepthError(
            f"{path} holds a configuration that this version does not know ({error})."
        ) from None
    return config, record


def read_calibration(name: str) -> Calibration:
    """How the errors of a shipped model or checkpoint are spread; rough if it was never fitted.

    Raises:
        KinedepthError: unknown name or unreadable file.
    """
    path = find_model(name)
    _, record = read_record(path)
    return Calibration(**record.get("calibration", {}))


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
    network = Seurat(config)
    with safe_open(path, "pt") as file:
        stored = {key: file.get_tensor(key).float() for key in file.keys()}  # noqa: SIM118
    expected = {key: value.shape for key, value in network.state_dict().items()}
    if expected != {key: value.shape for key, value in stored.items()}:
        raise KinedepthError(
            f"The weights in {path} do not fit the configuration '{config.name}' stored with "
            f"them; the file is damaged or was edited."
        )
    network.load_state_dict(stored)
    return network.eval().requires_grad_(False).to(device)
