"""Where an anchor's depth comes from: a file, a model of dense depth, or parallax alone."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Protocol, cast

import numpy as np
from numpy.typing import NDArray

from kinedepth.anchoring.anchor import Anchored, AnchorFit, anchor_tracks, fill_unknown_scales
from kinedepth.anchoring.readings import DepthReadings, FrameProgress, read_depth
from kinedepth.dense.base import DepthModel
from kinedepth.depth import DepthKind, DepthVideo
from kinedepth.errors import KinedepthError
from kinedepth.tracks import Tracks3D
from kinedepth.video import Video

if TYPE_CHECKING:
    from kinedepth.dense.registry import DepthOptions
    from kinedepth.hub import Permission

Anchor = str | DepthVideo | DepthModel
"""What can be asked for: ``file:PATH``, ``rigid``, the name of a depth model, or depth itself."""

_PLAUSIBLE_METRES = (1e-3, 500.0)
"""Median depths outside of this are hardly metres."""


class AnchorSource(Protocol):
    """Something that gives tracks a scale.

    Attributes:
        name: for messages and summaries.
    """

    name: str

    def anchor(
        self,
        tracks: Tracks3D,
        video: Video,
        fit: AnchorFit = "robust",
        progress: FrameProgress | None = None,
    ) -> Anchored:
        """The tracks in the source's scale; ``fit`` as for :func:`anchor_tracks`.

        Raises:
            KinedepthError: if the source does not fit the video.
        """
        ...


class DenseAnchor:
    """Depth of every pixel, read along the tracks while its frames come by.

    Args:
        name: for messages and summaries.
        kind: what the depth means.
        per_frame: each frame stands alone, so that unknown shifts may differ.
        frames: gives the depth ``(h, w)`` of each frame of a video, in order.
        doubts: whether to warn of a median that is hardly in metres.
        field_of_view: asked once all frames went by: degrees across the longer side of the
            frames as the source estimates them, or None.
    """

    def __init__(
        self,
        name: str,
        kind: DepthKind,
        per_frame: bool,
        frames: Callable[[Video], Iterator[NDArray[np.float32]]],
        doubts: bool = True,
        field_of_view: Callable[[], float | None] = lambda: None,
    ) -> None:
        self.name = name
        self.kind: DepthKind = kind
        self.per_frame = per_frame
        self._frames = frames
        self._doubts = doubts
        self._field_of_view = field_of_view

    def anchor(
        self,
        tracks: Tracks3D,
        video: Video,
        fit: AnchorFit = "robust",
        progress: FrameProgress | None = None,
    ) -> Anchored:
        """As :class:`AnchorSource` asks."""
        size = (video.width, video.height)
        readings = read_depth(
            self._frames(video), tracks.tracks, size, self.kind, self.name, progress
        )
        if self._doubts:
            _doubt_the_unit(self.name, readings)
        anchored = anchor_tracks(tracks, replace(readings, per_frame=self.per_frame), fit)
        degrees = self._field_of_view()
        if degrees is None:
            return anchored
        return replace(anchored, facts={**anchored.facts, "field_of_view": degrees})


class RigidAnchor:
    """Parallax of a scene that does not move, see :mod:`kinedepth.geometry.rigid`."""

    name = "rigid"

    def anchor(
        self,
        tracks: Tracks3D,
        video: Video,
        fit: AnchorFit = "robust",
        progress: FrameProgress | None = None,
    ) -> Anchored:
        """As :class:`AnchorSource` asks; ``fit`` has no bearing on it."""
        from kinedepth.geometry.rigid import solve_rigid

        followed = tracks.tracks
        found = solve_rigid(
            tracks.log_ratio,
            followed.xy,
            followed.visible,
            tracks.intrinsics,
            log_ratio_std=tracks.log_ratio_std,
            query_frame=followed.query_frame,
            progress=progress,
        )
        facts: dict[str, Any] = {
            "kind": "scale_invariant",
            "confidence": found.confidence,
            "rigid_tracks": int(found.rigid.sum()),
            "tracks_anchored_by_contact": int(found.anchored.sum()),
        }
        if not found.observable:
            return Anchored(tracks, "depth at each track's query frame", found.reason, facts)
        depth = found.depth.astype(np.float64)
        known = np.isfinite(depth).all(axis=0) & (np.nan_to_num(depth) > 0).all(axis=0)
        log_depth = np.where(known, np.log(np.where(known, depth, 1.0)), np.nan)
        tracks = replace(tracks, extrinsics_w2c=found.extrinsics_w2c)
        return fill_unknown_scales(tracks, log_depth, found.log_depth_std, facts)


def open_anchor(
    anchor: Anchor | AnchorSource,
    video: Video,
    *,
    options: DepthOptions | None = None,
    device: Any = "cpu",
    permit: Permission | None = None,
) -> AnchorSource:
    """The source that ``anchor`` asks for, checked as far as can be before any work is done.

    Args:
        anchor: ``"file:PATH"`` (see :func:`kinedepth.depth_files.load_depth_video`), ``"rigid"``,
            a name of :data:`kinedepth.dense.registry.DEPTH_MODELS`, a ``DepthVideo``, a
            ``DepthModel``, or a source that is open already.
        video: that the tracks are of.
        options: of a model that is asked for by name.
        device: for such a model.
        permit: asked before its weights are downloaded, see :func:`kinedepth.hub.permission`.

    Raises:
        KinedepthError: there is no such anchor, it cannot be read or loaded, or it has another
            number of frames than the video.
    """
    if isinstance(anchor, str):
        if anchor == "rigid":
            return RigidAnchor()
        scheme, _, path = anchor.partition(":")
        if scheme == "file" and path:
            from kinedepth.depth_files import load_depth_video

            return _stored(load_depth_video(path), path, video, doubts=False)
        return _model(_make_model(anchor, options, device, permit))
    if isinstance(anchor, DepthVideo):
        return _stored(anchor, "The anchor's depth", video)
    if hasattr(anchor, "predict"):
        return _model(cast(DepthModel, anchor))
    return cast(AnchorSource, anchor)


def _stored(depth: DepthVideo, name: str, video: Video, doubts: bool = True) -> AnchorSource:
    if len(depth) != len(video):
        raise KinedepthError(
            f"{name} has {len(depth)} frames, but the clip has {len(video)}; give depth of the "
            f"same frames."
        )
    return DenseAnchor(name, depth.kind, depth.per_frame, lambda _: iter(depth.depth), doubts)


def _make_model(
    name: str, options: DepthOptions | None, device: Any, permit: Permission | None
) -> DepthModel:
    from kinedepth.dense.registry import DEPTH_MODELS, make_depth_model

    if name not in DEPTH_MODELS:
        raise KinedepthError(
            f"There is no anchor called '{name}'; give file:PATH, rigid, or a depth model: "
            f"{', '.join(DEPTH_MODELS)}."
        )
    return make_depth_model(name, options, device, permit)


def _model(model: DepthModel) -> AnchorSource:
    return DenseAnchor(
        model.name,
        model.kind,
        model.per_frame,
        model.predict,
        field_of_view=lambda: getattr(model, "field_of_view", None),
    )


def _doubt_the_unit(name: str, readings: DepthReadings) -> None:
    """Warn where metric depth is hardly in metres."""
    if readings.kind != "metric" or not np.isfinite(readings.value).any():
        return
    middle = float(np.nanmedian(readings.value))
    low, high = _PLAUSIBLE_METRES
    if not low <= middle <= high:
        other = "millimetres" if middle > high else "kilometres"
        warnings.warn(
            f"{name} has a median depth of {middle:.3g} m along the tracks; is it in {other}?",
            stacklevel=2,
        )
