"""Made-up depth written to files, for the tests of what is written."""

from pathlib import Path

import numpy as np

from kinedepth.exporting.depth_colours import measure_ranges
from kinedepth.exporting.depth_outputs import DepthOutputs

KINDS = ("metric", "scale_invariant", "affine_invariant", "affine_invariant_disparity")


def some_depth(frames: int = 4, height: int = 7, width: int = 9, seed: int = 0) -> np.ndarray:
    """Metres between 0.5 and 6."""
    generator = np.random.default_rng(seed)
    return generator.uniform(0.5, 6, (frames, height, width)).astype(np.float32)


def pictures_of(depth: np.ndarray) -> np.ndarray:
    generator = np.random.default_rng(7)
    return generator.integers(0, 256, (*depth.shape, 3), dtype=np.uint8)


def outputs_for(folder: Path, depth: np.ndarray, formats=("npz",), **options) -> DepthOutputs:
    settings = {"kind": "metric", "fps": 10.0, **options}
    if "value_range" not in settings:
        settings["value_range"] = measure_ranges(depth, settings["kind"]).value
    frames, height, width = depth.shape
    return DepthOutputs(folder, formats, frames=frames, height=height, width=width, **settings)


def write_all(folder: Path, depth: np.ndarray, formats=("npz",), **options) -> list[Path]:
    """Write all frames in all formats; the paths that appear."""
    images = pictures_of(depth)
    with outputs_for(folder, depth, formats, **options) as outputs:
        for index, frame in enumerate(depth):
            outputs.write(index, images[index], frame)
    return outputs.paths
