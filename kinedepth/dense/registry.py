"""Models of dense depth by name: adding one is one file and one line in :data:`DEPTH_MODELS`.

What can be downloaded for a name stands under the same name in :data:`kinedepth.hub.PUBLISHED`;
a name that is not there needs weights that the user has.
"""

from __future__ import annotations

import importlib
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from kinedepth import hub
from kinedepth.depth import DepthKind
from kinedepth.errors import KinedepthError

if TYPE_CHECKING:
    import torch

    from kinedepth.dense.base import DepthModel


@dataclass(frozen=True)
class DepthOptions:
    """What can be asked of a model of dense depth; None leaves it to the model.

    No model takes all of these. One that is asked for something it does not take says so,
    because an option that is silently dropped looks like one that had no effect.

    Attributes:
        weights: a file (or, where a model needs several, a folder) that is here already,
            instead of the published weights.
        input_size: pixels of the short side in the network.
        precision: of the network's arithmetic: float32, bfloat16 or float16.
        strategy: how windows of a long video are tied together: keyframes, overlap or none.
        window: frames in a window.
        stream: frame by frame without looking ahead, as for a live camera.
        align_stream: align a stream to what it has shown, so that its scale does not drift.
        scene_cuts: begin anew at every cut of the video.
        preset: a named choice of the options that follow, which change single ones of it.
        resolution: pixels of the long side in the network; 0 for the frames' own size.
        dilations: distances in frames between the neighbours of a snippet.
        snippet_length: frames in a snippet.
        steps: of denoising.
        refine_steps: of the refinement of the whole video; 0 for none.
        solver: of the snippets' alignment: irls or adam.
        decode: what passes the decoder: all snippets, or each frame once (merged).
        tiny_decoder: a tiny autoencoder that decodes instead: a folder, or taesd.
        seed: of the noise that depth begins with.
        consistent: scale and shift each frame so that depth agrees along tracked points
            (:mod:`kinedepth.dense.consistent`); done by whoever runs the model.
    """

    weights: Path | None = None
    input_size: int | None = None
    precision: str | None = None
    strategy: str | None = None
    window: int | None = None
    stream: bool | None = None
    align_stream: bool | None = None
    scene_cuts: bool | None = None
    preset: str | None = None
    resolution: int | None = None
    dilations: list[int] | None = None
    snippet_length: int | None = None
    steps: int | None = None
    refine_steps: int | None = None
    solver: str | None = None
    decode: str | None = None
    tiny_decoder: str | None = None
    seed: int | None = None
    consistent: bool | None = None

    @classmethod
    def of(cls, options: dict[str, Any]) -> DepthOptions:
        """Options by name.

        Raises:
            KinedepthError: if there is no option of such a name.
        """
        known = [field.name for field in fields(cls)]
        for name in options:
            if name not in known:
                raise KinedepthError(
                    f"There is no option '{name}' of depth models; there are {', '.join(known)}."
                )
        made = cls(**options)
        return made if made.weights is None else cls(**{**options, "weights": Path(made.weights)})

    def given(self) -> dict[str, Any]:
        """Those that are not None, by name."""
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        return {name: value for name, value in values.items() if value is not None}


class Loader(Protocol):
    """Makes a model from weights that are on this machine."""

    def __call__(
        self, name: str, weights: Path, options: DepthOptions, device: torch.device
    ) -> DepthModel:
        """The model called ``name``; only options that its entry lists are set.

        Raises:
            KinedepthError: the weights or an option's value do not fit.
        """
        ...


@dataclass(frozen=True)
class DepthModelEntry:
    """What is known of a model before it is loaded.

    Attributes:
        loader: ``module:function`` of a :class:`Loader`, imported only when it is needed.
        kind: what its numbers mean.
        options: those of :class:`DepthOptions` that it takes besides ``weights``.
        per_frame: each frame is predicted on its own.
    """

    loader: str
    kind: DepthKind
    options: tuple[str, ...] = ()
    per_frame: bool = False


def _video_depth_anything(kind: DepthKind) -> DepthModelEntry:
    network = ("input_size", "precision")
    options = (*network, "strategy", "window", "stream", "align_stream", "scene_cuts")
    return DepthModelEntry("kinedepth.dense.video_depth_anything.loading:load", kind, options)


def _per_frame(kind: DepthKind, *options: str) -> DepthModelEntry:
    options = (*options, "consistent")
    return DepthModelEntry("kinedepth.dense.per_frame:load", kind, options, per_frame=True)


def _depth_anything_v2(kind: DepthKind, infix: str = "") -> dict[str, DepthModelEntry]:
    entry = _per_frame(kind, "input_size", "precision")
    return {f"depth-anything-v2-{infix}{size}": entry for size in ("small", "base", "large")}


