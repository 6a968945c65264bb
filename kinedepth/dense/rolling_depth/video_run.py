"""One video through the pipeline, stage by stage.

frames -> latent images                              each frame is encoded once
       -> latent depth of snippets                   each distinct snippet is denoised once
       -> scale and shift of each snippet            co-alignment, on a coarse grid
       -> one depth for each frame                   from decoded snippets, or decoded once
       -> refined, if asked for

On the device there are never more frames than pass the networks together. What has to be kept
until later lies in ``ScratchArrays``: in temporary files when the video is long.
"""

from __future__ import annotations

import contextlib
import math
import warnings
from collections.abc import Callable, Iterator

import numpy as np
import torch
from numpy.typing import NDArray

from kinedepth.dense.rolling_depth.batching import AdaptiveBatches, suitable_batch
from kinedepth.dense.rolling_depth.coalignment import align_values
from kinedepth.dense.rolling_depth.components import Components
from kinedepth.dense.rolling_depth.config import (
    PIXELS_PER_LATENT,
    REFINEMENT_DILATION,
    RollingDepthSettings,
)
from kinedepth.dense.rolling_depth.diffusion import SnippetDiffusion, shared_noise
from kinedepth.dense.rolling_depth.latents import LatentCodec, network_size, to_network
from kinedepth.dense.rolling_depth.merging import views_of_frames
from kinedepth.dense.rolling_depth.preview import LinearPreview
from kinedepth.dense.rolling_depth.refinement import refine
from kinedepth.dense.rolling_depth.scratch import ScratchArrays
from kinedepth.dense.rolling_depth.snippets import (
    first_refinement_dilation,
    plan_snippets,
    refinement_dilations,
    snippets_of_dilation,
)
from kinedepth.dense.video_depth_anything.precision import check_finite
from kinedepth.video import Video

COMPARED_STEP = 10
"""Snippets are compared at every so many pixels of their depth, as published."""

MOST_COMPARED = 2**24
"""Values that are compared in all: of long videos fewer pixels are, so that memory stays bounded.
At 768x432 and the preset fast that begins at about 800 frames."""

_COMPARED_BORDER = 2
_PREVIEW_FRAMES = 8
_POOR_PREVIEW = 0.8
"""Explained variance below which co-alignment by the preview is not to be relied on."""


