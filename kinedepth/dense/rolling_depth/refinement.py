"""Refinement of a merged video: some noise is added and taken away again, snippet by snippet."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch

from kinedepth.dense.rolling_depth.batching import AdaptiveBatches
from kinedepth.dense.rolling_depth.diffusion import SnippetDiffusion
from kinedepth.dense.rolling_depth.scratch import ScratchArrays
from kinedepth.dense.rolling_depth.snippets import refinement_dilations, snippets_of_dilation


def refine(
    diffusion: SnippetDiffusion,
    images: ScratchArrays,
    depth: ScratchArrays,
    noise: torch.Tensor,
    *,
    steps: int,
    first_dilation: int,
    length: int,
    batches: AdaptiveBatches,
    device: torch.device,
    snippets_done: Callable[[int], None] = lambda count: None,
) -> None:
    """Replace the latent ``depth`` of all frames by refined ones (Section 3.4 of the paper).

    Half of the noise schedule is gone through, in ``steps`` steps. In each, snippets of one
    dilation are denoised, from far apart to neighbours, and a frame's latents are the mean of
    what its snippets say: so all of them go on from the same video.

    Args:
        diffusion: the network.
        images: ``(T)`` latent images ``(4, h, w)``.
        depth: ``(T)`` latents of the merged depth; replaced.
        noise: ``(4, h, w)`` that is added to every frame.
        steps: how many.
        first_dilation: of the first step; the last ones have 1.
        length: frames in a snippet.
        batches: how many snippets pass the network together.
        device: where the network is.
        snippets_done: told how many more snippets are done.

    Raises:
        KinedepthError: the device or the disk has too little room.
    """
    total = 2 * steps
    times = diffusion.timesteps(total)[steps:]
    for frame in range(depth.count):
        noisy = diffusion.add_noise(torch.from_numpy(depth.read([frame])), noise, times[0])
        depth.write([frame], noisy.numpy())
    for time, dilation in zip(times, refinement_dilations(steps, first_dilation), strict=True):
        frames = snippets_of_dilation(depth.count, dilation, length)

        def denoise(part: range, frames: np.ndarray = frames, time: int = time) -> np.ndarray:
            shown = frames[part.start : part.stop]
            shape = (*shown.shape, *depth.shape)
            clean, noisy = (
                torch.from_numpy(store.read(shown.ravel())).reshape(shape).to(device)
                for store in (images, depth)
            )
            return diffusion.step(clean, noisy, time, total).flatten(0, 1).cpu().numpy()

        with ScratchArrays(depth.count, depth.shape) as sums:
            for part, stepped in batches.over(len(frames), denoise):
                sums.add(frames[part.start : part.stop].ravel(), stepped)
                snippets_done(len(part))
            told = np.bincount(frames.ravel(), minlength=depth.count).astype(np.float32)
            for frame in range(depth.count):
                depth.write([frame], sums.read([frame]) / told[frame])
