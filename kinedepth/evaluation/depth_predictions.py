"""Predictions of depth in a folder: which clip each is for, and what is wrong with any of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from kinedepth.depth import DepthKind, DepthVideo
from kinedepth.depth_files import load_depth_video
from kinedepth.errors import KinedepthError
from kinedepth.evaluation.depth_truth import DepthTruth
from kinedepth.evaluation.problems import Problem
from kinedepth.evaluation.video_depth import check_frames


@dataclass(frozen=True)
class MatchedPredictions:
    """What a folder of predictions holds for a list of clips.

    Attributes:
        pairs: clips with the place of their prediction, in the order of the clips.
        problems: everything else.
    """

    pairs: list[tuple[DepthTruth, Path]]
    problems: list[Problem]


def match_predictions(
    folder: str | Path, clips: Sequence[DepthTruth], kind: DepthKind | None = None
) -> MatchedPredictions:
    """Find the prediction of each clip and see that it can be read and has the right length.

    A clip's prediction is ``CLIP.npz``, or the folder ``CLIP`` with EXR or 16-bit PNG files or
    with what a run of ``kinedepth depth`` leaves (``CLIP/depth.npz``). Files of other kinds,
    and names that begin with a dot, are ignored.

    Args:
        folder: of the predictions.
        clips: to be scored.
        kind: what predictions mean, in place of what they say.

    Raises:
        KinedepthError: if there is no such folder.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise KinedepthError(f"There is no folder {folder} with predictions.")
    pairs, problems, used = [], [], set()
    for clip in clips:
        places = [folder / f"{clip.name}.npz", folder / clip.name]
        found = [place for place in places if place.exists()]
        used.update(found)
        if not found:
            problems.append(Problem(clip.name, "missing"))
        elif len(found) > 1:
            problems.append(
                Problem(clip.name, "unusable", f"both {found[0].name} and {found[1].name}/ exist")
            )
        elif reason := _why_unusable(found[0], clip, kind):
            problems.append(Problem(clip.name, "unusable", reason))
        else:
            pairs.append((clip, found[0]))
    problems += [Problem(path.name, "extra") for path in _candidates(folder) if path not in used]
    return MatchedPredictions(pairs, problems)


def open_prediction(path: Path, kind: DepthKind | None = None) -> DepthVideo:
    """The prediction at ``path``, long ones on disk; ``kind`` in place of what it says."""
    return load_depth_video(path, kind=kind)


def _why_unusable(path: Path, clip: DepthTruth, kind: DepthKind | None) -> str:
    try:
        check_frames(open_prediction(path, kind), clip)
    except KinedepthError as error:
        return str(error).rstrip(".")
    return ""


def _candidates(folder: Path) -> list[Path]:
    """Everything in ``folder`` that could be a prediction."""
    return sorted(
        path
        for path in folder.iterdir()
        if not path.name.startswith(".") and (path.is_dir() or path.suffix.lower() == ".npz")
    )
