"""A small trainer: steps, a moving average of the weights, held-out figures, exact resumption.

It knows nothing of any model. A :class:`Task` brings the network, what one step does and how it is
tested. Data are drawn from a generator seeded by (seed, step, rank), so a run that was stopped
and resumed sees exactly what an uninterrupted one would have seen. A :class:`DividingTask` has one
batch for all processes, so its steps are the same on any number of them, up to rounding.
"""

from __future__ import annotations

import json
import math
import os
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Protocol, runtime_checkable

import torch
import torch.distributed as dist
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from kinedepth.errors import KinedepthError
from kinedepth.exporting.atomic import atomic_path
from kinedepth.training.ctrl_c import ctrl_c_asked

STATE_FILE = "state.safetensors"
LOG_FILE = "log.jsonl"


@dataclass(frozen=True)
class TrainingConfig:
    """How long and how fast to train."""

    steps: int = 10_000
    batch: int = 32  # on each process
    learning_rate: float = 5e-4
    weight_decay: float = 1e-5
    warmup: int = 100  # steps
    decay: str = "linear"  # to zero; or exponential, to final_share
    decay_from: float = 0.4  # share of the steps after which a linear decay begins
    final_share: float = 0.01  # of the rate, at the end of an exponential decay
    gradient_norm: float = 1.0
    average: float = 0.998  # decay of the moving average of the weights
    precision: str = "float32"  # of the matrix products: float32 or bfloat16
    seed: int = 0
    test_every: int = 500
    save_every: int = 100

    def rate(self, step: int) -> float:
        """Learning rate at ``step``: linear warm-up, then constant and linear decay to zero, or
        exponential decay from the end of the warm-up on."""
        rise = min(1.0, (step + 1) / max(1, self.warmup))
        if self.decay == "exponential":
            passed = max(0, step - self.warmup) / max(1, self.steps - self.warmup)
            return self.learning_rate * rise * self.final_share**passed
        start = self.decay_from * self.steps
        fall = min(1.0, (self.steps - step) / max(1.0, self.steps - start))
        return self.learning_rate * rise * max(0.0, fall)


class Task(Protocol):
    """What is trained: a network, its step and its test."""

    @property
    def name(self) -> str:
        """What is trained; a state is only resumed under the name it was saved with."""
        ...

    def build(self) -> nn.Module:
        """A fresh network on the CPU."""
        ...

    def step(
        self, network: nn.Module, generator: torch.Generator, batch: int, progress: float
    ) -> dict[str, float]:
        """Draw a batch, add its gradients (call ``backward``), return figures to log."""
        ...

    def test(self, network: nn.Module) -> dict[str, float]:
        """Held-out figures of the network as it is."""
        ...


@dataclass(frozen=True)
class Share:
    """The part of a step's batch that one of several processes works on."""

    rank: int = 0
    processes: int = 1

    def rows(self, batch: int) -> slice:
        """Which of all ``batch * processes`` examples these are."""
        return slice(self.rank * batch, (self.rank + 1) * batch)


@runtime_checkable
class DividingTask(Task, Protocol):
    """A task whose processes divide one batch among them."""

    def divided_step(
        self,
        network: nn.Module,
        generator: torch.Generator,
        batch: int,
        progress: float,
        share: Share,
    ) -> dict[str, float]:
        """As ``step``, for one of several processes.

        All get generators of one seed. The means over the processes, of gradients and of the
        figures returned, have to be those of one process with all ``batch * processes`` examples.
        """
        ...


Report = Callable[[int, dict[str, float]], None]
"""Called with the step and its figures."""


