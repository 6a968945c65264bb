"""``kinedepth train vda``: Video Depth Anything, from clips in a folder to a file of weights."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from kinedepth._terminal import StageProgress
from kinedepth._training_curve import Curve
from kinedepth._training_run import (
    check_run_options,
    hold_out,
    is_one_of_several,
    run_training,
)
from kinedepth.dense.video_depth_anything.model import VideoDepth
from kinedepth.dense.video_depth_anything.trained import save_trained
from kinedepth.errors import KinedepthError
from kinedepth.training.labelled_images import (
    LabelledImages,
    find_labelled_images,
    label_images,
    teacher_of,
)
from kinedepth.training.rendered_clips import TrainingClip, read_clips
from kinedepth.training.trainer import Trainer, TrainingConfig
from kinedepth.training.video_depth import MODELS, TemporalLoss, VideoDepthTask

DEPTH_CURVE = Curve(
    label="held-out figures",
    lines={"abs_rel": "AbsRel", "tae": "TAE, per cent", "delta1": "delta1"},
)


def train_video_depth(
    folder: Path,
    *,
    data: Path,
    held_out: Path | None,
    model: str,
    loss: str,
    freeze_encoder: bool,
    init: Path | None,
    images: Path | None,
    teacher: str | None,
    steps: int,
    batch: int,
    frames: int,
    size: int,
    learning_rate: float,
    minutes: float | None,
    device: str,
    precision: str,
    seed: int,
    test_every: int,
    weights: Path | None,
) -> None:
    """Train in ``folder``, going on where an earlier run there stopped; then write the weights.

    The options are those of the command, see :mod:`kinedepth.commands.train_vda`.

    Raises:
        KinedepthError: if an option has no such value, clips, images or weights do not fit, or
            ``folder`` holds a run of another configuration.
    """
    if model not in MODELS:
        raise KinedepthError(f"There is no model {model!r}; choose {', '.join(MODELS)}.")
    target = weights or folder / f"{model}.safetensors"
    check_run_options(folder, target, learning_rate, minutes, precision)
    if teacher is not None and images is None:
        raise KinedepthError(f"The teacher {teacher} has nothing to label; give --images as well.")
    config = TrainingConfig(
        steps=steps,
        batch=batch,
        learning_rate=learning_rate,
        precision=precision,
        seed=seed,
        test_every=test_every,
    )
    training, testing = _clips(data, held_out)
    task = VideoDepthTask(
        clips=training,
        held_out=testing,
        model=MODELS[model],
        temporal=_temporal_loss(loss),
        frames=frames,
        size=size,
        freeze_encoder=freeze_encoder,
        init=init,
        images=None if images is None else _labelled(images, teacher, device),
    )

    def export(trainer: Trainer, record: dict[str, Any]) -> None:
        assert isinstance(trainer.network, VideoDepth)
        save_trained(target, trainer.network, {**record, "task": task.name})

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


def _temporal_loss(name: str) -> TemporalLoss:
    return name  # type: ignore[return-value]  # The task says what it may be.


def _clips(
    data: Path, held_out: Path | None
) -> tuple[Sequence[TrainingClip], Sequence[TrainingClip]]:
    """Clips to train on and to test on."""
    clips = read_clips(data)
    return hold_out(clips, data) if held_out is None else (clips, read_clips(held_out))


def _labelled(folder: Path, teacher: str | None, device: str) -> LabelledImages:
    """Images with labels; the teacher, if one is named, labels what has none."""
    if teacher is None:
        return find_labelled_images(folder)
    from kinedepth.dense.registry import make_depth_model
    from kinedepth.devices import find_device

    if is_one_of_several():
        raise KinedepthError(
            "A teacher labels in one process: run once without torchrun, for a single step, then "
            "leave --teacher out."
        )
    model = make_depth_model(teacher, device=find_device(device))
    with StageProgress() as stages:
        return label_images(
            folder,
            teacher_of(model),
            lambda done, total: stages.report("labelling", done, total),
        )


def describe_depth(figures: dict[str, float]) -> str | None:
    """Held-out figures in a few words; None where there are none."""
    if "abs_rel" not in figures:
        return None
    told = f"held-out AbsRel {figures['abs_rel']:.4f}, delta1 {figures['delta1']:.3f}"
    return f"{told}, TAE {figures['tae']:.3f} %" if "tae" in figures else told
