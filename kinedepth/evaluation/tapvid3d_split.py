"""Scores of a folder of predictions for a split of TAPVid-3D: clips, subsets, benchmark."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from kinedepth.errors import KinedepthError
from kinedepth.evaluation.problems import Problem
from kinedepth.evaluation.tapvid3d import (
    PIXEL_THRESHOLDS,
    Thresholds,
    average_scores,
    score_clip,
)
from kinedepth.evaluation.tapvid3d_clips import load_prediction, load_truth
from kinedepth.evaluation.tapvid3d_files import (
    ClipFile,
    check_predictions,
    describe_split_problems,
)
from kinedepth.evaluation.tapvid3d_scaling import SCALINGS, Scaling

ZERO_SCORES: Mapping[str, float] = {
    "average_jaccard": 0.0,
    "points_within": 0.0,
    "occlusion_accuracy": 0.0,
    "temporal_coherence": float("nan"),
    **{f"jaccard_{k}": 0.0 for k in PIXEL_THRESHOLDS},
    **{f"points_within_{k}": 0.0 for k in PIXEL_THRESHOLDS},
}
"""What a clip without a usable prediction gets, as in the benchmark's own code. The benchmark
does not measure temporal coherence, of which 0 would be the best; such a clip has none."""


@dataclass(frozen=True)
class SplitScores:
    """Scores of one folder of predictions in one scaling.

    Attributes:
        name: of the predictions, for tables.
        scaling, thresholds: what the figures were taken with.
        clips: by clip name, what :func:`kinedepth.evaluation.tapvid3d.score_clip` gives.
        subsets: by subset, the mean over its clips.
        average: the mean over subsets.
        counted_as_zero: names of clips without a usable prediction.
        subset_of: by clip name, its subset.
    """

    name: str
    scaling: Scaling
    thresholds: Thresholds
    clips: dict[str, dict[str, float]]
    subsets: dict[str, dict[str, float]]
    average: dict[str, float]
    counted_as_zero: list[str] = field(default_factory=list)
    subset_of: dict[str, str] = field(default_factory=dict)


def score_split(
    clips: Sequence[ClipFile],
    predictions: str | Path,
    scalings: Sequence[Scaling],
    thresholds: Thresholds = "adaptive",
    *,
    name: str | None = None,
    all_clips: Sequence[ClipFile] | None = None,
    allow_missing: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> tuple[list[SplitScores], list[Problem]]:
    """Score a folder of predictions.

    Args:
        clips: the split (:func:`kinedepth.evaluation.tapvid3d_files.find_clips`).
        predictions: a file at :attr:`ClipFile.place` for each clip.
        scalings: any of :data:`kinedepth.evaluation.tapvid3d_scaling.SCALINGS`.
        thresholds: adaptive or fixed.
        name: of the predictions; their folder's if not given.
        all_clips: see :func:`kinedepth.evaluation.tapvid3d_files.check_predictions`.
        allow_missing: count clips without a usable prediction as zero, as the benchmark does,
            instead of raising.
        progress: called with clips done and clips in all.

    Returns:
        The scores in each scaling, in their order; and what was wrong, which is nothing
        unless ``allow_missing``.

    Raises:
        KinedepthError: a folder or a truth is missing or damaged, a scaling is unknown; or,
            naming every clip concerned, predictions are missing, extra or unusable.
    """
    unknown = [scaling for scaling in scalings if scaling not in SCALINGS]
    if unknown or not scalings:
        raise KinedepthError(
            f"There is no scaling {unknown[0] if unknown else ''!r}; the scalings are "
            f"{', '.join(SCALINGS)}."
        )
    folder = Path(predictions)
    problems = check_predictions(clips, folder, all_clips)
    if problems and not allow_missing:
        raise _refusal(folder, problems, clips)
    absent = {problem.clip for problem in problems}
    by_scaling: list[dict[str, dict[str, float]]] = [{} for _ in scalings]
    for done, clip in enumerate(clips, start=1):
        scores = [dict(ZERO_SCORES) for _ in scalings]
        if clip.name not in absent:
            truth = load_truth(clip.path)
            prediction = load_prediction(folder / clip.place, truth)
            try:
                scores = [score_clip(truth, prediction, each, thresholds) for each in scalings]
            except KinedepthError as error:
                problems.append(Problem(clip.name, "unusable", str(error).rstrip(".")))
        for gathered, figures in zip(by_scaling, scores, strict=True):
            gathered[clip.name] = figures
        if progress is not None:
            progress(done, len(clips))
    if problems and not allow_missing:
        raise _refusal(folder, problems, clips)

    title = name or folder.resolve().name
    zero = [problem.clip for problem in problems if problem.kind != "extra"]
    subset_of = {clip.name: clip.subset for clip in clips}
    results = [
        _summarised(title, scaling, thresholds, gathered, subset_of, zero)
        for scaling, gathered in zip(scalings, by_scaling, strict=True)
    ]
    return results, problems


def _summarised(
    name: str,
    scaling: Scaling,
    thresholds: Thresholds,
    clips: dict[str, dict[str, float]],
    subset_of: dict[str, str],
    counted_as_zero: list[str],
) -> SplitScores:
    subsets = {
        subset: average_scores([clips[clip] for clip in clips if subset_of[clip] == subset])
        for subset in dict.fromkeys(subset_of.values())
    }
    average = average_scores(list(subsets.values()))
    return SplitScores(
        name, scaling, thresholds, clips, subsets, average, counted_as_zero, subset_of
    )


def _refusal(
    folder: Path, problems: Sequence[Problem], clips: Sequence[ClipFile]
) -> KinedepthError:
    return KinedepthError(
        f"Of the predictions in {folder} for {len(clips)} clips, "
        f"{describe_split_problems(problems, clips)}; mend them, or add --allow-missing to count "
        f"clips without a usable prediction as zero and leave out the others."
    )
