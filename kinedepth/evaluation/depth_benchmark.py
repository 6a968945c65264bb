"""All clips of a data set scored, with every gap named."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from kinedepth.depth import DepthKind
from kinedepth.errors import KinedepthError
from kinedepth.evaluation.depth_alignment import AlignmentMethod
from kinedepth.evaluation.depth_predictions import match_predictions, open_prediction
from kinedepth.evaluation.depth_truth import DepthTruth
from kinedepth.evaluation.problems import Problem, describe_problems
from kinedepth.evaluation.video_depth import DepthScores, evaluate_depth, mean_scores


@dataclass(frozen=True)
class BenchmarkScores:
    """Scores of a data set's clips and how they came about.

    Attributes:
        dataset: name of the data set.
        published: whether as the published code.
        clips: scores of the clips, in order.
        mean: of each metric over these clips, all weighing the same.
        left_out: what is wrong with the predictions that were not scored.
    """

    dataset: str
    published: bool
    clips: list[DepthScores]
    mean: dict[str, float | None]
    left_out: list[Problem]


def score_dataset(
    predictions: str | Path,
    clips: Sequence[DepthTruth],
    dataset: str,
    alignment: AlignmentMethod = "auto",
    published: bool = False,
    cropped: bool | None = None,
    kind: DepthKind | None = None,
    allow_missing: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> BenchmarkScores:
    """Score the predictions of a folder.

    Args:
        predictions: the folder, see :func:`match_predictions`.
        clips: the truth.
        dataset: name of the data set.
        alignment, published, cropped: see :func:`evaluate_depth`.
        kind: what predictions mean, in place of what they say.
        allow_missing: score what can be scored. What cannot counts for nothing: it is left out
            of the mean, not taken for zero, so that such a mean is not the benchmark's.
        progress: called with how many clips are done and how many there are.

    Raises:
        KinedepthError: if predictions are missing, unusable or of no clip (all are named) and
            ``allow_missing`` is not set; if nothing can be scored; or from a clip.
    """
    matched = match_predictions(predictions, clips, kind)
    if matched.problems and not allow_missing:
        raise KinedepthError(
            f"Of the predictions in {predictions}, {describe_problems(matched.problems)}. Mend "
            f"that, or score the rest only with --allow-missing."
        )
    if not matched.pairs:
        raise KinedepthError(
            f"No prediction in {predictions} can be scored: {describe_problems(matched.problems)}."
        )
    scores = []
    for index, (clip, place) in enumerate(matched.pairs):
        prediction = open_prediction(place, kind)
        scores.append(evaluate_depth(prediction, clip, alignment, published, cropped))
        if progress is not None:
            progress(index + 1, len(matched.pairs))
    return BenchmarkScores(dataset, published, scores, mean_scores(scores), matched.problems)
