"""Training runs that are stopped on the way, for the tests of what training goes on with."""

from pathlib import Path

import pytest
import torch

from kinedepth.training.trainer import Task, Trainer, TrainingConfig


def whole_and_resumed(
    task: Task, config: TrainingConfig, folder: Path, stop_at: int
) -> tuple[Trainer, Trainer]:
    """A run that nothing stopped (in ``whole``), and one that was stopped and went on."""
    cpu = torch.device("cpu")
    whole = Trainer(task, config, folder / "whole", cpu)
    whole.run()

    def stop(step, figures):
        if step == stop_at:
            raise KeyboardInterrupt

    interrupted = Trainer(task, config, folder / "parts", cpu)
    with pytest.raises(KeyboardInterrupt):
        interrupted.run(stop)
    resumed = Trainer(task, config, folder / "parts", cpu)
    resumed.run()
    return whole, resumed


def changed(before: dict[str, torch.Tensor], after: dict[str, torch.Tensor]) -> set[str]:
    """Names of the weights that are not the same in both."""
    return {name for name in before if not torch.equal(before[name], after[name])}
