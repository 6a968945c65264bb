"""The parts of a published pipeline, loaded by name and checked.

The pipeline's own class is not in diffusers, but all of its parts are.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from kinedepth.dense.rolling_depth.config import PIXELS_PER_LATENT
from kinedepth.dense.rolling_depth.widening import widen_first_convolution
from kinedepth.errors import KinedepthError, MissingExtraError

_PARTS = {
    "unet": "UNet2DConditionModel",
    "vae": "AutoencoderKL",
    "scheduler": "DDIMScheduler",
    "text_encoder": "CLIPTextModel",
    "tokenizer": "CLIPTokenizer",
}
"""Folder of each part, and the class it has to be of."""

_CHANNELS = {"in_channels": 8, "out_channels": 4}
"""Of the network: the latents of image and depth go in, those of depth come out."""


@dataclass
class Components:
    """What a run needs of a pipeline; diffusers' classes are Any here, as it ships no types.

    Attributes:
        unet: ``UNet2DConditionModel``, the denoising network, with attention across frames.
        vae: ``AutoencoderKL`` of images and depth.
        scheduler: ``DDIMScheduler``, the noise schedule; never stepped itself, see ``diffusion``.
        prompt: ``(1, 2, C)`` float32 embedding of the empty prompt.
        tiny_decoder: ``AutoencoderTiny`` that decodes in place of ``vae``, or None.
    """

    unet: Any
    vae: Any
    scheduler: Any
    prompt: torch.Tensor
    tiny_decoder: Any = None

    def to(self, device: torch.device, dtype: torch.dtype) -> Components:
        """All parts on ``device``, the networks' weights as ``dtype``."""
        return Components(
            self.unet.to(device=device, dtype=dtype),
            self.vae.to(device=device, dtype=dtype),
            self.scheduler,
            self.prompt,
            self.tiny_decoder and self.tiny_decoder.to(device=device, dtype=dtype),
        )


def load_components(
    folder: Path,
    dtype: torch.dtype = torch.float32,
    widen: bool = False,
    pipeline: str = "RollingDepth",
) -> Components:
    """The parts of the pipeline in ``folder``, on the CPU.

    The text encoder is gone again when this returns: only the empty prompt is ever used.

    Args:
        folder: as published, with a folder for each part; weights as ``.safetensors``.
        dtype: of the networks' weights.
        widen: take the network of a model of images, too, see ``widening``; to train it.
        pipeline: what it is called, for messages; Marigold has the same parts.

    Raises:
        KinedepthError: a part is missing, is of another class, or does not fit its weights.
        MissingExtraError: diffusers or transformers is not installed.
    """
    try:
        from diffusers import AutoencoderKL, DDIMScheduler, UNet2DConditionModel
    except ImportError:
        raise MissingExtraError("diffusers", "diffusion") from None
    from kinedepth.dense.rolling_depth.attention import SnippetAttention

    _check_folder(folder, pipeline)
    prompt = _empty_prompt(folder)
    with quietly():
        unet = _load_network(UNet2DConditionModel, folder / "unet", dtype)
        vae = _load_network(AutoencoderKL, folder / "vae", dtype)
        with _as_one_sentence(folder / "scheduler"):
            settings = DDIMScheduler.load_config(folder / "scheduler", local_files_only=True)
            scheduler = DDIMScheduler.from_config(settings)
    if widen and unet.config.in_channels == _CHANNELS["out_channels"]:
        unet = widen_first_convolution(unet)
    for name, channels in _CHANNELS.items():
        if unet.config[name] != channels:
            raise KinedepthError(
                f"The network in {folder / 'unet'} has {unet.config[name]} {name}, but one of "
                f"{pipeline} has {channels}; give the folder of such a pipeline."
            )
    if unet.config.cross_attention_dim != prompt.shape[-1]:
        raise KinedepthError(
            f"unet and text_encoder in {folder} do not belong together: the prompt has "
            f"{prompt.shape[-1]} channels, not {unet.config.cross_attention_dim}."
        )
    unet.set_attn_processor(SnippetAttention())
    return Components(unet, vae, scheduler, prompt)


def load_tiny_decoder(folder: Path, dtype: torch.dtype = torch.float32) -> Any:
    """An ``AutoencoderTiny``, which decodes latents of the same kind with far less work.

    Args:
        folder: with ``config.json`` and its weights as ``.safetensors``.
        dtype: of the weights.

    Raises:
        KinedepthError: a file is missing or damaged, or latents have other channels or another
            size than RollingDepth's.
        MissingExtraError: diffusers is not installed.
    """
    try:
        from diffusers import AutoencoderTiny
    except ImportError:
        raise MissingExtraError("diffusers", "diffusion") from None
    if not (folder / "config.json").is_file():
        raise KinedepthError(f"{folder} is no folder of a tiny autoencoder: it lacks config.json.")
    with quietly():
        network = _load_network(AutoencoderTiny, folder, dtype)
    config = network.config
    enlarges = config.upsampling_scaling_factor ** (len(config.decoder_block_out_channels) - 1)
    if config.latent_channels != _CHANNELS["out_channels"] or enlarges != PIXELS_PER_LATENT:
        raise KinedepthError(
            f"The tiny autoencoder in {folder} is for latents of {config.latent_channels} "
            f"channels at 1/{enlarges} of the size, but RollingDepth's have "
            f"{_CHANNELS['out_channels']} at 1/{PIXELS_PER_LATENT}; give one for Stable Diffusion "
            f"1 or 2."
        )
    return network


