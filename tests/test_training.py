"""The trainer resumes exactly, learns, and refuses what it cannot resume."""

import dataclasses
import json
import signal

import pytest
import torch
from safetensors.torch import load_file
from training_runs import whole_and_resumed

from kinedepth.errors import KinedepthError
from kinedepth.seurat.config import SeuratConfig
from kinedepth.synthesis.noise import TrackerNoise
from kinedepth.synthesis.windows import WindowConfig, sample_windows
from kinedepth.training.ctrl_c import ctrl_c_asked
from kinedepth.training.seurat import SeuratTask
from kinedepth.training.trainer import LOG_FILE, STATE_FILE, Trainer, TrainingConfig

TASK = SeuratTask(
    model=SeuratConfig(name="tiny", width=16, heads=2),
    windows=WindowConfig(support_grids=(5,), queries=8),
    held_out=4,
)
CONFIG = TrainingConfig(steps=6, batch=2, warmup=2, test_every=3, save_every=2)
CPU = torch.device("cpu")


def weights(trainer: Trainer) -> torch.Tensor:
    return torch.cat([p.detach().flatten() for p in trainer.network.parameters()])


def test_a_run_stopped_and_resumed_equals_one_that_never_stopped(tmp_path):
    whole, resumed = whole_and_resumed(TASK, CONFIG, tmp_path, stop_at=3)
    assert resumed.done == whole.done == 6
    assert torch.equal(weights(resumed), weights(whole))
    for name, value in whole.average.items():
        assert torch.equal(value, resumed.average[name])


@pytest.mark.parametrize("where", ["draw", "test"])
def test_ctrl_c_in_the_middle_of_a_step_or_a_test_changes_nothing(where, tmp_path):
    class Struck(SeuratTask):
        """Ctrl-C comes at the second call of one of its methods."""

        calls = 0

        def strike(self):
            Struck.calls += 1
            if Struck.calls == 2:
                signal.raise_signal(signal.SIGINT)

        def draw(self, *arguments):
            if where == "draw":
                self.strike()
            return super().draw(*arguments)

        def test(self, network):
            if where == "test":
                self.strike()
            return super().test(network)

    config = dataclasses.replace(CONFIG, test_every=1)
    Trainer(TASK, config, tmp_path / "whole", CPU).run()
    struck = Struck(**{f.name: getattr(TASK, f.name) for f in dataclasses.fields(TASK)})
    handler = signal.getsignal(signal.SIGINT)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with pytest.raises(KeyboardInterrupt):
            Trainer(struck, config, tmp_path / "parts", CPU).run()
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    finally:
        signal.signal(signal.SIGINT, handler)
    assert Trainer(TASK, config, tmp_path / "parts", CPU).run()
    whole, parts = (load_file(tmp_path / name / STATE_FILE) for name in ("whole", "parts"))
    for name, value in whole.items():
        assert torch.equal(parts[name], value), name


def test_a_second_ctrl_c_ends_at_once():
    with ctrl_c_asked() as asked:
        signal.raise_signal(signal.SIGINT)
        assert asked()
        with pytest.raises(SystemExit):
            signal.raise_signal(signal.SIGINT)


def test_a_time_limit_ends_a_leg_and_the_next_goes_on(tmp_path):
    first = Trainer(TASK, CONFIG, tmp_path, CPU)
    first.run(seconds=0.0)
    assert first.done == 0
    assert (tmp_path / STATE_FILE).exists()
    second = Trainer(TASK, CONFIG, tmp_path, CPU)
    second.run()
    assert second.done == 6


def test_held_out_figures_are_logged(tmp_path):
    Trainer(TASK, CONFIG, tmp_path, CPU).run()
    records = [json.loads(line) for line in (tmp_path / LOG_FILE).read_text().splitlines()]
    assert [record["step"] for record in records] == [3, 6]
    assert all(record["seurat_mean"] > 0 and record["robust_mean"] > 0 for record in records)


def test_another_configuration_does_not_resume(tmp_path):
    Trainer(TASK, CONFIG, tmp_path, CPU).run(seconds=0.0)
    other = dataclasses.replace(TASK, model=SeuratConfig(name="tiny", width=32, heads=2))
    with pytest.raises(KinedepthError, match="another configuration"):
        Trainer(other, CONFIG, tmp_path, CPU).run()


def test_a_damaged_state_is_refused_with_one_sentence(tmp_path):
    (tmp_path / STATE_FILE).write_bytes(b"half a file")
    with pytest.raises(KinedepthError, match="not a training state"):
        Trainer(TASK, CONFIG, tmp_path, CPU).run()


def test_training_lowers_the_error_on_the_windows_it_sees(tmp_path):
    """Forty steps on one and the same batch must beat the local fit it starts from."""
    task = dataclasses.replace(TASK, windows=WindowConfig(support_grids=(6,), queries=16))

    torch.manual_seed(0)
    network = task.build()
    optimizer = torch.optim.AdamW(network.parameters(), lr=3e-3)
    errors = []
    for _ in range(40):
        generator = torch.Generator().manual_seed(1)
        optimizer.zero_grad()
        errors.append(task.step(network, generator, 4, 0.0)["train_error"])
        optimizer.step()
    assert errors[-1] < 0.8 * errors[0]


def test_a_window_run_backwards_has_the_ratios_of_the_way_back():
    scenes = WindowConfig(reversed_share=0.0, noise=TrackerNoise(clean_share=1.0), queries=12)
    there = sample_windows(torch.Generator().manual_seed(3), 2, scenes, grid=5)
    back = sample_windows(
        torch.Generator().manual_seed(3), 2, dataclasses.replace(scenes, reversed_share=1.0), grid=5
    )
    for forward, backward in ((there.queries, back.queries), (there.support, back.support)):
        assert torch.equal(backward.position, forward.position.flip(1))
        ratio = forward.log_ratio[:, -1:] + backward.log_ratio
        assert torch.allclose(ratio, forward.log_ratio.flip(1), atol=1e-6)
        known = backward.weight > 0
        assert known.any()
        assert (forward.weight.flip(1)[known] > 0).all()


def test_networks_of_large_grids_see_small_ones_first():
    task = SeuratTask.for_model(dataclasses.replace(TASK.model, support_grid=24))
    early, late = task._windows_at(0.1), task._windows_at(0.9)
    assert max(early.support_grids) < max(late.support_grids) == 24
    assert early.queries < late.queries
    small = SeuratTask.for_model(TASK.model)
    assert small._windows_at(0.1) == small._windows_at(0.9)
