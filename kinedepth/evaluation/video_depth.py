"""Dense video depth: AbsRel, RMSE, delta1 and TAE of a predicted video against its truth.

The protocol is that of Video Depth Anything (CVPR 2025), which follows DepthCrafter: one
alignment for the whole video (:mod:`kinedepth.evaluation.depth_alignment`); truth counts between
0.001 m and the data set's farthest depth, and predictions are clipped to that; every figure is a
mean over the valid pixels of a frame, then over the frames that have any, then over clips.

With ``as_published`` the figures are those of the published code to rounding, which differs in
three points: predictions are taken for disparity and clipped at 0.001 before the alignment, a
prediction of the whole frame is cropped in its own pixels, not in the truth's, and TAE has the
flaws that :mod:`kinedepth.evaluation.temporal` lists.

Memory does not grow with the video: two passes over the frames, one to align, one to score.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import cv2
import numpy as np
from numpy.typing import NDArray

from kinedepth.depth import DepthVideo
from kinedepth.errors import KinedepthError
from kinedepth.evaluation.depth_alignment import (
    Alignment,
    AlignmentMethod,
    fit_alignment,
    method_for,
    space_of,
)
from kinedepth.evaluation.depth_truth import NEAREST, CameraPath, DepthTruth
from kinedepth.evaluation.temporal import TemporalErrorSum, as_published, temporal_error

METRICS = ("abs_rel", "rmse", "delta1", "tae", "tae_of_truth", "tae_coverage")
"""The figures of :class:`DepthScores` that are averaged over clips."""

_CLOSE = 1.25


@dataclass(frozen=True)
class DepthScores:
    """How well a predicted video fits its truth.

    Attributes:
        clip: name of the clip.
        frames: how many frames have valid truth and were scored.
        abs_rel: mean of |prediction - truth| / truth; 0 is best.
        rmse: root of the mean square of prediction - truth in a frame, in metres, averaged over
            frames; 0 is best.
        delta1: share of pixels with max(prediction / truth, truth / prediction) < 1.25; 1 is
            best.
        tae: temporal alignment error in per cent (:mod:`kinedepth.evaluation.temporal`); 0 is
            best; None where no poses are known.
        tae_of_truth: the same of the truth itself: what noise, motion of objects and wrong
            poses leave for a perfect prediction. None where no poses are known, where truth is
            too sparse, and as published.
        tae_coverage: share of pixels that ``tae`` compares; None as for ``tae``.
        valid: share of the scored frames' pixels whose truth is valid.
        alignment: what was fitted, e.g. ``scale-shift in disparity``.
        scale, shift: its values. A negative scale says that near and far are exchanged.
    """

    clip: str
    frames: int
    abs_rel: float
    rmse: float
    delta1: float
    tae: float | None
    tae_of_truth: float | None
    tae_coverage: float | None
    valid: float
    alignment: str
    scale: float
    shift: float


def evaluate_depth(
    prediction: DepthVideo,
    truth: DepthTruth,
    alignment: AlignmentMethod = "auto",
    published: bool = False,
    cropped: bool | None = None,
) -> DepthScores:
    """Score a predicted video.

    Args:
        prediction: of the frames that ``truth`` scores, or of all the footage; of any size, it
            is resized (bilinearly, in its own space) to that of the truth.
        truth: what is true.
        alignment: how the prediction's unknowns are found; ``auto`` follows its kind.
        published: exactly as the published code.
        cropped: whether the prediction shows only what the truth's crop leaves of a frame. None:
            it does if it has just that size.

    Raises:
        KinedepthError: if the prediction has other frames than the truth, is not finite
            somewhere or of a kind that cannot be scored so, or no pixel of truth is valid.
    """
    frames = _Frames(prediction, truth, published, cropped)
    space = space_of(prediction.kind)
    method = alignment
    if published:
        # The published code knows no other; metric depth enters as its inverse.
        space = "disparity"
    if alignment == "auto":
        method = "scale-shift" if published else method_for(prediction.kind)
    aligned = fit_alignment(frames.valid_values, method, space)
    return _score(frames, aligned, published)


def mean_scores(scores: Sequence[DepthScores]) -> dict[str, float | None]:
    """Mean of each of :data:`METRICS`, every clip weighing the same.

    A clip without a figure does not take part in that figure's mean; None where no clip has it.

    Raises:
        KinedepthError: if there are no scores.
    """
    if not scores:
        raise KinedepthError("There are no scores to average.")
    means: dict[str, float | None] = {}
    for name in METRICS:
        known = [value for item in scores if (value := getattr(item, name)) is not None]
        means[name] = float(np.mean(known)) if known else None
    return means


def check_frames(prediction: DepthVideo, truth: DepthTruth) -> None:
    """Raise unless ``prediction`` has as many frames as ``truth`` scores, or as its footage.

    Raises:
        KinedepthError: with both numbers.
    """
    if len(prediction) not in (truth.frames, truth.footage):
        footage = f" (or {truth.footage}, all the footage)" if truth.footage > truth.frames else ""
        raise KinedepthError(
            f"the prediction has {len(prediction)} frames of the {truth.frames}{footage} needed"
        )


class _Frames:
    """Pairs of predicted and true frames, of one size, as often as they are asked for."""

    def __init__(
        self, prediction: DepthVideo, truth: DepthTruth, published: bool, cropped: bool | None
    ) -> None:
        try:
            check_frames(prediction, truth)
        except KinedepthError as error:
            raise KinedepthError(f"{truth.name}: {error}.") from None
        if published and prediction.kind == "affine_invariant":
            raise KinedepthError(
                f"{truth.name}: the published protocol compares disparity, and depth up to a "
                f"shift (affine_invariant) has none; score it without --as-published."
            )
        self.prediction = prediction
        self.truth = truth
        self.published = published
        self.size = truth.crop.size(truth.height, truth.width)
        if cropped is None:
            cropped = (prediction.height, prediction.width) == self.size
        self.cropped = cropped
        whole = len(prediction) == truth.frames or truth.selected is None
        self._selected = range(truth.frames) if whole else truth.selected
        self._inverted = published and prediction.kind != "affine_invariant_disparity"

    def __iter__(self) -> Iterator[tuple[NDArray[np.float32], NDArray]]:
        """The scored part ``(h, w)`` of each predicted frame, and of the true one."""
        given = 0
        for index, depth in zip(self._selected or (), self.truth.read(), strict=False):
            given += 1
            yield self._predicted(index), self.truth.crop.cut(depth)
        if given != self.truth.frames:
            raise KinedepthError(
                f"The truth of {self.truth.name} ends after {given} of {self.truth.frames} frames."
            )

    def valid_values(self) -> Iterator[tuple[NDArray[np.float32], NDArray]]:
        """Predictions and true depth ``(K,)`` of the valid pixels of each frame."""
        for prediction, depth in self:
            counts = self.truth.counts(depth)
            yield prediction[counts], depth[counts]

    def _predicted(self, index: int) -> NDArray[np.float32]:
        frame = np.asarray(self.prediction.depth[index], dtype=np.float32)
        if not np.isfinite(frame).all():
            raise KinedepthError(
                f"{self.truth.name}: frame {index} of the prediction holds NaN or infinite "
                f"values; every pixel needs a depth."
            )
        if self._inverted:
            frame = np.reciprocal(np.maximum(frame, np.float32(NEAREST)))
        crop, size = self.truth.crop, (self.truth.height, self.truth.width)
        if self.cropped:
            frame = _resized(frame, self.size)
        elif self.published:
            frame = _resized(crop.cut(frame), self.size)
        else:
            frame = crop.cut(_resized(frame, size))
        return np.maximum(frame, np.float32(NEAREST)) if self.published else frame


def _resized(frame: NDArray[np.float32], size: tuple[int, int]) -> NDArray[np.float32]:
    if frame.shape == size:
        return frame
    if 0 in frame.shape:
        raise KinedepthError(
            "The prediction is smaller than the border that this data set crops; give it in "
            "the size of the video's frames."
        )
    resized = cv2.resize(np.ascontiguousarray(frame), size[::-1], interpolation=cv2.INTER_LINEAR)
    return np.asarray(resized, dtype=np.float32)


def _score(frames: _Frames, aligned: Alignment, published: bool) -> DepthScores:
    """The second pass."""
    truth = frames.truth
    per_frame = []
    valid = 0
    stability = _Stability(truth, published)
    for index, (prediction, depth) in enumerate(frames):
        estimate = aligned.depth(prediction, truth.farthest)
        counts = truth.counts(depth)
        stability.add(index, estimate, depth, counts)
        if counts.any():
            per_frame.append(_frame_errors(estimate[counts], depth[counts].astype(np.float64)))
            valid += int(counts.sum())
    if not per_frame:
        raise KinedepthError(f"{truth.name} has no valid pixel of truth: nothing to score.")
    abs_rel, rmse, delta1 = np.mean(per_frame, axis=0).tolist()
    scores = DepthScores(
        clip=truth.name,
        frames=len(per_frame),
        abs_rel=abs_rel,
        rmse=rmse,
        delta1=delta1,
        tae=None,
        tae_of_truth=None,
        tae_coverage=None,
        valid=valid / (truth.frames * frames.size[0] * frames.size[1]),
        alignment=aligned.label,
        scale=aligned.scale,
        shift=aligned.shift,
    )
    return stability.onto(scores)


def _frame_errors(
    estimate: NDArray[np.float64], depth: NDArray[np.float64]
) -> tuple[float, float, float]:
    """AbsRel, RMSE and delta1 of the valid pixels ``(K,)`` of one frame."""
    difference = estimate - depth
    ratio = np.maximum(estimate / depth, depth / estimate)
    return (
        float(np.mean(np.abs(difference) / depth)),
        float(np.sqrt(np.mean(difference**2))),
        float(np.mean(ratio < _CLOSE)),
    )


class _Stability:
    """TAE of the prediction and of the truth, frame by frame, where the cameras are known."""

    def __init__(self, truth: DepthTruth, published: bool) -> None:
        self._truth = truth
        self._published = published
        self._cameras: CameraPath | None = truth.cameras
        self._prediction = TemporalErrorSum(as_published if published else temporal_error)
        self._true = TemporalErrorSum(temporal_error)

    def add(
        self,
        index: int,
        estimate: NDArray[np.float64],
        depth: NDArray,
        counts: NDArray[np.bool_],
    ) -> None:
        if self._cameras is None:
            return
        camera, pose = self._cameras.intrinsics[index], self._cameras.camera_to_world[index]
        if self._published:
            self._prediction.add(estimate, camera, pose)
            return
        camera = self._truth.crop.camera(camera)
        clipped = (estimate <= NEAREST) | (estimate >= self._truth.farthest)
        self._prediction.add(np.where(clipped, np.nan, estimate), camera, pose)
        self._true.add(np.where(counts, depth, np.nan), camera, pose)

    def onto(self, scores: DepthScores) -> DepthScores:
        """``scores`` with the figures of this part filled in."""
        found, true = self._prediction.result(), self._true.result()
        return replace(scores, tae=found.tae, tae_coverage=found.coverage, tae_of_truth=true.tae)
