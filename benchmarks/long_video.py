"""Does a lift's memory grow with the length of the video? And does fusing in blocks change it?

    python benchmarks/long_video.py [--lengths 500,10000] [--points 6] [--size 96x72]
                                    [--compare 1000] [--light]

A rendered clip is shrunk and played forwards and backwards until it is long enough, then lifted by
``kinedepth lift`` with the shipped tracker and network, all outputs included, each length in a
process of its own. Printed are its peak memory, the most that its hidden folder held on disk, and
the time of each stage. ``--compare`` lifts that many frames in memory and compares the windows
fused in a moving block with the same windows fused at once; 0 leaves it out. ``--light`` takes an
untrained network with a hundredth of the parameters and a coarser grid of supporting points, for
machines on which 10,000 frames of the shipped one take hours; everything else is as shipped.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from _report import print_table, write_results
from lift_speed import CLIP_SEED
from numpy.typing import NDArray

from kinedepth.exporting.video_writer import VideoWriter
from kinedepth.lifting.run import UNFINISHED
from kinedepth.video import load_video


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--lengths", default="500,10000", help="empty for none")
    parser.add_argument("--points", type=int, default=6, help="points a side")
    parser.add_argument("--size", default="96x72")
    parser.add_argument("--compare", type=int, default=1000, help="frames; 0 for no comparison")
    parser.add_argument("--clips-folder", type=Path, default=Path("runs/benchmark_clips"))
    parser.add_argument("--light", action="store_true", help="a tiny network")
    arguments = parser.parse_args()
    lengths = [int(part) for part in arguments.lengths.split(",") if part]
    results = "long_video_light" if arguments.light else "long_video"
    results = results if lengths else "moving_block"
    from kinedepth.synthesis.clip_files import write_clips

    write_clips(arguments.clips_folder, 1, frames=48, seed=CLIP_SEED, tracks=512)
    source = arguments.clips_folder / "clip0000.mp4"
    width, height = (int(side) for side in arguments.size.split("x"))
    figures: dict[str, Any] = {"size": [width, height], "points": arguments.points**2}
    with tempfile.TemporaryDirectory() as folder:
        model = "small"
        if arguments.light:
            model = str(Path(folder) / "light.safetensors")
            figures["parameters"] = save_light_network(Path(model))
        for length in lengths:
            video = Path(folder) / f"{length}.mp4"
            play_to_and_fro(source, video, length, width, height)
            figures[str(length)] = lift_one(
                video, Path(folder) / f"out{length}", arguments.points, model
            )
            print(length, figures[str(length)], flush=True)
            write_results(results, figures)  # A long run may be cut short.
        if arguments.compare:
            video = Path(folder) / "compared.mp4"
            play_to_and_fro(source, video, arguments.compare, width, height)
            figures["blocks_against_at_once"] = compare(video, arguments.points, model)
            print("blocks against at once:", figures["blocks_against_at_once"], flush=True)
    if lengths:
        show(figures, [str(length) for length in lengths])
    print("written:", write_results(results, figures).name)


def play_to_and_fro(source: Path, target: Path, length: int, width: int, height: int) -> None:
    """Write ``length`` frames of ``source``, shrunk, played forwards, backwards, forwards, ..."""
    video = load_video(source)
    frames: list[NDArray] = []
    for _, block in video.blocks():
        frames += [cv2.resize(f, (width, height), interpolation=cv2.INTER_AREA) for f in block]
    period = 2 * (len(frames) - 1)
    with VideoWriter(target, width, height, video.fps) as writer:
        for index in range(length):
            place = index % period
            writer.write(frames[place if place < len(frames) else period - place])


def save_light_network(path: Path) -> int:
    """Write an untrained network and return how many parameters it has."""
    import torch

    from kinedepth.seurat.checkpoint import save_checkpoint
    from kinedepth.seurat.config import SeuratConfig
    from kinedepth.seurat.model import Seurat

    torch.manual_seed(0)
    network = Seurat(SeuratConfig(name="light", width=24, heads=2, layers=1, support_grid=5))
    save_checkpoint(path, network, {})
    return sum(parameter.numel() for parameter in network.parameters())


def lift_one(video: Path, output: Path, points: int, model: str) -> dict[str, Any]:
    """Lift one video in a process of its own; seconds, peak memory and disk space in MiB."""
    command = ["lift", str(video), "-o", str(output), "--queries", f"grid:{points}"]
    command += ["--model", model]
    began, most = time.perf_counter(), 0
    program = subprocess.Popen([sys.executable, "-m", "kinedepth", *command])
    while program.poll() is None:
        most = max(most, folder_size(output / UNFINISHED))
        time.sleep(0.5)
    if program.returncode:
        raise SystemExit(f"kinedepth {' '.join(command)} ended with {program.returncode}")
    summary = json.loads((output / "summary.json").read_text())
    return {
        "seconds": summary["seconds"],
        "total": time.perf_counter() - began,
        "peak_memory_mib": summary["peak_memory_mib"],
        "hidden_folder_mib": round(most / 2**20, 1),
        "tracks_file_mib": round((output / "tracks.npz").stat().st_size / 2**20, 1),
        "page_mib": round((output / "scene.html").stat().st_size / 2**20, 1),
    }


def folder_size(folder: Path) -> int:
    """Bytes on the disk; files of which only a part was written take no more than that."""
    try:
        return sum(512 * path.stat().st_blocks for path in folder.iterdir())
    except OSError:
        return 0


def compare(video: Path, points: int, model: str) -> dict[str, float]:
    """How far depth ratios fused in a moving block are from those fused at once."""
    from kinedepth.lifting.joining import join_windows
    from kinedepth.lifting.ratios import estimate
    from kinedepth.lifting.setup import prepare_lift
    from kinedepth.lifting.tracks2d import track
    from kinedepth.lifting.work import WorkInMemory
    from kinedepth.seurat.windows import fuse
    from kinedepth.tracks import grid

    setup, work = prepare_lift(video, grid(points), model=model), WorkInMemory()
    ratios = estimate(setup, work, *track(setup, work))
    frames = range(len(setup.video))
    in_blocks = join_windows(setup, work, ratios).read(frames)
    at_once = fuse(ratios.all(), len(frames))
    off = np.abs(np.exp((in_blocks - in_blocks[0]) - (at_once - at_once[0])) - 1)
    return {
        "frames": len(frames),
        "largest": float(off.max()),
        "percentile_99": float(np.percentile(off, 99)),
        "mean": float(off.mean()),
    }


def show(figures: dict[str, Any], lengths: list[str]) -> None:
    first = figures[lengths[0]]["peak_memory_mib"]
    rows = []
    for length in lengths:
        f = figures[length]
        stages = [f"{f['seconds'][stage]:.1f}" for stage in ("tracking", "seurat", "joining")]
        memory = [f"{f['peak_memory_mib']:.0f}", f"{f['peak_memory_mib'] / first:.3f}"]
        disk = [f"{f['hidden_folder_mib']:.1f}", f"{f['tracks_file_mib']:.1f}"]
        rows.append([length, *stages, f"{f['total']:.1f}", *memory, *disk])
    columns = ["frames", "tracking, s", "seurat, s", "joining, s", "total, s"]
    columns += ["peak MiB", "of the first", "hidden folder, MiB", "tracks.npz, MiB"]
    size = "x".join(map(str, figures["size"]))
    print_table(f"lift at {size}, {figures['points']} points, fused", columns, rows)


if __name__ == "__main__":
    main()
