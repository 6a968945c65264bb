"""Published weights: reading, checking and naming them.

A published file is a flat table of tensors under names of its authors' modules. The file has to
hold exactly the names and shapes of the size asked for; whatever is missing, left over or of
another shape is an error, never skipped.
"""

from __future__ import annotations

import hashlib
import pickle
import re
import zipfile
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from kinedepth.dense.video_depth_anything.config import SIZES, VideoDepthConfig
from kinedepth.dense.video_depth_anything.model import VideoDepth
from kinedepth.errors import KinedepthError

# How our modules are called in published files, applied in order.
_PUBLISHED_NAMES = [
    (r"^encoder\.class_token$", r"pretrained.cls_token"),
    (r"^encoder\.positions$", r"pretrained.pos_embed"),
    (r"^encoder\.patch_embedding\.", r"pretrained.patch_embed.proj."),
    (r"^encoder\.norm\.", r"pretrained.norm."),
    (r"^encoder\.blocks\.(\d+)\.", r"pretrained.blocks.\1."),
    (r"^(pretrained\.blocks\.\d+)\.attention_norm\.", r"\1.norm1."),
    (r"^(pretrained\.blocks\.\d+)\.attention\.query_key_value\.", r"\1.attn.qkv."),
    (r"^(pretrained\.blocks\.\d+)\.attention\.out\.", r"\1.attn.proj."),
    (r"^(pretrained\.blocks\.\d+)\.attention_scale$", r"\1.ls1.gamma"),
    (r"^(pretrained\.blocks\.\d+)\.feed_forward_norm\.", r"\1.norm2."),
    (r"^(pretrained\.blocks\.\d+)\.feed_forward\.expand\.", r"\1.mlp.fc1."),
    (r"^(pretrained\.blocks\.\d+)\.feed_forward\.contract\.", r"\1.mlp.fc2."),
    (r"^(pretrained\.blocks\.\d+)\.feed_forward_scale$", r"\1.ls2.gamma"),
    (r"^head\.projections\.", r"head.projects."),
    (r"^head\.resizers\.", r"head.resize_layers."),
    (r"^head\.reduce\.", r"head.scratch.output_conv1."),
    (r"^head\.to_depth\.", r"head.scratch.output_conv2."),
    (r"\.side_unit\.first\.", r".resConfUnit1.conv1."),
    (r"\.side_unit\.second\.", r".resConfUnit1.conv2."),
    (r"\.unit\.first\.", r".resConfUnit2.conv1."),
    (r"\.unit\.second\.", r".resConfUnit2.conv2."),
    (r"^(head\.fusions\.\d)\.out\.", r"\1.out_conv."),
    (r"^head\.temporal\.(\d)\.", r"head.motion_modules.\1.temporal_transformer."),
    (r"\.project_in\.", r".proj_in."),
    (r"\.project_out\.", r".proj_out."),
    (r"\.attention_norms\.", r".transformer_blocks.0.norms."),
    (r"\.attentions\.", r".transformer_blocks.0.attention_blocks."),
    (r"(attention_blocks\.\d)\.(?:(q)uery|(k)ey|(v)alue)\.", r"\1.to_\2\3\4."),
    (r"(attention_blocks\.\d)\.out\.", r"\1.to_out.0."),
    (r"(attention_blocks\.\d)\.positions$", r"\1.pos_encoder.pe"),
    (r"_transformer\.feed_forward_norm\.", r"_transformer.transformer_blocks.0.ff_norm."),
    (r"_transformer\.feed_forward\.expand\.", r"_transformer.transformer_blocks.0.ff.net.0.proj."),
    (r"_transformer\.feed_forward\.contract\.", r"_transformer.transformer_blocks.0.ff.net.2."),
]
# Two lists are counted from 1 there.
_COUNTED_FROM_ONE = [
    (r"^head\.to_features\.(\d)\.", "head.scratch.layer{}_rn."),
    (r"^head\.fusions\.(\d)\.", "head.scratch.refinenet{}."),
]

# What a file raises that was cut off or is no weights file at all.
_DAMAGED = (
    *(SafetensorError, OSError, EOFError, pickle.UnpicklingError, zipfile.BadZipFile),
    *(RuntimeError, ValueError, KeyError),  # torch, of an archive without its end
)


def published_name(name: str) -> str:
    """What a tensor of our network is called in published files."""
    for pattern, replacement in _PUBLISHED_NAMES:
        name = re.sub(pattern, replacement, name)
    for pattern, template in _COUNTED_FROM_ONE:
        name = re.sub(pattern, lambda m, t=template: t.format(int(m[1]) + 1), name)  # type: ignore[misc]
    return name


def published_shapes(config: VideoDepthConfig) -> dict[str, tuple[int, ...]]:
    """Name and shape of every tensor in a published file of this size."""
    with torch.device("meta"):
        network = VideoDepth(config)
    shapes = {published_name(n): tuple(value.shape) for n, value in network.state_dict().items()}
    return shapes | _unused_shapes(config)


