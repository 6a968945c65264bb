"""Training on several processes is the same as on one, up to rounding."""

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from kinedepth.seurat.config import SeuratConfig
from kinedepth.synthesis.windows import WindowConfig
from kinedepth.training.seurat import SeuratTask
from kinedepth.training.trainer import STATE_FILE, Share, Trainer, TrainingConfig


class Untested(SeuratTask):
    """Without held-out tests, which cost more than the steps."""

    def test(self, network):
        return {}


TASK = Untested(
    model=SeuratConfig(name="tiny", width=16, heads=2, iterations=2),
    windows=WindowConfig(support_grids=(4, 5), queries=6),
    late_iterations=0.3,
)
STEPS = 3
ROUNDING = 1e-5
"""Sums of float32 numbers in another order: some 1e-7 for each of the orders of summation."""

PROGRAM = """
import sys
from pathlib import Path
import torch
torch.set_num_threads(1)
sys.path.insert(0, {tests!r})
from test_training_processes import train

train(Path({folder!r}), batch={batch})
"""


def train(folder, batch):
    """A few steps, whose figures the first process writes down."""
    trainer = Trainer(
        TASK, TrainingConfig(STEPS, batch, warmup=1, seed=4), folder, torch.device("cpu")
    )
    steps = []
    trainer.run(lambda step, figures: steps.append(figures))
    if trainer.rank == 0:
        (folder / "steps.json").write_text(json.dumps([s for s in steps if s]))
    return trainer


def run_processes(folder, count, batch):
    """The same in ``count`` processes that exchange gradients over loopback, as of torchrun."""
    program = PROGRAM.format(tests=str(Path(__file__).parent), folder=str(folder), batch=batch)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    shared = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "WORLD_SIZE": str(count)}
    running = [
        subprocess.Popen(
            [sys.executable, "-c", program],
            env={**os.environ, **shared, "RANK": str(rank), "GLOO_SOCKET_IFNAME": "lo"},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for rank in range(count)
    ]
    for process in running:
        said = process.communicate(timeout=300)[0]
        assert process.returncode == 0, said


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="names Linux's loopback device")
def test_two_processes_reach_the_loss_of_one(tmp_path):
    run_processes(tmp_path / "two", count=2, batch=2)
    train(tmp_path / "one", batch=4)
    steps = [json.loads((tmp_path / name / "steps.json").read_text()) for name in ("one", "two")]
    assert len(steps[0]) == len(steps[1]) == STEPS
    for alone, together in zip(*steps, strict=True):
        assert together == pytest.approx(alone, rel=ROUNDING)
    states = [load_file(tmp_path / name / STATE_FILE) for name in ("one", "two")]
    # The optimizer divides each gradient by its own size, so where one is next to nothing,
    # rounding decides its sign: such a weight may be off by a whole step, and few are.
    off = [
        (states[1][name] - value).abs().flatten()
        for name, value in states[0].items()
        if name.startswith("network.")
    ]
    assert (torch.cat(off) > 1e-6).float().mean() < 1e-3


@pytest.mark.parametrize("processes", [2, 3])
@pytest.mark.parametrize("progress", [0.0, 0.9])
def test_the_parts_of_a_batch_have_the_gradient_of_the_whole(processes, progress):
    torch.manual_seed(9)
    network = TASK.build()
    for parameter in network.parameters():  # A fresh network answers the same at every iteration.
        parameter.data += 0.02 * torch.randn_like(parameter)

    def gradient(batch, share):
        network.zero_grad()
        generator = torch.Generator().manual_seed(8)  # Two iterations, late.
        logged = TASK.divided_step(network, generator, batch, progress, share)
        flat = torch.cat([p.grad.flatten() for p in network.parameters() if p.grad is not None])
        return flat, logged["train_error"]

    whole, error = gradient(6, Share())
    parts = [gradient(6 // processes, Share(r, processes)) for r in range(processes)]
    mean = torch.stack([part for part, _ in parts]).mean(0)
    assert (mean - whole).norm() < ROUNDING * whole.norm()
    assert sum(each for _, each in parts) / processes == pytest.approx(error, rel=ROUNDING)
    assert (parts[0][0] - whole).norm() > 0.01 * whole.norm()  # The parts do differ.
