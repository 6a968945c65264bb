"""A pipeline that is small enough to be trained from scratch on one core, to try ideas with."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from kinedepth.dense.rolling_depth.components import quietly
from kinedepth.errors import MissingExtraError

SCHEDULE: dict[str, Any] = {
    "num_train_timesteps": 1000,
    "beta_start": 0.00085,
    "beta_end": 0.012,
    "beta_schedule": "scaled_linear",
    "clip_sample": False,
    "prediction_type": "v_prediction",
    "rescale_betas_zero_snr": True,
    "set_alpha_to_one": False,
    "steps_offset": 1,
    "timestep_spacing": "trailing",
}
"""The noise schedule as published: at its end there is nothing but noise."""

_PROMPT = 16
"""Channels of the prompt's embedding."""


def tiny_autoencoder() -> Any:
    """An ``AutoencoderKL`` with random weights: an eighth of a frame's size, four channels."""
    diffusers = _diffusers()
    return diffusers.AutoencoderKL(
        block_out_channels=(16, 16, 32, 32),
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        latent_channels=4,
        layers_per_block=1,
        norm_num_groups=8,
        mid_block_add_attention=False,
    )


def tiny_unet() -> Any:
    """A ``UNet2DConditionModel`` with random weights, for latents of image and depth.

    At first it does not look at those of depth: they are mostly noise, from which it would have
    to turn away before it learns anything.
    """
    diffusers = _diffusers()
    network = diffusers.UNet2DConditionModel(
        in_channels=8,
        out_channels=4,
        block_out_channels=(64, 128),
        down_block_types=("CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "CrossAttnUpBlock2D"),
        layers_per_block=1,
        norm_num_groups=8,
        cross_attention_dim=_PROMPT,
        attention_head_dim=4,
        use_linear_projection=True,
    )
    network.conv_in.weight.data[:, 4:] = 0
    return network


def write_tiny_pipeline(folder: Path, autoencoder: Any) -> None:
    """A whole pipeline around a trained autoencoder, in the layout of diffusers.

    Everything else has random weights; what the text encoder says of the empty prompt is a
    constant, which is all that is needed of it.

    Args:
        folder: created if need be.
        autoencoder: with its ``scaling_factor`` set.
    """
    diffusers = _diffusers()
    folder.mkdir(parents=True, exist_ok=True)
    with quietly():
        tiny_unet().save_pretrained(folder / "unet")
        autoencoder.save_pretrained(folder / "vae")
        diffusers.DDIMScheduler(**SCHEDULE).save_pretrained(folder / "scheduler")
        write_text_encoder(folder)
    write_index(folder)


def write_index(folder: Path) -> None:
    """``model_index.json``, which says of what class each part is."""
    classes = {
        "_class_name": "RollingDepthPipeline",
        "scheduler": ["diffusers", "DDIMScheduler"],
        "text_encoder": ["transformers", "CLIPTextModel"],
        "tokenizer": ["transformers", "CLIPTokenizer"],
        "unet": ["diffusers", "UNet2DConditionModel"],
        "vae": ["diffusers", "AutoencoderKL"],
    }
    (folder / "model_index.json").write_text(json.dumps(classes, indent=2) + "\n")


def write_text_encoder(folder: Path, channels: int = _PROMPT) -> None:
    """One that knows two words, the beginning and the end of a text, and its tokenizer.

    Args:
        folder: of the pipeline.
        channels: of the embedding, even.
    """
    try:
        from transformers import CLIPTextConfig, CLIPTextModel
    except ImportError:
        raise MissingExtraError("transformers", "diffusion") from None
    config = CLIPTextConfig(
        vocab_size=3,
        hidden_size=channels,
        intermediate_size=channels,
        num_hidden_layers=1,
        num_attention_heads=2,
        bos_token_id=0,
        eos_token_id=1,
    )
    CLIPTextModel(config).save_pretrained(folder / "text_encoder")
    tokenizer = folder / "tokenizer"
    tokenizer.mkdir(exist_ok=True)
    start, end = "<|startoftext|>", "<|endoftext|>"
    special = {"bos_token": start, "eos_token": end, "unk_token": end, "pad_token": "!"}
    settings = {"tokenizer_class": "CLIPTokenizer", "model_max_length": 77, **special}
    (tokenizer / "vocab.json").write_text(json.dumps({start: 0, end: 1, "!": 2}))
    (tokenizer / "merges.txt").write_text("#version: 0.2\n")
    (tokenizer / "tokenizer_config.json").write_text(json.dumps(settings))
    (tokenizer / "special_tokens_map.json").write_text(json.dumps(special))


def _diffusers() -> Any:
    try:
        import diffusers
    except ImportError:
        raise MissingExtraError("diffusers", "diffusion") from None
    return diffusers