def _rolling_depth() -> DepthModelEntry:
    snippets = ("preset", "resolution", "dilations", "snippet_length", "steps", "refine_steps")
    options = (*snippets, "solver", "decode", "tiny_decoder", "seed", "precision")
    loader = "kinedepth.dense.rolling_depth.depth_model:load"
    return DepthModelEntry(loader, "affine_invariant_disparity", options)


DEPTH_MODELS: dict[str, DepthModelEntry] = {
    "vda-small": _video_depth_anything("affine_invariant_disparity"),
    "vda-base": _video_depth_anything("affine_invariant_disparity"),
    "vda-large": _video_depth_anything("affine_invariant_disparity"),
    "vda-metric-small": _video_depth_anything("metric"),
    "vda-metric-base": _video_depth_anything("metric"),
    "vda-metric-large": _video_depth_anything("metric"),
    # Trained with this package: nothing is published, so these need weights.
    "vda": _video_depth_anything("affine_invariant_disparity"),
    "vda-metric": _video_depth_anything("metric"),
    "rollingdepth": _rolling_depth(),
    **_depth_anything_v2("metric", "metric-indoor-"),
    **_depth_anything_v2("metric", "metric-outdoor-"),
    **_depth_anything_v2("affine_invariant_disparity"),
    "zoedepth": _per_frame("metric", "input_size", "precision"),
    "depth-pro": _per_frame("metric", "precision"),
    "marigold": DepthModelEntry(
        "kinedepth.dense.marigold:load",
        "affine_invariant",
        ("steps", "resolution", "seed", "precision", "consistent"),
        per_frame=True,
    ),
}
"""What each name stands for."""


def find_entry(name: str) -> DepthModelEntry:
    """The entry of the model called ``name``.

    Raises:
        KinedepthError: there is none; the sentence lists all names.
    """
    if name not in DEPTH_MODELS:
        raise KinedepthError(
            f"There is no depth model called '{name}'; choose one of: {', '.join(DEPTH_MODELS)}."
        )
    return DEPTH_MODELS[name]


def check_options(name: str, options: DepthOptions) -> None:
    """Raise unless the model called ``name`` takes every option that is given.

    Raises:
        KinedepthError: there is no such model, or it does not take one of the options.
    """
    taken = ("weights", *find_entry(name).options)
    for option in options.given():
        if option not in taken:
            raise KinedepthError(
                f"{name} does not take the option {option}; it takes {', '.join(taken)}."
            )


def find_weights(name: str, options: DepthOptions, permit: hub.Permission) -> Path:
    """The weights of a model on this machine: those given, or the published ones.

    Args:
        name: of the model.
        options: ``weights`` of these, where given, is used as it is.
        permit: asked before anything is downloaded, see :func:`kinedepth.hub.fetch`.

    Raises:
        KinedepthError: there is no such file, it is known to belong to another model, or the
            published ones cannot be had.
    """
    find_entry(name)
    if options.weights is None:
        if name not in hub.PUBLISHED:
            raise KinedepthError(
                f"No weights are published for {name}; give --weights PATH (weights=PATH)."
            )
        return hub.fetch(hub.PUBLISHED[name], permit)
    if not options.weights.exists():
        raise KinedepthError(f"There is no weights file {options.weights}.")
    # Relative and metric weights have the same names and shapes: loading would not notice.
    known = name in hub.PUBLISHED and options.weights.is_file()
    other = hub.identify(options.weights) if known else None
    if other not in (None, name):
        raise KinedepthError(
            f"{options.weights} holds the published weights of {other}, not of {name}; choose "
            f"that model or another file."
        )
    return options.weights


def make_depth_model(
    name: str,
    options: DepthOptions | None = None,
    device: torch.device | str = "cpu",
    permit: hub.Permission | None = None,
) -> DepthModel:
    """The model called ``name``, ready to run.

    Args:
        name: one of :data:`DEPTH_MODELS`.
        options: for this model; None for its own defaults.
        device: where to run, as torch has it.
        permit: asked before weights are downloaded; None shows the licence and agrees only to
            permissive ones.

    Raises:
        KinedepthError: unknown model or option, or weights that cannot be had or do not fit.
    """
    options = options or DepthOptions()
    check_options(name, options)
    weights = find_weights(name, options, permit or hub.permission())
    return load_depth_model(name, weights, options, device)


def load_depth_model(
    name: str, weights: Path, options: DepthOptions, device: torch.device | str
) -> DepthModel:
    """As :func:`make_depth_model`, with options that were checked and weights that were found."""
    import torch

    module, _, function = find_entry(name).loader.partition(":")
    load: Loader = getattr(importlib.import_module(module), function)
    return load(name, weights, options, torch.device(device))