def _check_folder(folder: Path, pipeline: str) -> None:
    if not folder.is_dir():
        raise KinedepthError(
            f"{folder} is no folder; give the folder of a {pipeline} pipeline, with "
            f"{', '.join(_PARTS)} in it."
        )
    missing = [part for part in _PARTS if not (folder / part).is_dir()]
    if missing:
        raise KinedepthError(
            f"{folder} lacks {', '.join(missing)}; a {pipeline} pipeline has the folders "
            f"{', '.join(_PARTS)}."
        )
    index = folder / "model_index.json"
    if not index.is_file():
        return  # The parts say themselves what they are, as far as it matters.
    with _as_one_sentence(index):
        classes = json.loads(index.read_text(encoding="utf-8"))
        found = {part: classes[part][1] for part in _PARTS if part in classes}
    for part, name in found.items():
        # Tokenizers have a slow and a fast class for the same thing.
        if name.removesuffix("Fast") != _PARTS[part]:
            raise KinedepthError(
                f"In {folder} the {part} is a {name}, but {pipeline} has a {_PARTS[part]}."
            )


def _load_network(kind: Any, folder: Path, dtype: torch.dtype) -> Any:
    """A network of diffusers with exactly the tensors of its file."""
    from safetensors.torch import load_file

    name = "diffusion_pytorch_model"
    files = [folder / f"{name}.safetensors", folder / f"{name}.fp16.safetensors"]
    weights = next((file for file in files if file.is_file()), None)
    if weights is None:
        raise KinedepthError(f"{folder} lacks {files[0].name}.")
    with _as_one_sentence(folder):
        tensors = {key: tensor.to(dtype) for key, tensor in load_file(weights).items()}
        # Without numbers of its own at first: a network of this size is made for nothing else.
        with torch.device("meta"):
            network = kind.from_config(kind.load_config(folder, local_files_only=True))
        expected = {key: tensor.shape for key, tensor in network.state_dict().items()}
    wrong = [
        key
        for key in sorted(expected.keys() | tensors.keys())
        if key not in tensors or key not in expected or tensors[key].shape != expected[key]
    ]
    if wrong:
        raise KinedepthError(
            f"The weights in {folder} do not fit its config.json: {len(wrong)} tensors are "
            f"missing, left over or of another shape, e.g. {wrong[0]}."
        )
    network.load_state_dict(tensors, assign=True)
    return network.eval().requires_grad_(False)


def _empty_prompt(folder: Path) -> torch.Tensor:
    """Embedding ``(1, 2, C)`` of a prompt with nothing between its beginning and its end."""
    try:
        from transformers import CLIPTextModel, CLIPTokenizer
    except ImportError:
        raise MissingExtraError("transformers", "diffusion") from None
    text_model: Any = CLIPTextModel
    variant = None if (folder / "text_encoder" / "model.safetensors").is_file() else "fp16"
    with quietly():
        with _as_one_sentence(folder / "tokenizer"):
            tokenizer = CLIPTokenizer.from_pretrained(folder / "tokenizer", local_files_only=True)
            tokens = tokenizer("", padding="do_not_pad", return_tensors="pt").input_ids
        with _as_one_sentence(folder / "text_encoder"):
            encoder, report = text_model.from_pretrained(
                folder / "text_encoder",
                local_files_only=True,
                use_safetensors=True,
                output_loading_info=True,
                dtype=torch.float32,
                variant=variant,
            )
    if report["missing_keys"]:
        raise KinedepthError(
            f"The weights in {folder / 'text_encoder'} do not fit its config.json: "
            f"{len(report['missing_keys'])} tensors are missing."
        )
    with torch.inference_mode():
        embedding = encoder.eval()(tokens)[0]
    return embedding.clone()


@contextlib.contextmanager
def _as_one_sentence(path: Path) -> Iterator[None]:
    """Turns what the libraries raise on damaged files, almost anything, into one sentence."""
    try:
        yield
    except KinedepthError:
        raise
    except Exception as error:
        first_line = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise KinedepthError(f"{path} cannot be loaded ({first_line.rstrip('.')}).") from error


@contextlib.contextmanager
def quietly() -> Iterator[None]:
    """Without the libraries' own progress bars and advice, which would cut through ours."""
    from diffusers.utils import logging as of_diffusers
    from transformers.utils import logging as of_transformers

    levels = of_diffusers.get_verbosity(), of_transformers.get_verbosity()
    bars = of_transformers.is_progress_bar_enabled()
    of_diffusers.set_verbosity_error()
    of_transformers.set_verbosity_error()
    of_transformers.disable_progress_bar()
    try:
        yield
    finally:
        of_diffusers.set_verbosity(levels[0])
        of_transformers.set_verbosity(levels[1])
        if bars:
            of_transformers.enable_progress_bar()
