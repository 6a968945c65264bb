"""Data sets of video with true depth, each read from the folders in which it is distributed.

A name stands for a layout and for the frames that a protocol scores. Lengths, crops, divisors and
farthest depths are those of Video Depth Anything's benchmark (its short protocol follows
DepthCrafter); see ``docs/evaluating_depth.md``.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from kinedepth.errors import KinedepthError
from kinedepth.evaluation.depth_datasets import (
    bonn,
    kitti,
    nyuv2,
    rendered,
    rgbd,
    scannet,
    sintel,
)
from kinedepth.evaluation.depth_datasets._selection import ALL_FRAMES, FrameSelection
from kinedepth.evaluation.depth_truth import DepthTruth

__all__ = ["DATASETS", "DepthDataset", "load_dataset", "recognise_dataset"]


@dataclass(frozen=True)
class DepthDataset:
    """A data set as one protocol scores it.

    Attributes:
        name: for ``--dataset``.
        layout: where files lie below the root, in one line.
        selection: the frames of each clip that are scored.
        load: gives the clips below a root.
        recognises: whether a root looks like this layout.
        load_published: pairs frames as the published benchmark does, where that differs.
    """

    name: str
    layout: str
    selection: FrameSelection
    load: Callable[[Path, FrameSelection], list[DepthTruth]]
    recognises: Callable[[Path], bool]
    load_published: Callable[[Path, FrameSelection], list[DepthTruth]] | None = None


_KITTI = DepthDataset("kitti", kitti.LAYOUT, FrameSelection(0, 110), kitti.load, kitti.recognises)
_SINTEL = DepthDataset(
    "sintel", sintel.LAYOUT, FrameSelection(0, 100), sintel.load, sintel.recognises
)
_NYUV2 = DepthDataset("nyuv2", nyuv2.LAYOUT, FrameSelection(0, 500), nyuv2.load, nyuv2.recognises)
_BONN = DepthDataset(
    "bonn",
    bonn.LAYOUT,
    FrameSelection(30, 140),
    bonn.load,
    bonn.recognises,
    lambda root, selection: bonn.load(root, selection, by_rank=True),
)
_SCANNET = DepthDataset(
    "scannet", scannet.LAYOUT, FrameSelection(0, 270, 3), scannet.load, scannet.recognises
)
_RENDERED = DepthDataset("synth", rendered.LAYOUT, ALL_FRAMES, rendered.load, rendered.recognises)
_RGBD = DepthDataset("rgbd", rgbd.LAYOUT, ALL_FRAMES, rgbd.load, rgbd.recognises)

_LONG = FrameSelection(0, 500)

DATASETS: dict[str, DepthDataset] = {
    dataset.name: dataset
    for dataset in (
        _RENDERED,
        _RGBD,
        _KITTI,
        replace(_KITTI, name="kitti-500", selection=_LONG),
        _SINTEL,
        _NYUV2,
        _BONN,
        replace(_BONN, name="bonn-500", selection=_LONG),
        _SCANNET,
        replace(_SCANNET, name="scannet-500", selection=_LONG),
        replace(_SCANNET, name="scannet-tae", selection=FrameSelection(10, 180)),
    )
}
"""By name. The plain names of the benchmarks are their short protocol (NYUv2 has only the long)."""


def load_dataset(root: str | Path, name: str, published: bool = False) -> list[DepthTruth]:
    """The clips of a data set.

    Args:
        root: folder of the data set, laid out as :data:`DATASETS` says.
        name: one of :data:`DATASETS`.
        published: pair frames as the published benchmark does.

    Raises:
        KinedepthError: if the name is unknown, or the folder is missing, holds no such clip or
            something in it cannot be read.
    """
    root = Path(root)
    if name not in DATASETS:
        raise KinedepthError(f"Unknown data set '{name}'; known are {', '.join(DATASETS)}.")
    _check_folder(root)
    dataset = DATASETS[name]
    load = dataset.load_published if published and dataset.load_published else dataset.load
    return load(root, dataset.selection)


def recognise_dataset(root: str | Path) -> str:
    """The first of :data:`DATASETS` whose layout ``root`` has.

    Raises:
        KinedepthError: if there is none.
    """
    root = Path(root)
    _check_folder(root)
    for dataset in DATASETS.values():
        if dataset.recognises(root):
            return dataset.name
    raise KinedepthError(
        f"{root} is laid out like no data set that is known; name it (nyuv2 always needs that). "
        f"Known are {', '.join(DATASETS)}."
    )


def _check_folder(root: Path) -> None:
    if not root.is_dir():
        raise KinedepthError(f"There is no folder {root} with true depth.")
