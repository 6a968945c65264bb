"""What a run of RollingDepth can be asked for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

from kinedepth.dense.video_depth_anything.precision import Precision, check_precision
from kinedepth.errors import KinedepthError

Solver = Literal["irls", "adam", "none"]
"""How snippets are co-aligned: the robust solver, the published descent, or not at all."""

Decode = Literal["snippets", "merged"]
"""What the decoder gets: every frame of every snippet, as published, or each frame once."""

PIXELS_PER_LATENT = 8
"""Pixels a side that one position of the latents stands for."""

SMALLEST_RESOLUTION = 64
REFINEMENT_DILATION = 6
"""Dilation that refinement begins with, where the clip is long enough."""


@dataclass(frozen=True)
class RollingDepthSettings:
    """Everything that a run depends on but the weights and the video; the preset *fast*.

    Attributes:
        resolution: pixels of the long side in the network, a multiple of 8 from 64 up; 0 for
            the frames' own size. Frames are enlarged to it, too.
        dilations: distances in frames between the neighbours of a snippet; every frame begins a
            snippet of each dilation, as far as the clip goes.
        snippet_length: frames in a snippet, 1 to 4; 3 as published.
        cap_dilations: shorten dilations that a short clip has no room for; without it they are
            refused.
        steps: denoising steps of the snippets; 1 as published.
        refine_steps: denoising steps of the refinement of the whole video; 0 for none.
        precision: of the networks' weights and arithmetic; None for float16 on a GPU and
            float32 on a CPU. The last layer of the decoder is float32 always, or smooth
            surfaces would come out in bands.
        solver: of the co-alignment.
        decode: ``snippets`` decodes every frame of every snippet, as published; ``merged``
            co-aligns at the latents' resolution and decodes each frame once, see ``merging``.
        seed: of the noise.
        snippets_at_once: that pass the networks together; None for what suits the device.

    Raises:
        KinedepthError: if a value makes no sense.
    """

    resolution: int = 768
    dilations: tuple[int, ...] = (1, 25)
    snippet_length: int = 3
    cap_dilations: bool = True
    steps: int = 1
    refine_steps: int = 0
    precision: Precision | None = None
    solver: Solver = "irls"
    decode: Decode = "snippets"
    seed: int = 0
    snippets_at_once: int | None = None

    def __post_init__(self) -> None:
        if self.resolution and (
            self.resolution < SMALLEST_RESOLUTION or self.resolution % PIXELS_PER_LATENT
        ):
            raise KinedepthError(
                f"A resolution of {self.resolution} does not fit the network: give a multiple of "
                f"{PIXELS_PER_LATENT} from {SMALLEST_RESOLUTION} up, or 0 for the frames' own size."
            )
        if not self.dilations or any(dilation < 1 for dilation in self.dilations):
            raise KinedepthError(
                "Dilations are whole numbers of frames from 1 up, at least one of them, e.g. 1,25."
            )
        _check_range("snippet length", self.snippet_length, 1, 4)
        _check_range("number of steps", self.steps, 1, 1000)
        _check_range("number of refinement steps", self.refine_steps, 0, 500)
        _check_range("seed", self.seed, 0, 2**63 - 1)
        if self.snippets_at_once is not None:
            _check_range("number of snippets at once", self.snippets_at_once, 1, 2**31)
        if self.precision is not None:
            check_precision(self.precision)
        _check_known("solver", self.solver, get_args(Solver))
        _check_known("decoding", self.decode, get_args(Decode))


def _check_range(what: str, value: int, smallest: int, largest: int) -> None:
    if not smallest <= value <= largest:
        raise KinedepthError(f"The {what} has to be from {smallest} to {largest}; got {value}.")


def _check_known(what: str, value: str, known: tuple[str, ...]) -> None:
    if value not in known:
        raise KinedepthError(f"Unknown {what} '{value}'; choose one of: {', '.join(known)}.")
