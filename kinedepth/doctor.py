"""What is installed, what it can run on, and which weights are shipped: ``kinedepth doctor``."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import platform
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import kinedepth
from kinedepth.errors import KinedepthError

_REQUIRED = ("torch", "numpy", "scipy", "opencv-python-headless", "av", "typer", "rich")
_EXTRAS = {
    "rerun-sdk": ("rerun", "view", "writes scene.rrd and opens the Rerun viewer"),
    "matplotlib": ("matplotlib", "plot", "draws the curve of a training run"),
    "huggingface_hub": ("huggingface_hub", "hub", "downloads weights of depth models"),
    "transformers": ("transformers", "hub", "runs depth models frame by frame"),
    "diffusers": ("diffusers", "diffusion", "runs and trains RollingDepth, runs Marigold"),
    "OpenEXR": ("OpenEXR", "exr", "reads and writes EXR files"),
    "scenedetect-headless": ("scenedetect", "scenes", "finds the cuts of a video"),
    "ray": ("ray", "ray", "places the videos of a batch on many machines"),
    "h5py": ("h5py", "hypersim", "reads Hypersim, to train on"),
}
"""Package to: module, extra that brings it, what it is for."""


@dataclass(frozen=True)
class Finding:
    """One line of the report.

    Attributes:
        subject: what was looked at.
        text: what was found.
        broken: whether lifting a video cannot work because of it.
    """

    subject: str
    text: str
    broken: bool = False


def examine() -> Iterator[Finding]:
    """Look at everything that matters, one finding after the other."""
    yield Finding("kinedepth", kinedepth.__version__)
    yield Finding("python", f"{platform.python_version()} on {platform.system()}")
    for package in _REQUIRED:
        version = _version(package)
        yield Finding(package, version or "not installed", broken=version is None)
    yield from _examine_devices()
    yield from _examine_codecs()
    for package, (module, extra, purpose) in _EXTRAS.items():
        there = importlib.util.find_spec(module) is not None
        missing = f"not installed: pip install 'kinedepth[{extra}]'"
        yield Finding(package, f"{_version(package) if there else missing} ({purpose})")
    yield from _examine_weights()
    yield from _list_depth_models()


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def _examine_devices() -> Iterator[Finding]:
    import torch

    yield Finding("device cpu", f"{torch.get_num_threads()} threads")
    for index in range(torch.cuda.device_count()):
        properties = torch.cuda.get_device_properties(index)
        memory = properties.total_memory / 1024**3
        yield Finding(f"device cuda:{index}", f"{properties.name}, {memory:.0f} GiB")
    if not torch.cuda.is_available():
        yield Finding("device cuda", "none that this PyTorch can use")
    if torch.backends.mps.is_available():
        yield Finding("device mps", "there")


def _examine_codecs() -> Iterator[Finding]:
    import av

    libraries = {name: ".".join(map(str, version)) for name, version in av.library_versions.items()}
    yield Finding("FFmpeg in PyAV", f"libavcodec {libraries.get('libavcodec', 'unknown')}")
    h264 = "libx264" in av.codecs_available
    yield Finding(
        "H.264 encoder",
        "there" if h264 else "missing: the overlay film cannot be written; install PyAV's wheel",
        broken=not h264,
    )


def _examine_weights() -> Iterator[Finding]:
    from kinedepth.seurat.checkpoint import shipped_models

    models = shipped_models()
    for name, path in models.items():
        yield _examine_model(name, path)
    if not models:
        yield Finding("weights", "none are shipped; train some and give --model PATH", broken=True)


def _examine_model(name: str, path: Path) -> Finding:
    from kinedepth.seurat.checkpoint import load_checkpoint, read_record

    try:
        config, record = read_record(path)
        network = load_checkpoint(str(path))
    except KinedepthError as error:
        return Finding(f"weights {name}", str(error), broken=True)
    parameters = sum(parameter.numel() for parameter in network.parameters())
    steps = record.get("steps", record.get("done", "an unknown number of"))
    return Finding(
        f"weights {name}",
        f"configuration {config.name}: {parameters / 1e6:.1f} M parameters, width {config.width}, "
        f"{config.layers} layers, windows of {config.window} frames, {config.support_grid} x "
        f"{config.support_grid} supporting grid; trained {steps} steps; "
        f"{path.stat().st_size / 1024**2:.1f} MiB",
    )


def _list_depth_models() -> Iterator[Finding]:
    """Models of dense depth, the size of what would be downloaded, and its licence."""
    from kinedepth.dense.registry import DEPTH_MODELS
    from kinedepth.hub import PUBLISHED

    for name, entry in DEPTH_MODELS.items():
        weights = PUBLISHED.get(name)
        source = "needs --weights"
        if weights is not None:
            size = weights.size / 1e6 if weights.size is not None else weights.megabytes
            megabytes = "" if size is None else f"{size:,.0f} MB, "
            source = f"{megabytes}{weights.licence.name}"
        frames = ", frame by frame" if entry.per_frame else ""
        yield Finding(f"depth {name}", f"{entry.kind.replace('_', ' ')}{frames}; {source}")