class RollingDepthRun:
    """The stages, to be called in this order; the intermediate results are there to look at.

    Args:
        components: on the device to run on.
        settings: of the run.
        video: of any size and length.
        steps_done: told how much work is done and how much there is, in frames through a
            network.

    Attributes:
        size: rows and columns of frames in the network, multiples of 8.
        plan: the snippets.
        images: ``(T)`` latent images ``(4, h, w)``.
        predictions: of each frame of each distinct snippet, one snippet after the other: its
            depth ``(H, W)`` (``decode="snippets"``) or its latent depth (``"merged"``).
        scale, shift: ``(S,)`` float32 of all snippets.
        depth: ``(T)`` depth ``(H, W)``: merged from -1 to 1, then refined, larger is nearer.

    Raises:
        KinedepthError: if the clip is too short for a dilation.
    """

    def __init__(
        self,
        components: Components,
        settings: RollingDepthSettings,
        video: Video,
        steps_done: Callable[[int, int], None] = lambda done, total: None,
    ) -> None:
        self._settings, self._video = settings, video
        self._codec = LatentCodec(components.vae, components.tiny_decoder)
        self._diffusion = SnippetDiffusion(components)
        self._device = components.unet.device
        self.size = network_size(video.height, video.width, settings.resolution)
        self._latent_size = (self.size[0] // PIXELS_PER_LATENT, self.size[1] // PIXELS_PER_LATENT)
        self.plan = plan_snippets(
            len(video), settings.dilations, settings.snippet_length, settings.cap_dilations
        )
        self._first_dilation = first_refinement_dilation(
            len(video), self.plan.length, REFINEMENT_DILATION, settings.cap_dilations
        )
        self._noise = shared_noise(settings.seed, *self._latent_size)
        self._scratch = contextlib.ExitStack()
        together = settings.snippets_at_once or suitable_batch(
            self._device, self.plan.length * math.prod(self.size)
        )
        self._snippets, self._frames = AdaptiveBatches(together), AdaptiveBatches(together)
        self._steps_done, self._done = steps_done, 0
        self._total = self._work()

    def close(self) -> None:
        """Give back what was kept in memory or on the disk."""
        self._scratch.close()

    def run(self) -> None:
        """All stages, so that :attr:`depth` is final.

        Raises:
            KinedepthError: as of the stages.
        """
        self.encode()
        self.predict()
        self.align()
        self.merge()
        if self._settings.refine_steps:
            self.refine()

    @torch.inference_mode()
    def encode(self) -> None:
        """Encode each frame's image, once.

        Raises:
            KinedepthError: if the device has too little memory.
        """
        self.images = self._keep(len(self._video), (4, *self._latent_size))
        for first, frames in self._video.blocks(self._frames.size):
            images = to_network(frames, self.size)

            def encode(part: range, images: torch.Tensor = images) -> NDArray[np.float32]:
                return self._codec.encode_images(images[part.start : part.stop]).cpu().numpy()

            for part, latents in self._frames.over(len(frames), encode):
                self.images.write(range(first + part.start, first + part.stop), latents)
                self._did(len(part))

    @torch.inference_mode()
    def predict(self) -> None:
        """Denoise each distinct snippet, and decode it if the settings say so.

        Raises:
            KinedepthError: the device or the disk has too little room, or the networks give
                values that are no numbers.
        """
        length, count = self.plan.length, len(self.plan.frames)
        decoded = self._settings.decode == "snippets"
        shape = self.size if decoded else (4, *self._latent_size)
        self.predictions = self._keep(count * length, shape)
        for part, latents in self._snippets.over(count, self._denoise):
            self._did(len(part) * length * self._settings.steps)
            check_finite(latents)
            wanted = range(part.start * length, part.stop * length)
            if not decoded:
                self.predictions.write(wanted, latents.cpu().numpy())
                continue
            for some, depth in self._decoded(latents):
                first = wanted.start
                self.predictions.write(range(first + some.start, first + some.stop), depth)

    def _denoise(self, part: range) -> torch.Tensor:
        """Latent depth ``(B * L, 4, h, w)`` of distinct snippets."""
        frames = self.plan.frames[part.start : part.stop]
        images = torch.from_numpy(self.images.read(frames.ravel()))
        images = images.unflatten(0, frames.shape).to(self._device)
        return self._diffusion.denoise(images, self._noise, self._settings.steps).flatten(0, 1)

    def _decoded(self, latents: torch.Tensor) -> Iterator[tuple[range, NDArray[np.float32]]]:
        """Depth ``(B, H, W)`` of ``latents``, some at a time."""

        def decode(part: range) -> torch.Tensor:
            return self._codec.decode_depth(latents[part.start : part.stop])

        for part, depth in self._frames.over(len(latents), decode):
            check_finite(depth)
            self._did(len(part))
            yield part, depth.cpu().numpy()

    def align(self) -> None:
        """Find a scale and a shift for each snippet (Section 3.3 of the paper).

        Snippets are compared on a coarse grid: every tenth pixel of decoded ones, as published,
        or the preview of latent ones. That grid and the normal equations of two unknowns for
        each snippet are what grows in memory with the video.
        """
        if self._settings.solver == "none":
            count = len(self.plan.occurrences)
            self.scale, self.shift = np.ones(count, np.float32), np.zeros(count, np.float32)
            self._views = views_of_frames(self.plan, self.scale, self.shift, 0.0)
            return
        values, lowest = self._compared_pixels()
        self.scale, self.shift, _ = align_values(
            [values[snippet] for snippet in self.plan.occurrences],
            self.plan.frames[self.plan.occurrences],  # type: ignore[arg-type]  # Iterated over.
            solver=self._settings.solver,
        )
        self._views = views_of_frames(self.plan, self.scale, self.shift, lowest)

    def _compared_pixels(self) -> tuple[NDArray[np.float32], float]:
        """``(U, L, P)`` of the distinct snippets, less the lowest value of all, and that value.

        The lowest of all pixels counts, not of those that are compared.
        """
        preview = None if self._settings.decode == "snippets" else self._fit_preview()
        coarse: list[NDArray[np.float32]] = []
        lowest, thinned = np.inf, 1
        for index in range(self.predictions.count):
            value = self.predictions.read([index])
            if preview is None:
                lowest = min(lowest, float(value.min()))
                seen = _every_tenth_pixel(value[0])
            else:
                seen = preview(torch.from_numpy(value))[0].numpy()
                lowest = min(lowest, float(seen.min()))
            if not coarse:
                thinned = math.ceil(math.sqrt(self.predictions.count * seen.size / MOST_COMPARED))
            coarse.append(seen[::thinned, ::thinned].ravel())
        values = np.stack(coarse).reshape(-1, self.plan.length, coarse[0].size)
        values -= np.float32(lowest)
        return values, lowest

    @torch.inference_mode()
    def _fit_preview(self) -> LinearPreview:
        """A preview that is fitted to some predictions from all over the video."""
        number = min(_PREVIEW_FRAMES, self.predictions.count)
        some = np.linspace(0, self.predictions.count - 1, number).round().astype(int)
        latents = torch.from_numpy(self.predictions.read(some))
        depth = np.concatenate([depth for _, depth in self._decoded(latents)])
        preview = LinearPreview.fit(latents, torch.from_numpy(depth))
        if preview.explained < _POOR_PREVIEW:
            warnings.warn(
                f"Co-alignment without decoding explains only {preview.explained:.0%} of the "
                f"depth's variance with these weights; decode snippets instead.",
                stacklevel=2,
            )
        return preview

    @torch.inference_mode()
    def merge(self) -> None:
        """One depth for each frame, over all frames from -1 to 1.

        Raises:
            KinedepthError: the device or the disk has too little room, or the networks give
                values that are no numbers.
        """
        self.depth = self._keep(len(self._video), self.size)
        if self._settings.decode == "snippets":
            for frame, views in enumerate(self._views):
                merged = views.merge_depth(self.predictions.read(views.predictions))
                self.depth.write([frame], merged[None])
        else:
            for first in range(0, len(self._views), self._frames.size):
                self._decode_merged(range(first, min(first + self._frames.size, len(self._views))))
        self.predictions.close()
        self._normalise()

    def _decode_merged(self, frames: range) -> None:
        views = self._views[frames.start : frames.stop]
        latents = np.stack([v.merge_latents(self.predictions.read(v.predictions)) for v in views])
        for part, decoded in self._decoded(torch.from_numpy(latents)):
            for place, depth in zip(part, decoded, strict=True):
                self.depth.write([frames[place]], views[place].finish_depth(depth)[None])

    def _normalise(self) -> None:
        """Bring all frames together to the range from -1 to 1."""
        ranges = [(float(d.min()), float(d.max())) for d in map(self._depth_of, self._all())]
        lowest, highest = min(low for low, _ in ranges), max(high for _, high in ranges)
        spread = highest - lowest if highest > lowest else 1.0
        for frame in self._all():
            scaled = (self._depth_of(frame) - lowest) / spread * 2 - 1
            self.depth.write([frame], scaled.astype(np.float32)[None])

    @torch.inference_mode()
    def refine(self) -> None:
        """Refine the merged depth; what comes out is not brought to a range again.

        Raises:
            KinedepthError: the device or the disk has too little room, or the networks give
                values that are no numbers.
        """
        settings, count = self._settings, len(self._video)
        with ScratchArrays(count, (4, *self._latent_size)) as latents:

            def encode(part: range) -> NDArray[np.float32]:
                depth = torch.from_numpy(self.depth.read(part))
                return self._codec.encode_depth(depth).cpu().numpy()

            for part, encoded in self._frames.over(count, encode):
                latents.write(part, encoded)
                self._did(len(part))
            refine(
                self._diffusion,
                self.images,
                latents,
                self._noise,
                steps=settings.refine_steps,
                first_dilation=self._first_dilation,
                length=self.plan.length,
                batches=self._snippets,
                device=self._device,
                snippets_done=lambda snippets: self._did(snippets * self.plan.length),
            )
            for first in range(0, count, self._frames.size):
                some = range(first, min(first + self._frames.size, count))
                for part, depth in self._decoded(torch.from_numpy(latents.read(some))):
                    self.depth.write(some[part.start : part.stop], depth)

    def _all(self) -> range:
        return range(len(self._video))

    def _depth_of(self, frame: int) -> NDArray[np.float32]:
        return self.depth.read([frame])[0]

    def _keep(self, count: int, shape: tuple[int, ...]) -> ScratchArrays:
        return self._scratch.enter_context(ScratchArrays(count, shape))

    def _did(self, frames: int) -> None:
        self._done += frames
        self._steps_done(min(self._done, self._total), self._total)

    def _work(self) -> int:
        """About how many frames go through a network, all stages together."""
        settings, count = self._settings, len(self._video)
        predicted = self.plan.frames.size
        decoded = predicted if settings.decode == "snippets" else count + _PREVIEW_FRAMES
        work = count + predicted * settings.steps + decoded
        if settings.refine_steps:
            work += 2 * count
            for dilation in refinement_dilations(settings.refine_steps, self._first_dilation):
                work += snippets_of_dilation(count, dilation, self.plan.length).size
        return work


def _every_tenth_pixel(depth: NDArray[np.float32]) -> NDArray[np.float32]:
    """``depth (H, W)`` at the compared pixels."""
    rows, columns = (min(_COMPARED_BORDER, (side - 1) // 2) for side in depth.shape)
    height, width = depth.shape
    return depth[rows : height - rows : COMPARED_STEP, columns : width - columns : COMPARED_STEP]