def _unused_shapes(config: VideoDepthConfig) -> dict[str, tuple[int, ...]]:
    """Tensors that published files hold although nothing reads them."""
    features = config.head_features
    shapes: dict[str, tuple[int, ...]] = {"pretrained.mask_token": (1, config.width)}
    for convolution in ("conv1", "conv2"):
        unit = f"head.scratch.refinenet4.resConfUnit1.{convolution}"
        shapes[f"{unit}.weight"] = (features, features, 3, 3)
        shapes[f"{unit}.bias"] = (features,)
    return shapes


def load_published(
    path: str | Path,
    config: VideoDepthConfig,
    device: torch.device | str = "cpu",
    sha256: str | None = None,
) -> VideoDepth:
    """The network with the weights of a published file, ready to run, without gradients.

    Args:
        path: a ``.pth`` state dict, read without unpickling anything but tensors, or a
            ``.safetensors`` file with the same names.
        config: the size that the file has to be of. Metric weights have the same names and
            shapes as relative ones: only the caller can know which these are.
        device: where to put the network.
        sha256: checksum that the file has to have, hexadecimal; None for no check.

    Raises:
        KinedepthError: no such file, wrong checksum, damaged, or weights of another size.
    """
    file = Path(path)
    if not file.is_file():
        raise KinedepthError(f"There is no weights file {file}.")
    if sha256 is not None:
        check_sha256(file, sha256)
    return network_from_published(read_tensors(file), config, str(file)).to(device)


def network_from_published(
    tensors: Mapping[str, Tensor], config: VideoDepthConfig, source: str = "the state dict"
) -> VideoDepth:
    """The network with these tensors, by published name; ``source`` is named in errors."""
    _check_shapes(tensors, config, source)
    with torch.device("meta"):
        network = VideoDepth(config)
    ours = {name: tensors[published_name(name)].float() for name in network.state_dict()}
    network.load_state_dict(ours, assign=True)
    return ready_to_run(network)


def ready_to_run(network: VideoDepth) -> VideoDepth:
    """The network itself, without gradients and laid out in memory for speed."""
    # Channels innermost: so the patches come, and convolutions take a quarter less time (CPU).
    network.head.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    return network.eval().requires_grad_(False)


def published_state(network: VideoDepth) -> dict[str, Tensor]:
    """The network's tensors under their published names; unread ones as zeros."""
    state = {published_name(name): value for name, value in network.state_dict().items()}
    unused = _unused_shapes(network.config)
    return state | {name: torch.zeros(shape) for name, shape in unused.items()}


def read_tensors(path: Path) -> dict[str, Tensor]:
    """All tensors of a ``.pth`` or ``.safetensors`` file, on the CPU.

    Raises:
        KinedepthError: if the file is damaged or holds anything but named tensors.
    """
    try:
        if path.suffix.lower() == ".safetensors":
            return load_file(path)
        # weights_only lets no code in the file run.
        tensors = torch.load(path, map_location="cpu", weights_only=True)
    except _DAMAGED as error:
        raise _unreadable(path, error) from None
    if not isinstance(tensors, dict) or not all(
        isinstance(name, str) and isinstance(value, Tensor) for name, value in tensors.items()
    ):
        raise KinedepthError(f"{path} holds something else than a table of named tensors.")
    return tensors


def check_sha256(path: Path, expected: str) -> None:
    """Raise unless the file's SHA-256 is ``expected`` (hexadecimal).

    Raises:
        KinedepthError: if it is another, or the file cannot be read.
    """
    try:
        with open(path, "rb") as file:
            found = hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise KinedepthError(f"{path} cannot be read ({error.strerror}).") from None
    if found != expected.lower():
        raise KinedepthError(
            f"{path} has the SHA-256 {found}, not {expected.lower()}: it was cut off or is "
            f"another file; fetch it again."
        )


def _unreadable(path: Path, error: Exception) -> KinedepthError:
    first_line = (str(error).splitlines() or [type(error).__name__])[0]
    return KinedepthError(
        f"{path} is not a readable weights file, or was cut off ({first_line}); fetch it again."
    )


def _check_shapes(tensors: Mapping[str, Tensor], config: VideoDepthConfig, source: str) -> None:
    """Raise unless names and shapes are exactly those of a published file of this size."""
    expected = published_shapes(config)
    found = {name: tuple(value.shape) for name, value in tensors.items()}
    if found == expected:
        return
    for other in SIZES.values():
        if other.name != config.name and found == published_shapes(other):
            raise KinedepthError(
                f"{source} holds weights of size {other.name}, not {config.name}; "
                f"choose that model or another file."
            )
    raise KinedepthError(
        f"{source} does not fit Video Depth Anything {config.name}: {_difference(found, expected)}."
    )


def _difference(
    found: Mapping[str, tuple[int, ...]], expected: Mapping[str, tuple[int, ...]]
) -> str:
    missing = [name for name in expected if name not in found]
    if missing:
        return f"{len(missing)} tensors are missing, the first is {missing[0]}"
    surplus = [name for name in found if name not in expected]
    if surplus:
        return f"{len(surplus)} tensors do not belong to it, the first is {surplus[0]}"
    name = next(name for name in expected if found[name] != expected[name])
    return f"{name} has shape {found[name]} instead of {expected[name]}"
