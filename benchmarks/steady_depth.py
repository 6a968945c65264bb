"""Depth with noise put in, before and after steadying: AbsRel and TAE.

    python benchmarks/steady_depth.py [--clips 4] [--sequences FOLDER] [--lifted-folder FOLDER]

A model that stands in for a real one gives true depth times a random factor: one for each frame
("frames"), or besides one that differs smoothly over the image, new in every frame ("regions");
and true depth itself ("none"), which should stay as it is. Rendered clips have exact depth and
things that move by themselves, which TAE takes for error, so TAE of the truth stands beside it.
Of RGB-D sequences the sensor's depth is the truth, and its holes are filled with the nearest
reading before the noise is put in. Scored is every other pixel of every other row.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from _report import print_table, write_results
from numpy.typing import NDArray
from ratio_accuracy import CLIP_SEED
from temporal_error import filled

from kinedepth.camera import Intrinsics
from kinedepth.dense.base import DepthModel, FrameProgress
from kinedepth.depth import DepthKind, DepthVideo
from kinedepth.evaluation.depth_datasets import load_dataset
from kinedepth.evaluation.depth_truth import CameraPath, DepthTruth
from kinedepth.evaluation.video_depth import evaluate_depth
from kinedepth.exporting.tracks_file import load_tracks3d, save_tracks3d
from kinedepth.lifting import StageProgress
from kinedepth.steadying import Steadier
from kinedepth.synthesis.clip_files import write_clips
from kinedepth.tracks import Tracks3D
from kinedepth.video import Video, load_video

NOISES = {"none": (0.0, 0.0), "frames": (0.1, 0.0), "regions": (0.05, 0.05)}
"""Standard deviations of the log factor of a frame, and of what is added to it at places."""
WIDTH_OF_NOISE = 0.1
"""Of the Gaussian that the factors of places are smoothed by, as a share of the image's width."""
FRAMES_OF_SEQUENCE = {"tartanair_hospital": 24}
"""Frames that are taken of a sequence, where not 48: this one flies very fast."""


@dataclass(frozen=True)
class Case:
    """A clip: its frames, its depth without holes, and its truth to score against."""

    name: str
    video: Video
    depth: NDArray[np.float32]
    truth: DepthTruth


class NoisedTruth:
    """A per-frame model: true depth times random factors."""

    kind: DepthKind = "metric"
    per_frame = True

    def __init__(self, name: str, depth: NDArray[np.float32], frame: float, region: float) -> None:
        self.name = name
        self._depth = depth
        self._stds = (frame, region)

    def predict(
        self, video: Video, progress: FrameProgress | None = None
    ) -> Iterator[NDArray[np.float32]]:
        """Depth ``(H, W)`` of each frame; the same noise each time."""
        rng = np.random.default_rng(0)
        frame_std, region_std = self._stds
        for depth in self._depth:
            coarse = smooth_noise(rng, depth.shape[1] / depth.shape[0])
            region = cv2.resize(coarse, depth.shape[::-1], interpolation=cv2.INTER_CUBIC)
            yield (depth * np.exp(rng.normal(0, frame_std) + region_std * region)).astype(
                np.float32
            )


def smooth_noise(rng: np.random.Generator, aspect: float) -> NDArray[np.float64]:
    """A small map of smooth noise with standard deviation 1."""
    width = 60
    height = max(1, round(width / aspect))
    margin = round(3 * WIDTH_OF_NOISE * width)
    noise = rng.normal(size=(height + 2 * margin, width + 2 * margin))
    std = WIDTH_OF_NOISE * width
    smooth = cv2.GaussianBlur(noise, (0, 0), std)[margin:-margin, margin:-margin]
    return smooth * (2 * np.sqrt(np.pi) * std)


class KeptTracks(Steadier):
    """A :class:`Steadier` that keeps lifted tracks in a folder between runs."""

    kept: Path

    def lifted(self, block: range, progress: StageProgress | None = None) -> Tracks3D:
        """From the folder where it holds them."""
        path = self.kept / f"{self.video.name}_{block.start}_{block.stop}.npz"
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            save_tracks3d(path, super().lifted(block, progress))
        return load_tracks3d(path)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--clips", type=int, default=4)
    parser.add_argument("--clips-folder", type=Path, default=Path("runs/benchmark_clips"))
    parser.add_argument("--sequences", type=Path, help="Folder of RGB-D sequences.")
    parser.add_argument("--only", help="Names of sequences, with commas between.")
    parser.add_argument("--lifted-folder", type=Path, help="Keeps lifted tracks between runs.")
    arguments = parser.parse_args()
    if not arguments.clips_folder.exists():
        write_clips(arguments.clips_folder, arguments.clips, frames=48, seed=CLIP_SEED, tracks=512)
    figures: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as folder:
        kept = arguments.lifted_folder or Path(folder)
        for case in cases(arguments):
            figures[case.name] = {
                noise: before_and_after(case, stds, kept) for noise, stds in NOISES.items()
            }
            print_case(case.name, figures[case.name])
    for group, names in groups(figures).items():
        print_case(f"mean of {len(names)} {group}", mean_of([figures[name] for name in names]))
    print(f"Wrote {write_results('steady_depth', figures)}.")


