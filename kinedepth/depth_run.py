"""Dense depth of a video into a folder, in a way that survives being stopped.

frames -> model -> chunks in a hidden folder of the output folder   (the long part; resumable)
frames + chunks -> what flickers, beside them, if it is to be taken out of what follows
                -> the range of all values
frames + chunks -> the files that were asked for, in one pass
                -> summary.json; then the hidden folder goes
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import itertools
import time
from collections.abc import Callable, Collection, Generator, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np
from numpy.typing import NDArray

import kinedepth
from kinedepth import hub
from kinedepth._depth_run_folder import UNFINISHED, check_run_folder, remove_earlier
from kinedepth._run_folder import check_same_run, fingerprint, missing_space
from kinedepth.camera import Intrinsics
from kinedepth.consistent_depth import make_consistent
from kinedepth.dense.base import DepthModel, ResumableDepthModel
from kinedepth.dense.registry import (
    DepthModelEntry,
    DepthOptions,
    check_options,
    find_entry,
    find_weights,
    load_depth_model,
)
from kinedepth.dense.store import DepthStore
from kinedepth.errors import KinedepthError
from kinedepth.exporting.atomic import disk_is_full
from kinedepth.exporting.depth_colours import DepthRangeMeter, DepthRanges
from kinedepth.exporting.depth_outputs import DepthOutputs
from kinedepth.exporting.stereo import StereoSettings
from kinedepth.exporting.summary import Stopwatch, write_summary
from kinedepth.steadying import Steadier, check_kind
from kinedepth.video import Video

if TYPE_CHECKING:
    import torch

_CHUNK_BYTES = 64 * 2**20
_CHUNK_SECONDS = 30.0
"""A chunk is laid down when it is this large or this old: no more than that is ever lost."""

StageProgress = Callable[[str, int, int], None]
"""Called with the name of the stage, how much is done and how much there is."""


@dataclass(frozen=True)
class OutputChoice:
    """What to write of the depth; see :class:`kinedepth.exporting.depth_outputs.DepthOutputs`.

    Attributes:
        formats: names of formats.
        colormap: of the coloured film.
        side_by_side: the frames beside their depth, with their sound.
        stereo: how to make a stereo film; None for none.
        point_clouds: True for one of every frame, or the indices of frames.
        intrinsics: of the frames, needed for point clouds.
        half: 16-bit floats where a format has them.
        audio_from: the file whose sound goes with the frames.
    """

    formats: tuple[str, ...] = ("npz", "mp4")
    colormap: str = "inferno"
    side_by_side: bool = False
    stereo: StereoSettings | None = None
    point_clouds: bool | Collection[int] = False
    intrinsics: Intrinsics | None = None
    half: bool = False
    audio_from: Path | None = None

    def open(
        self, folder: Path, video: Video, entry: DepthModelEntry, ranges: DepthRanges
    ) -> DepthOutputs:
        """The writers of all this; nothing is touched before they are entered.

        Raises:
            KinedepthError: if something of it cannot be written, or makes no sense.
        """
        return DepthOutputs(
            folder,
            self.formats,
            width=video.width,
            height=video.height,
            fps=video.fps,
            frames=len(video),
            kind=entry.kind,
            per_frame=entry.per_frame,
            value_range=ranges.value,
            shown_range=ranges.shown,
            colormap=self.colormap,
            audio_from=self.audio_from,
            audio_start=video.start,
            side_by_side=self.side_by_side,
            stereo=self.stereo,
            point_clouds=self.point_clouds,
            intrinsics=self.intrinsics,
            half=self.half,
            overwrite=True,
        )


@dataclass(frozen=True)
class DepthRun:
    """Depth of a video, asked for.

    Attributes:
        video: the frames.
        folder: where the results go.
        model: a name of the registry.
        options: for the model.
        device: where it runs.
        outputs: what to write.
        steady: whether to take out what flickers (:mod:`kinedepth.steadying`).
        permit: asked before weights are downloaded.
        tell: shows the user a sentence.
        progress: told how far each stage is.
    """

    video: Video
    folder: Path
    model: str
    options: DepthOptions
    device: torch.device
    outputs: OutputChoice = field(default_factory=OutputChoice)
    steady: bool = False
    permit: hub.Permission = field(default_factory=hub.permission)
    tell: Callable[[str], None] = lambda sentence: None
    progress: StageProgress = lambda stage, done, total: None

    def run(self, resume: bool = False, overwrite: bool = False) -> dict[str, Any]:
        """Estimate the depth and write it.

        Args:
            resume: go on with what an earlier run left unfinished, if there is something.
            overwrite: replace an earlier run, finished or not.

        Returns:
            What ``summary.json`` says.

        Raises:
            KinedepthError: anything wrong with the input, or a full disk; what was done stays
                in the folder and can be gone on with.
        """
        check_run_folder(self.folder, resume, overwrite)
        check_options(self.model, self.options)
        entry = find_entry(self.model)
        if self.steady:
            check_kind(entry.kind)
        # What cannot be written is told now, not after hours.
        self.outputs.open(self.folder, self.video, entry, DepthRanges((0.0, 1.0), (0.0, 1.0)))
        weights = find_weights(self.model, self.options, self.permit)
        store = self._find_store(weights, resume)
        resumed_at = store.frames_done
        # A full disk costs nothing but time; still, better known now.
        too_little = missing_space(self.folder, self._bytes_to_come(store))
        if too_little:
            self.tell(too_little)
        try:
            watch = Stopwatch()
            if store.frames_done < len(self.video):
                self._estimate(store, weights)
            steadier = self._steadier(store, entry) if self.steady else None
            flicker = None
            if steadier:
                with watch.stage("steadying"):
                    flicker = steadier.fit(functools.partial(self.progress, "steadying"))
            with watch.stage("ranges"):
                ranges = self._measure(_final(store, steadier), entry)
            with watch.stage("writing"):
                written = self._write(_final(store, steadier), entry, ranges)
            facts = self._facts(store, weights, ranges, resumed_at) | {"steadied": flicker}
            facts |= {"outputs": written, "seconds": {"depth": store.seconds, **watch.seconds}}
            summary = write_summary(self.folder / "summary.json", facts)
        except BaseException as error:
            told = self._say_what_is_kept(error, store)
            if told is None:
                raise
            raise told from error
        store.remove()
        return summary

    def _find_store(self, weights: Path, resume: bool) -> DepthStore:
        work = self.folder / UNFINISHED
        header = self._header(weights)
        if resume and DepthStore.is_at(work):
            store = DepthStore.open(work)
            check_same_run(store.header, header, self.folder)
            return store
        if resume:
            self.tell(f"{self.folder} holds nothing to go on with; starting at frame 0.")
        return DepthStore.create(work, header, self.video.height, self.video.width)

    def _header(self, weights: Path) -> dict[str, Any]:
        """Everything that the depth depends on."""
        asked = {key: value for key, value in self.options.given().items() if key != "weights"}
        return {
            "video": fingerprint(self.video),
            "model": self.model,
            "weights": self._fingerprint(weights),
            "options": asked,
            "device": self.device.type,
            "kinedepth": kinedepth.__version__,
        }

    def _fingerprint(self, weights: Path) -> str:
        """SHA-256 of a weights file, or of the names and sizes of the files in a folder."""
        if self.options.weights is None and len(hub.PUBLISHED[self.model].files) == 1:
            known = hub.PUBLISHED[self.model].files[0].sha256
            if known is not None:
                return known  # Checked when it was fetched.
        if weights.is_file():
            return hub.sha256_of(weights)
        files = sorted(path for path in weights.rglob("*") if path.is_file())
        listing = "\n".join(f"{path.relative_to(weights)} {path.stat().st_size}" for path in files)
        return hashlib.sha256(listing.encode()).hexdigest()

    def _bytes_to_come(self, store: DepthStore) -> int:
        """What the rest of the depth takes, and its copy in the format that keeps it whole."""
        frame = 4 * self.video.width * self.video.height
        copies = sum(name in ("npz", "exr") for name in self.outputs.formats)
        share = copies / 2 if self.outputs.half else copies
        return round(frame * (len(self.video) - store.frames_done + share * len(self.video)))

    def _estimate(self, store: DepthStore, weights: Path) -> None:
        model = load_depth_model(self.model, weights, self.options, self.device)
        if self.options.consistent:
            model = make_consistent(model)
        resumable = callable(getattr(model, "state", None))
        state = store.state() if resumable else None
        if store.frames_done and state is None:
            self.tell(f"{self.model} cannot go on where it was stopped; starting at frame 0.")
            store.clear()
        self._frames_done(store.frames_done, len(self.video))  # Speed is counted from here.
        pending: list[NDArray[np.float32]] = []
        began = time.perf_counter()
        with contextlib.closing(_predict(model, self.video, self._frames_done, state)) as frames:
            for depth in frames:
                pending.append(depth)
                seconds = time.perf_counter() - began
                full = len(pending) * depth.nbytes >= _CHUNK_BYTES or seconds >= _CHUNK_SECONDS
                if full or store.frames_done + len(pending) == len(self.video):
                    left = cast(ResumableDepthModel, model).state() if resumable else None
                    store.append(np.stack(pending), left, seconds)
                    pending, began = [], time.perf_counter()
        if store.frames_done != len(self.video):
            raise KinedepthError(
                f"{self.model} gave depth of {store.frames_done + len(pending)} of "
                f"{len(self.video)} frames."
            )

    def _frames_done(self, done: int, total: int) -> None:
        self.progress("depth", done, total)

    def _steadier(self, store: DepthStore, entry: DepthModelEntry) -> Steadier:
        def depth(start: int, stop: int) -> Iterator[NDArray[np.float32]]:
            return itertools.islice(store.frames(), start, stop)

        # What is found lies beside the chunks: a run that is gone on with has it already.
        return Steadier(self.video, depth, entry.kind, store.folder, device=self.device.type)

    def _measure(
        self, frames: Iterator[NDArray[np.float32]], entry: DepthModelEntry
    ) -> DepthRanges:
        meter = DepthRangeMeter(entry.kind)
        for index, depth in enumerate(frames):
            meter.add(depth)
            self.progress("ranges", index + 1, len(self.video))
        return meter.ranges()

    def _write(
        self, frames: Iterator[NDArray[np.float32]], entry: DepthModelEntry, ranges: DepthRanges
    ) -> list[str]:
        # An earlier summary would vouch for files that are being replaced.
        (self.folder / "summary.json").unlink(missing_ok=True)
        with self.outputs.open(self.folder, self.video, entry, ranges) as outputs:
            images = self._images() if outputs.needs_images else None
            for index, depth in enumerate(frames):
                outputs.write(index, next(images) if images else None, depth)
                self.progress("writing", index + 1, len(self.video))
        written = [path.name for path in outputs.paths]
        remove_earlier(self.folder, written)
        return written

    def _images(self) -> Iterator[NDArray[np.uint8]]:
        for _, frames in self.video.blocks(4):
            yield from frames

    def _facts(
        self, store: DepthStore, weights: Path, ranges: DepthRanges, resumed_at: int
    ) -> dict[str, Any]:
        video, entry = self.video, find_entry(self.model)
        given = self.options.weights is not None
        return {
            "source": video.name,
            "frames": len(video),
            "size": [video.width, video.height],
            "fps": video.fps,
            "model": self.model,
            "kind": entry.kind,
            "per_frame": entry.per_frame,
            "weights": weights.name if given else hub.PUBLISHED[self.model].repository,
            "weights_licence": None if given else hub.PUBLISHED[self.model].licence.name,
            "options": store.header["options"],
            "device": str(self.device),
            "value_range": ranges.value,
            "shown_range": ranges.shown,
            "resumed_at_frame": resumed_at or None,
            "frames_per_second": round(len(video) / max(store.seconds, 1e-9), 3),
        }

    def _say_what_is_kept(self, error: BaseException, store: DepthStore) -> KinedepthError | None:
        """What to raise instead of ``error``; None for ``error`` itself."""
        done = store.frames_done
        kept = f"{done} of {len(self.video)} frames are kept in {self.folder}"
        if not done:
            store.remove()  # Nothing is lost, and the next run need not be told about it.
        if disk_is_full(error) or (error.__cause__ and disk_is_full(error.__cause__)):
            how = "run the same command with --resume" if done else "run again"
            return KinedepthError(f"No space is left on the disk; {kept}: free some and {how}.")
        if done:
            self.tell(f"{kept}; run the same command with --resume to go on.")
        return None


def _final(store: DepthStore, steadier: Steadier | None) -> Iterator[NDArray[np.float32]]:
    """Depth of all frames as it is to be written."""
    for index, depth in enumerate(store.frames()):
        yield steadier.steady(index, depth) if steadier else depth


def _predict(
    model: DepthModel,
    video: Video,
    progress: Callable[[int, int], None],
    state: dict[str, NDArray] | None,
) -> Generator[NDArray[np.float32], None, None]:
    """Depth of the frames that are not done yet; closing it closes what the model holds open."""
    if state is None:
        yield from model.predict(video, progress)
    else:
        yield from cast(ResumableDepthModel, model).predict(video, progress, resume=state)
