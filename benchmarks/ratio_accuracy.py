"""How well is the depth ratio known? Constant depth, density, a local fit and Seurat.

    python benchmarks/ratio_accuracy.py [--model small] [--sequences FOLDER] [--clips 8]

on generator windows, on rendered clips with true tracks and with the embedded tracker's, and,
where a folder of RGB-D sequences is given, on those with the embedded tracker (protocol
``window-8``, see ``kinedepth/evaluation/sequences.py``).
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import torch
from _report import print_table, write_results

from kinedepth.evaluation.methods import METHODS
from kinedepth.evaluation.rendered import RatioErrors, gather_clip
from kinedepth.evaluation.sequences import STARTS_EVERY, load_depth_sequence, score_sequence
from kinedepth.evaluation.windows import score_windows
from kinedepth.seurat.checkpoint import load_checkpoint, read_calibration
from kinedepth.seurat.uncertainty import Calibration
from kinedepth.synthesis.clip_files import read_clip_truth, write_clips
from kinedepth.synthesis.windows import WindowConfig
from kinedepth.tracking.registry import make_tracker
from kinedepth.video import load_video

# Neither seed is drawn from in training or in tuning.
WINDOW_SEED = 77_000_000
CLIP_SEED = 4242

Figures = dict[str, dict[str, float]]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="small")
    parser.add_argument("--windows", type=int, default=256)
    parser.add_argument("--clips", type=int, default=8)
    parser.add_argument("--clips-folder", type=Path, default=Path("runs/benchmark_clips"))
    parser.add_argument("--sequences", type=Path, help="folder of RGB-D sequences")
    parser.add_argument("--device", default="cpu")
    arguments = parser.parse_args()

    device = torch.device(arguments.device)
    network = load_checkpoint(arguments.model, device)
    calibration = read_calibration(arguments.model)
    figures: dict[str, Any] = {"model": arguments.model}
    with torch.inference_mode():
        figures["generator windows"] = score_windows(
            network, WindowConfig(), arguments.windows, WINDOW_SEED, device
        )
    show("generator windows", figures["generator windows"])
    if arguments.clips:
        figures |= on_rendered_clips(network, calibration, arguments.clips, arguments.clips_folder)
    if arguments.sequences:
        figures["sequences"] = on_sequences(network, calibration, arguments.sequences)
    print("written:", write_results("ratio_accuracy", figures).name)


def on_rendered_clips(
    network: Any, calibration: Calibration, clips: int, folder: Path
) -> dict[str, Figures]:
    write_clips(folder, clips, frames=48, seed=CLIP_SEED, tracks=512)
    results = {}
    for title, spec in (("true tracks", None), ("flow tracks", "flow")):
        gathered = RatioErrors.empty()
        for path in sorted(folder.glob("clip*.json"))[:clips]:
            truth = read_clip_truth(path.with_suffix(".npz"))
            tracker = make_tracker(spec) if spec else None
            video = load_video(path.with_suffix(".mp4")) if spec else None
            gather_clip(gathered, truth, network, tracker, video, calibration)
        name = f"rendered clips, {title}"
        results[name] = gathered.summary()
        show(name, results[name])
    return results


def on_sequences(network: Any, calibration: Calibration, folder: Path) -> dict[str, Figures]:
    results: dict[str, Figures] = {}
    for meta in sorted(folder.glob("*/meta.json")):
        sequence = load_depth_sequence(meta.parent)
        for step in STARTS_EVERY:
            name = f"{meta.parent.name}, step {step}"
            results[name] = score_sequence(
                sequence, make_tracker("flow"), step, network, calibration
            )
    rows = []
    for name, figures in results.items():
        moving = figures["constant"]["moving_share"]
        cells = [
            f"{figures[m]['mean']:.4f} / {figures[m].get('moving_median', float('nan')):.4f}"
            for m in METHODS
        ]
        count = f"{figures['constant']['count']:.0f}"
        rows.append([name, count, f"{100 * moving:.0f} %", *cells])
    columns = ["sequence (mean error, all / median, moving)", "pairs", "moving", *METHODS.values()]
    print_table("RGB-D sequences, flow tracks, protocol window-8", columns, rows)
    return results


def show(title: str, figures: Figures) -> None:
    columns = ["method", "mean error", "within 5 %", "within 10 %", "mean, moving", "vs IRLS"]
    rows = []
    for method, name in METHODS.items():
        if method not in figures:  # Generator windows have no camera.
            continue
        f = figures[method]
        change = f["mean"] / figures["robust"]["mean"] - 1
        moving = f["moving"] / figures["robust"]["moving"] - 1
        rows.append(
            [
                name,
                f"{f['mean']:.4f}",
                f"{f['within_5']:.3f}",
                f"{f['within_10']:.3f}",
                f"{f['moving']:.4f}",
                f"{100 * change:+.0f} % / {100 * moving:+.0f} %",
            ]
        )
    print_table(f"{title}: error of the log depth ratio", columns, rows)


if __name__ == "__main__":
    main()