class Trainer:
    """Trains one task in one folder; call :meth:`run` again to go on where it stopped."""

    def __init__(
        self, task: Task, config: TrainingConfig, folder: Path, device: torch.device
    ) -> None:
        self.task, self.config, self.folder, self.device = task, config, folder, device
        self.rank, self.processes = _join_processes(device)
        torch.manual_seed(config.seed)
        self.network = task.build().to(device)
        self.average = {k: v.detach().clone() for k, v in self.network.state_dict().items()}
        self.optimizer = torch.optim.AdamW(
            self.network.parameters(),
            lr=config.learning_rate,
            weight_decay=config.weight_decay,
            betas=(0.9, 0.98),
            fused=device.type == "cuda",
        )
        self.done = 0
        self.seconds = 0.0

    def run(
        self, report: Report | None = None, seconds: float = math.inf, resume: bool = True
    ) -> dict[str, float]:
        """Train until the last step or for ``seconds``; returns the last held-out figures.

        Saves on the way, at the end, and when interrupted; Ctrl-C waits for the end of a step.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        state = self.folder / STATE_FILE
        if resume and state.exists():
            self._load(state)
        with ctrl_c_asked() as asked:
            figures = self._steps(report or (lambda step, figures: None), seconds, asked)
            if asked():
                raise KeyboardInterrupt
        return figures

    def _steps(self, report: Report, seconds: float, asked: Callable[[], bool]) -> dict[str, float]:
        """Train on until the last step, for ``seconds``, or until ``asked`` to stop."""
        began, elapsed = time.monotonic(), self.seconds
        figures: dict[str, float] = {}
        try:
            while self.done < self.config.steps:
                if self._anyone(asked() or time.monotonic() - began >= seconds):
                    break
                logged = self._one_step()
                self.done += 1
                self.seconds = elapsed + time.monotonic() - began
                report(self.done, logged)
                last = self.done == self.config.steps
                # One process is enough to test; the others meet it again at the next step.
                if self.rank == 0 and (self.done % self.config.test_every == 0 or last):
                    figures = self.test()
                    self._log({**logged, **figures})
                    report(self.done, figures)
                if self.done % self.config.save_every == 0 or last:
                    self.save()
        except KeyboardInterrupt:  # Of the report, which is between two steps.
            self.save()
            raise
        self.save()
        return figures

    def test(self) -> dict[str, float]:
        """Held-out figures of the averaged weights."""
        raw = {k: v.detach().clone() for k, v in self.network.state_dict().items()}
        self.network.load_state_dict(self.average)
        self.network.eval()
        with torch.no_grad():
            figures = self.task.test(self.network)
        self.network.load_state_dict(raw)
        self.network.train()
        return figures

    def _one_step(self) -> dict[str, float]:
        config = self.config
        for group in self.optimizer.param_groups:
            group["lr"] = config.rate(self.done)
        self.optimizer.zero_grad(set_to_none=True)
        half = config.precision == "bfloat16"
        with torch.autocast(self.device.type, torch.bfloat16, enabled=half):
            logged = self._gradients_of_task()
        self._share_gradients()
        norm = nn.utils.clip_grad_norm_(self.network.parameters(), config.gradient_norm)
        if torch.isfinite(norm):
            self.optimizer.step()
        # A young average should not be weighed down by the first, random weights.
        keep = min(config.average, (1 + self.done) / (10 + self.done))
        with torch.no_grad():
            for name, value in self.network.state_dict().items():
                self.average[name].lerp_(value, 1 - keep)
        return {**logged, "gradient_norm": float(norm), "learning_rate": config.rate(self.done)}

    def _gradients_of_task(self) -> dict[str, float]:
        """Let the task add its gradients; returns its figures."""
        batch, progress = self.config.batch, self.done / self.config.steps
        generator = torch.Generator(self.device)
        first = self.config.seed * 1_000_003 + 1
        if not isinstance(self.task, DividingTask):
            generator.manual_seed(first + self.done * self.processes + self.rank)
            return self.task.step(self.network, generator, batch, progress)
        generator.manual_seed(first + self.done)
        share = Share(self.rank, self.processes)
        logged = self.task.divided_step(self.network, generator, batch, progress, share)
        if self.processes == 1:
            return logged
        figures = torch.tensor(list(logged.values()), device=self.device)
        dist.all_reduce(figures)
        return dict(zip(logged, (figures / self.processes).tolist(), strict=True))

    def _share_gradients(self) -> None:
        if self.processes == 1:
            return
        gradients = [p.grad for p in self.network.parameters() if p.grad is not None]
        flat = torch.cat([g.flatten() for g in gradients])
        dist.all_reduce(flat)
        flat /= self.processes
        for gradient, part in zip(
            gradients, flat.split([g.numel() for g in gradients]), strict=True
        ):
            gradient.copy_(part.view_as(gradient))

    def _anyone(self, wants: bool) -> bool:
        """Whether any process wants something; all get the same answer at the same step."""
        if self.processes == 1:
            return wants
        vote = torch.tensor(float(wants), device=self.device)
        dist.all_reduce(vote, dist.ReduceOp.MAX)
        return bool(vote)

    def _log(self, figures: dict[str, float]) -> None:
        if self.rank == 0:
            record = {"step": self.done, "seconds": round(self.seconds, 1), **figures}
            with (self.folder / LOG_FILE).open("a") as file:
                file.write(json.dumps(record) + "\n")

    def save(self) -> None:
        """Write everything that the next run needs to go on as if never stopped."""
        if self.rank != 0:
            return
        tensors: dict[str, Tensor] = {}
        for name, value in self.network.state_dict().items():
            tensors[f"network.{name}"] = value
            tensors[f"average.{name}"] = self.average[name]
        for name, parameter in self.network.named_parameters():
            moments = self.optimizer.state.get(parameter, {})
            for key, value in moments.items():
                tensors[f"optimizer.{key}.{name}"] = value
        record = {
            "done": self.done,
            "seconds": self.seconds,
            "task": self.task.name,
            "config": asdict(self.config),
        }
        with atomic_path(self.folder / STATE_FILE) as path:
            save_file(
                {k: v.detach().cpu().contiguous() for k, v in tensors.items()},
                path,
                {"training": json.dumps(record)},
            )

    def _load(self, path: Path) -> None:
        try:
            with safe_open(path, "pt") as file:
                record = json.loads((file.metadata() or {})["training"])
                tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        except (SafetensorError, KeyError, ValueError) as error:
            raise KinedepthError(
                f"{path} is not a training state that can be resumed ({error}); "
                f"remove it to start again."
            ) from None
        expected = {f"network.{name}": v.shape for name, v in self.network.state_dict().items()}
        stored = {k: v.shape for k, v in tensors.items() if k.startswith("network.")}
        if record["task"] != self.task.name or expected != stored:
            raise KinedepthError(
                f"{path} was trained with another configuration ({record['task']}); "
                f"resume with that one or choose another folder."
            )
        self.done, self.seconds = record["done"], record["seconds"]
        self.network.load_state_dict({k: tensors[f"network.{k}"] for k in self.average})
        self.average = {k: tensors[f"average.{k}"].to(self.device) for k in self.average}
        for name, parameter in self.network.named_parameters():
            moments = {
                key: tensors[f"optimizer.{key}.{name}"].to(
                    # Only the fused optimizer keeps its step counter on the device.
                    self.device if key != "step" or self.device.type == "cuda" else "cpu"
                )
                for key in ("step", "exp_avg", "exp_avg_sq")
                if f"optimizer.{key}.{name}" in tensors
            }
            if moments:
                self.optimizer.state[parameter] = moments


def _join_processes(device: torch.device) -> tuple[int, int]:
    """This process's rank and how many there are, as torchrun set them up."""
    if "WORLD_SIZE" not in os.environ or int(os.environ["WORLD_SIZE"]) == 1:
        return 0, 1
    if not dist.is_initialized():
        dist.init_process_group("nccl" if device.type == "cuda" else "gloo")
    return dist.get_rank(), dist.get_world_size()
