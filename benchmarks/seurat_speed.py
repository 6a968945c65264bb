"""How fast are training and inference of Seurat, and where does the time go?

    python benchmarks/seurat_speed.py [--device cpu] [--precision bfloat16] [--models small,base]
        [--compile]

For each model: windows a second in inference (256 queries) and in training (64 queries, as the
trainer draws them), the arithmetic of one window by PyTorch's own count, and the share of the
matrix rate that this device was measured at in the same run and precision. Beside it, what the
parts of a training step take: drawing windows, features, forward and backward pass, optimizer.
Inference is timed in float32 as well, as a lift runs it, and with --compile after torch.compile.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from _report import print_table, write_results
from torch.utils.flop_counter import FlopCounterMode

from kinedepth.seurat import tokens
from kinedepth.seurat.config import SeuratConfig
from kinedepth.seurat.looking import look
from kinedepth.seurat.model import Seurat
from kinedepth.synthesis.windows import WindowConfig, Windows, sample_windows
from kinedepth.training.seurat import SeuratTask, log_ratio_error, tracklets

MODELS = {"small": SeuratConfig, "base": SeuratConfig.base, "paper": SeuratConfig.paper}
PRECISIONS = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--precision", default="bfloat16", choices=sorted(PRECISIONS))
    parser.add_argument("--models", default="small,base")
    parser.add_argument("--batch", type=int, default=4, help="windows at once")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--compile", action="store_true", help="time compiled inference, too")
    arguments = parser.parse_args()
    clock = Clock(torch.device(arguments.device), arguments.repeats)
    precision = PRECISIONS[arguments.precision]
    rate = matrix_rate(clock, precision)
    print(f"matrix products in {arguments.precision}: {rate / 1e9:.0f} GFLOP/s")
    figures: dict[str, Any] = {"matrix_rate": rate}
    overview, parts = [], []
    for name in arguments.models.split(","):
        f = figures[name] = measure(name, clock, precision, arguments.batch, rate)
        f |= other_ways(name, clock, arguments.batch, rate, arguments.compile)
        for kind in [kind for kind in f if kind != "parts"]:
            g = f[kind]
            overview.append(
                [
                    f"{name}, {kind}",
                    f"{g['windows_per_second']:.1f}",
                    f"{g['operations_per_window'] / 1e9:.1f}",
                    f"{100 * g['share_of_matrix_rate']:.0f} %",
                ]
            )
        shares = f["parts"]
        total = sum(shares.values())
        parts.append([name, *(f"{100 * s / total:.0f} %" for s in shares.values())])
    columns = ["", "windows/s", "GFLOP a window", "of the matrix rate"]
    print_table(f"{arguments.device}, {arguments.precision}", columns, overview)
    print_table("a training step", ["", *shares], parts)
    print("written:", write_results(f"seurat_speed_{clock.device.type}", figures).name)


class Clock:
    """Median wall time of a function, the device's queue emptied before and after."""

    def __init__(self, device: torch.device, repeats: int) -> None:
        self.device, self.repeats = device, repeats

    def time(self, function: Callable[[], Any]) -> float:
        """Seconds of one call, after one that does not count."""
        function()
        seconds = []
        for _ in range(self.repeats):
            self._wait()
            began = time.perf_counter()
            function()
            self._wait()
            seconds.append(time.perf_counter() - began)
        return sorted(seconds)[len(seconds) // 2]

    def _wait(self) -> None:
        if self.device.type == "cuda":
            torch.cuda.synchronize()
        elif self.device.type == "mps":
            torch.mps.synchronize()


def matrix_rate(clock: Clock, precision: torch.dtype) -> float:
    """Operations a second of a large matrix product on this device."""
    size = 8192 if clock.device.type == "cuda" else 1024
    a, b = (torch.randn(size, size, device=clock.device, dtype=precision) for _ in range(2))
    return 2 * size**3 / clock.time(lambda: a @ b)


def measure(
    name: str, clock: Clock, precision: torch.dtype, batch: int, rate: float
) -> dict[str, Any]:
    """Speed of one configuration."""
    device = clock.device
    config = MODELS[name]()
    network = Seurat(config).to(device)
    generator = torch.Generator(device).manual_seed(1)
    many = sample_windows(generator, batch, WindowConfig(queries=256), config.support_grid)
    task = SeuratTask.for_model(config)
    few = sample_windows(generator, batch, task.windows, max(task.windows.support_grids))

    def infer() -> None:
        with torch.inference_mode(), torch.autocast(device.type, precision):
            look(network, tracklets(many.queries), tracklets(many.support))

    result = {"inference": speed(clock, infer, batch, rate)}
    result["training"] = speed(clock, lambda: both_passes(network, few, precision), batch, rate)
    optimizer = torch.optim.AdamW(network.parameters(), fused=device.type == "cuda")
    passes = batch / result["training"]["windows_per_second"]
    features = clock.time(lambda: draw_features(config, few))
    result["parts"] = {
        "drawing": clock.time(lambda: sample_windows(generator, batch, task.windows)),
        "features": features,
        "both passes": passes - features,
        "optimizer": clock.time(optimizer.step),
    }
    return result


def other_ways(
    name: str, clock: Clock, batch: int, rate: float, compiled: bool
) -> dict[str, dict[str, float]]:
    """Inference in float32, eager and compiled."""
    config = MODELS[name]()
    network = Seurat(config).to(clock.device).eval()
    generator = torch.Generator(clock.device).manual_seed(1)
    windows = sample_windows(generator, batch, WindowConfig(queries=256), config.support_grid)
    queries, support = tracklets(windows.queries), tracklets(windows.support)
    ways: dict[str, Any] = {"inference, float32": network}
    if compiled:
        ways["inference, float32, compiled"] = torch.compile(network)
    result = {}
    with torch.inference_mode():
        with FlopCounterMode(display=False) as counter:
            look(network, queries, support)
        for way, each in ways.items():
            began = time.perf_counter()
            look(each, queries, support)
            first = time.perf_counter() - began
            windows_per_second = batch / clock.time(partial(look, each, queries, support))
            operations = counter.get_total_flops() / batch
            result[way] = {
                "windows_per_second": windows_per_second,
                "operations_per_window": operations,
                "share_of_matrix_rate": windows_per_second * operations / rate,
                "first_call_seconds": first,
            }
    return result


def speed(clock: Clock, function: Callable[[], Any], batch: int, rate: float) -> dict[str, float]:
    """Windows a second, operations of a window, and share of the matrix rate."""
    with FlopCounterMode(display=False) as counter:
        function()
    operations = counter.get_total_flops() / batch
    windows = batch / clock.time(function)
    return {
        "windows_per_second": windows,
        "operations_per_window": operations,
        "share_of_matrix_rate": windows * operations / rate,
    }


def both_passes(network: Seurat, windows: Windows, precision: torch.dtype) -> None:
    """Forward and backward pass of one iteration."""
    network.zero_grad(set_to_none=True)
    with torch.autocast(windows.queries.position.device.type, precision):
        estimates = network.refine(tracklets(windows.queries), tracklets(windows.support), 1)
        for query, support in estimates:
            loss = log_ratio_error(query, windows.queries)
            (loss + log_ratio_error(support, windows.support)).backward()


@torch.no_grad()
def draw_features(config: SeuratConfig, windows: Windows) -> None:
    """The part of the tokens that local fits make."""
    support = tracklets(windows.support)
    for tracks, is_support in ((support, True), (tracklets(windows.queries), False)):
        tokens.static_features(
            config, tracks.position, tracks.visible, support.position, support.visible, is_support
        )


if __name__ == "__main__":
    main()
