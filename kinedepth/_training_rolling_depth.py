"""``kinedepth train rollingdepth``: RollingDepth, from footage in folders to a pipeline."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch.distributed

from kinedepth._training_curve import Curve
from kinedepth._training_run import (
    check_run_options,
    hold_out,
    is_one_of_several,
    run_training,
)
from kinedepth._training_video_depth import DEPTH_CURVE, describe_depth
from kinedepth.dense.rolling_depth.tiny import write_tiny_pipeline
from kinedepth.dense.rolling_depth.trained import check_replaceable, save_trained
from kinedepth.errors import KinedepthError
from kinedepth.training.autoencoder import AutoencoderTask, set_scaling_factor
from kinedepth.training.footage import Footage
from kinedepth.training.footage_folders import find_stills, find_videos
from kinedepth.training.rolling_depth import RollingDepthTask
from kinedepth.training.trainer import Trainer, TrainingConfig

AUTOENCODER_STEPS = 800
TINY_RATE, FINE_TUNING_RATE = 6e-4, 3e-5
"""Highest learning rates: from scratch, and from a trained network as Marigold has it."""

_AUTOENCODER_CURVE = Curve(
    label="held-out mean absolute error, of a range of 2",
    lines={"image_error": "images", "depth_error": "depth"},
)


def train_rolling_depth(
    folder: Path,
    *,
    data: Path,
    stills: Path | None,
    held_out: Path | None,
    init: Path | None,
    lengths: Sequence[int],
    size: int,
    shrink: int,
    longest_dilation: int,
    last_time_share: float,
    squeezed_share: float,
    steps: int,
    batch: int,
    at_once: int,
    learning_rate: float | None,
    farthest: float,
    minutes: float | None,
    device: str,
    precision: str,
    seed: int,
    test_every: int,
    weights: Path | None,
) -> None:
    """Train in ``folder``, going on where an earlier run there stopped; then write the pipeline.

    The options are those of the command, see :mod:`kinedepth.commands.train_rollingdepth`.

    Raises:
        KinedepthError: if an option has no such value, footage or the pipeline to begin with do
            not fit, or ``folder`` holds a run of another configuration.
    """
    target = weights or folder / "pipeline"
    rate = learning_rate or (TINY_RATE if init is None else FINE_TUNING_RATE)
    check_run_options(folder, target, rate, minutes, precision)
    check_replaceable(target)
    footage = find_videos(data, shrink)
    if held_out is None:
        training, testing = hold_out(footage, data)
    else:
        training, testing = footage, find_videos(held_out, shrink)
    config = TrainingConfig(
        steps=steps,
        batch=batch,
        learning_rate=rate,
        decay="exponential",
        precision=precision,
        seed=seed,
        test_every=test_every,
    )
    if init is None:
        init = _tiny_beginning(folder, training, testing, size, device, seed)
    if stills is not None:
        training = [*training, *find_stills(stills, shrink)]
    begun_with = init
    task = RollingDepthTask(
        footage=training,
        held_out=testing,
        init=begun_with,
        lengths=tuple(lengths),
        size=size,
        last_time_share=last_time_share,
        squeezed_share=squeezed_share,
        at_once=at_once,
        longest_dilation=longest_dilation,
        farthest=farthest,
    )

    def export(trainer: Trainer, record: dict[str, Any]) -> None:
        parts = task.parts_with(trainer.network)
        save_trained(target, parts, begun_with, {**record, "task": task.name})

    run_training(
        task,
        config,
        folder,
        device=device,
        minutes=minutes,
        describe=describe_depth,
        curve=DEPTH_CURVE,
        export=export,
        target=target,
    )


def _tiny_beginning(
    folder: Path,
    footage: Sequence[Footage],
    held_out: Sequence[Footage],
    size: int,
    device: str,
    seed: int,
) -> Path:
    """A tiny pipeline with an autoencoder that was trained here, and a random network."""
    pipeline = folder / "start"
    if (pipeline / "model_index.json").is_file():
        return pipeline

    def export(trainer: Trainer, record: dict[str, Any]) -> None:
        set_scaling_factor(trainer.network, footage, size)
        torch.manual_seed(seed)
        write_tiny_pipeline(pipeline, trainer.network)

    run_training(
        AutoencoderTask(footage, held_out, size),
        TrainingConfig(
            steps=AUTOENCODER_STEPS,
            batch=8,
            learning_rate=1e-3,
            average=0.99,
            decay="exponential",
            final_share=0.1,
            seed=seed,
            test_every=100,
        ),
        folder / "autoencoder",
        device=device,
        # It is short, and a half-trained one would stay for good.
        minutes=None,
        describe=_describe_autoencoder,
        curve=_AUTOENCODER_CURVE,
        export=export,
        target=pipeline,
    )
    if is_one_of_several():
        torch.distributed.barrier()  # Until the first process has written it.
    if not (pipeline / "model_index.json").is_file():
        raise KinedepthError(f"{pipeline} was not written; run again.")
    return pipeline


def _describe_autoencoder(figures: dict[str, float]) -> str | None:
    if "image_error" not in figures:
        return None
    return (
        f"autoencoder's held-out error: images {figures['image_error']:.3f}, depth "
        f"{figures['depth_error']:.3f}"
    )
