"""Pipelines trained with this package: what is trained from, and the folder that comes out."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

from kinedepth.dense.rolling_depth.components import Components, load_components, quietly
from kinedepth.dense.rolling_depth.tiny import SCHEDULE, write_index
from kinedepth.errors import KinedepthError

RECORD_FILE = "training.json"
"""What a pipeline was trained on, in its folder."""


def load_to_train(folder: Path) -> Components:
    """A pipeline to begin with: RollingDepth, Marigold, or a model of images.

    A network that takes the latents of an image only is widened. The noise schedule becomes
    RollingDepth's, as in Marigold's training: its end is nothing but noise.

    Args:
        folder: in the layout of diffusers, see ``load_components``.

    Raises:
        KinedepthError: as of ``load_components``, or the network was trained to predict the
            noise, which says nothing where there is nothing but noise.
    """
    parts = load_components(folder, widen=True)
    settings = dict(parts.scheduler.config)
    predicts = settings.get("prediction_type")
    if predicts != "v_prediction":
        raise KinedepthError(
            f"The network in {folder} was trained with {predicts}, but RollingDepth needs "
            f"v_prediction; begin with a model that has it (Stable Diffusion 2, Marigold)."
        )
    changed = ("rescale_betas_zero_snr", "timestep_spacing", "clip_sample", "set_alpha_to_one")
    settings |= {name: SCHEDULE[name] for name in changed}
    scheduler = type(parts.scheduler).from_config(settings)
    return Components(parts.unet, parts.vae, scheduler, parts.prompt)


def save_trained(
    folder: Path, parts: Components, begun_with: Path, training: dict[str, Any]
) -> None:
    """Write a pipeline that ``load_components`` reads; it appears whole or not at all.

    Args:
        folder: what is there of an earlier run is replaced, once the new one is whole.
        parts: with the trained network.
        begun_with: the pipeline that training began with: its text encoder and tokenizer are
            copied.
        training: plain values: steps, seconds, held-out figures and the like, kept in
            :data:`RECORD_FILE`.

    Raises:
        KinedepthError: if ``folder`` holds something that is no trained pipeline, or cannot be
            written.
    """
    check_replaceable(folder)
    unfinished, earlier = (folder.with_name(f".{w}-{folder.name}") for w in ("tmp", "old"))
    try:
        for left_over in (unfinished, earlier):
            shutil.rmtree(left_over, ignore_errors=True)
        unfinished.mkdir(parents=True)
        with quietly():
            for part in ("unet", "vae", "scheduler"):
                getattr(parts, part).save_pretrained(unfinished / part)
        for part in ("text_encoder", "tokenizer"):
            shutil.copytree(begun_with / part, unfinished / part)
        write_index(unfinished)
        (unfinished / RECORD_FILE).write_text(json.dumps(training, indent=2) + "\n")
        if folder.exists():
            os.replace(folder, earlier)
        os.replace(unfinished, folder)
    except OSError as error:
        raise KinedepthError(f"{folder} cannot be written ({error.strerror}).") from error
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)
    shutil.rmtree(earlier, ignore_errors=True)


def check_replaceable(folder: Path) -> None:
    """Raise if ``folder`` holds anything but a pipeline that was trained with this package.

    Raises:
        KinedepthError: before hours of training are spent.
    """
    if folder.exists() and not (folder / RECORD_FILE).is_file():
        raise KinedepthError(
            f"{folder} is there already and is no pipeline of an earlier run; choose another."
        )


def read_training(folder: Path) -> dict[str, Any]:
    """The record of a trained pipeline.

    Raises:
        KinedepthError: if it has none.
    """
    try:
        record = json.loads((folder / RECORD_FILE).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise KinedepthError(
            f"{folder} has no record of a training in {RECORD_FILE} ({error})."
        ) from None
    if not isinstance(record, dict):
        raise KinedepthError(f"{folder / RECORD_FILE} does not describe a training.")
    return record