def cases(arguments: argparse.Namespace) -> Iterator[Case]:
    """Rendered clips, then sequences."""
    rendered = load_dataset(arguments.clips_folder, "synth")
    for truth in islice(rendered, arguments.clips):
        yield case_of(truth, load_video(arguments.clips_folder / f"{truth.name}.mp4"))
    if arguments.sequences:
        for truth in load_dataset(arguments.sequences, "rgbd"):
            if arguments.only and truth.name not in arguments.only.split(","):
                continue
            frames = min(FRAMES_OF_SEQUENCE.get(truth.name, 48), truth.frames)
            images = arguments.sequences / truth.name / "rgb"
            video = load_video(images, slice(0, frames))
            video.name = truth.name
            yield case_of(truth, video)


def case_of(truth: DepthTruth, video: Video) -> Case:
    frames = list(islice(truth.read(), len(video)))
    depth = np.stack([filled(truth, frame) for frame in frames]).astype(np.float32)
    return Case(truth.name, video, depth, thinned(truth, frames))


def thinned(truth: DepthTruth, frames: list[NDArray]) -> DepthTruth:
    """The first frames of a truth, every other pixel of every other row."""
    height, width = frames[0][::2, ::2].shape
    cameras = truth.cameras
    if cameras:
        path = [
            # The centre of pixel 2 i, at 2 i + 0.5, becomes that of pixel i.
            Intrinsics(c.fx / 2, c.fy / 2, c.cx / 2 + 0.25, c.cy / 2 + 0.25, width, height)
            for c in cameras.intrinsics[: len(frames)]
        ]
        cameras = CameraPath(path, cameras.camera_to_world[: len(frames)])
    return replace(
        truth,
        frames=len(frames),
        height=height,
        width=width,
        read=lambda: (frame[::2, ::2] for frame in frames),
        cameras=cameras,
        selected=None,
        footage=len(frames),
    )


def before_and_after(case: Case, stds: tuple[float, float], kept: Path) -> dict[str, Any]:
    """Scores of a noised truth, and of the same steadied."""
    model: DepthModel = NoisedTruth("noised truth", case.depth, *stds)
    given = np.stack(list(model.predict(case.video)))
    with tempfile.TemporaryDirectory() as folder:
        steadier = KeptTracks(
            case.video, lambda start, stop: given[start:stop], model.kind, Path(folder)
        )
        steadier.kept = kept
        found = steadier.fit()
        steady = np.stack([steadier.steady(index, frame) for index, frame in enumerate(given)])
    change = float(np.abs(steady / given - 1).mean())
    return {
        "before": scores(given, case),
        "after": scores(steady, case),
        "change": change,
        **found,
    }


def scores(depth: NDArray[np.float32], case: Case) -> dict[str, float | None]:
    prediction = DepthVideo(np.ascontiguousarray(depth[:, ::2, ::2]), "metric", case.video.fps)
    found = evaluate_depth(prediction, case.truth)
    return {"abs_rel": found.abs_rel, "tae": found.tae, "tae_of_truth": found.tae_of_truth}


def groups(figures: dict[str, Any]) -> dict[str, list[str]]:
    """Names of cases that are averaged together."""
    clips = [name for name in figures if name.startswith("clip")]
    others = [name for name in figures if name not in clips]
    return {group: names for group, names in (("clips", clips), ("sequences", others)) if names}


def mean_of(cases: list[dict[str, Any]]) -> dict[str, Any]:
    """Mean over cases, of those that have a figure."""

    def mean(*keys: str) -> float | None:
        values = []
        for case in cases:
            value: Any = case
            for key in keys:
                value = value[key]
            if value is not None:
                values.append(value)
        return float(np.mean(values)) if values else None

    return {
        noise: {
            **{
                when: {name: mean(noise, when, name) for name in cases[0][noise][when]}
                for when in ("before", "after")
            },
            "change": mean(noise, "change"),
        }
        for noise in NOISES
    }


def print_case(name: str, figures: dict[str, Any]) -> None:
    """One table: a row for each noise."""

    def shown(value: float | None, scale: float = 1.0) -> str:
        return "-" if value is None else f"{scale * value:.2f}"

    rows = []
    for noise, found in figures.items():
        before, after = found["before"], found["after"]
        ratio = "-" if not before["tae"] else f"{after['tae'] / before['tae']:.2f}"
        rows.append(
            [
                noise,
                *(shown(part["abs_rel"], 100) for part in (before, after)),
                *(shown(part["tae"]) for part in (before, after)),
                ratio,
                shown(before["tae_of_truth"]),
                f"{100 * found['change']:.2f} %",
            ]
        )
    columns = [
        "noise",
        "AbsRel, %",
        "after",
        "TAE",
        "after",
        "of before",
        "of truth",
        "mean change",
    ]
    print_table(name, columns, rows)


if __name__ == "__main__":
    main()
