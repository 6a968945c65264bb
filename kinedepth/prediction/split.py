"""A split predicted clip by clip: what is done is skipped, what fails is named."""

from __future__ import annotations

import time
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from kinedepth._settings_file import open_results_folder
from kinedepth.errors import KinedepthError
from kinedepth.evaluation.tapvid3d_clips import ClipPrediction, load_prediction
from kinedepth.evaluation.tapvid3d_files import ClipFile, clip_size
from kinedepth.exporting.atomic import atomic_path, disk_is_full
from kinedepth.prediction.clips import BenchmarkClip
from kinedepth.prediction.methods import ClipMethod, Progress


@dataclass
class SplitOutcome:
    """What became of each clip.

    Attributes:
        predicted: names of clips predicted now.
        skipped: names of those whose prediction was there.
        failed: by name, why a clip could not be predicted.
    """

    predicted: list[str] = field(default_factory=list)
    skipped: list[str] = field(default_factory=list)
    failed: dict[str, str] = field(default_factory=dict)


def predict_split(
    clips: Sequence[ClipFile],
    output: str | Path,
    method: ClipMethod,
    progress: Callable[[int, int], None] | None = None,
    stage_progress: Progress | None = None,
    clip_done: Callable[[str, str], None] | None = None,
) -> SplitOutcome:
    """Predict every clip that has no prediction yet.

    A prediction is an ``.npz`` with ``tracks_XYZ (T, N, 3)`` float32 and ``visibility (T, N)``
    at the place that its clip has in the split; each appears whole. What they were made with
    is written to :data:`kinedepth._settings_file.SETTINGS_FILE` first.

    Args:
        clips: of the split.
        output: folder of the predictions, created if need be.
        method: what predicts a clip.
        progress: called with clips done and clips in all.
        stage_progress: handed to the method.
        clip_done: called with a clip's name and what became of it.

    Raises:
        KinedepthError: if the folder holds predictions of other settings or cannot be written
            to, or the disk is full. A clip that fails is recorded, and the others go on.
    """
    folder = Path(output)
    open_results_folder(folder, method.settings, "predictions", foreign="*.npz")
    outcome = SplitOutcome()
    tell = clip_done or (lambda name, what: None)
    for done, clip in enumerate(clips, start=1):
        path = folder / clip.place
        if _is_done(path, clip):
            outcome.skipped.append(clip.name)
        else:
            began = time.perf_counter()
            reason = _predict_one(clip, path, method, stage_progress)
            if reason:
                outcome.failed[clip.name] = reason
                tell(clip.name, f"failed: {reason}")
            else:
                outcome.predicted.append(clip.name)
                tell(clip.name, f"predicted in {time.perf_counter() - began:.1f} s")
        if progress is not None:
            progress(done, len(clips))
    return outcome


def save_prediction(path: Path, prediction: ClipPrediction) -> None:
    """Write a prediction, whole or not at all.

    Raises:
        KinedepthError: if the file cannot be written.
    """
    with atomic_path(path) as temporary, open(temporary, "wb") as file:
        np.savez_compressed(
            file,
            tracks_XYZ=prediction.xyz.astype(np.float32),
            visibility=prediction.visible,
        )


def _predict_one(clip: ClipFile, path: Path, method: ClipMethod, progress: Progress | None) -> str:
    """Why the clip could not be predicted; empty once it is."""
    try:
        prediction = method.predict(BenchmarkClip(clip), progress)
        path.parent.mkdir(parents=True, exist_ok=True)
        save_prediction(path, prediction)
    except KinedepthError as error:
        # Every further clip would fail as well, each after minutes of work.
        if error.__cause__ is not None and disk_is_full(error.__cause__):
            raise
        return str(error)
    except MemoryError:
        return "not enough memory"
    except Exception as error:
        if disk_is_full(error):
            raise
        # A bug keeps its traceback, but does not cost the clips that come after.
        traceback.print_exc()
        return f"{type(error).__name__}: {error}"
    return ""


def _is_done(path: Path, clip: ClipFile) -> bool:
    """Whether there is a whole prediction of the clip's size; a damaged one is made again."""
    if not path.is_file():
        return False
    try:
        size = load_prediction(path).visible.shape
    except KinedepthError:
        return False
    return clip_size(clip.path) in (None, size)
