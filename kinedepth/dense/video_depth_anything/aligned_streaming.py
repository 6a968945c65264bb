"""A live stream whose depth stays in the scale of what was shown before.

What earlier frames left behind was computed in ever other contexts, so the scale and shift in
which the network answers wander. Depth itself cannot tell: a camera that moves changes it as
well. But a frame that was shown already can be asked again, within the present context: whatever
its answer is now off from what was shown is the wandering alone. The new frame's depth is
brought back by the scale and shift that bring these answers back, as key frames do for windows
(Section 3.3 of the paper).
"""

from __future__ import annotations

import torch
from torch import Tensor

from kinedepth.dense.video_depth_anything.head import FrameFeatures
from kinedepth.dense.video_depth_anything.streaming import DepthStream

_KEY_INTERVAL = 22
"""Frames from one key frame to the next, as from window to window."""

_ROBUST_ITERATIONS = 4
_MOST_PIXELS = 20_000
"""Of a frame, for the fit: two numbers do not need them all."""


class AlignedDepthStream(DepthStream):
    """A :class:`DepthStream` whose frames are aligned to those already shown.

    The first frame and, every 22 frames, a newer one are kept as references: their features and
    the depth they were shown with. With each new frame both are asked again. That takes no pass
    through the encoder, the largest part of the work. Nothing later is waited for.

    Arguments and methods are those of :class:`DepthStream`. It is meant for relative depth:
    metric depth has no free scale.
    """

    _references: list[tuple[FrameFeatures, Tensor]]
    _since_key: int

    def reset(self) -> None:
        """Forget all frames: the next one is the first, as after a cut."""
        super().reset()
        self._references = []
        self._since_key = 0

    def _settled(self, features: FrameFeatures, depth: Tensor) -> Tensor:
        if self._references:
            answers = torch.stack([self._ask(frame)[0] for frame, _ in self._references])
            shown = torch.stack([depth for _, depth in self._references])
            step = max(1, round((depth.numel() / _MOST_PIXELS) ** 0.5))
            scale, shift = robust_scale_and_shift(
                answers[:, ::step, ::step], shown[:, ::step, ::step]
            )
            # Backwards, a scale would turn near into far: such references tell nothing.
            if scale > 0:
                depth = torch.clamp(scale * depth + shift, min=0)
        self._since_key += 1
        if not self._references or self._since_key == _KEY_INTERVAL:
            # The first one stays for ever, so that errors cannot add up.
            self._references[1:] = []
            self._references.append((features, depth))
            self._since_key = 0
        return depth


def robust_scale_and_shift(prediction: Tensor, target: Tensor) -> tuple[float, float]:
    """Scale a and shift b for which ``a * prediction + b`` agrees with most of ``target``.

    Weighted least squares with Cauchy's weights, renewed a few times; the width is that of the
    median residual. So a part of the picture that truly changed has little say.

    Args:
        prediction, target: of one shape.

    Returns:
        ``(a, b)``; ``(1, 0)`` where the prediction is constant and does not determine them.
    """
    x, y = prediction.double().flatten(), target.double().flatten()
    weight = torch.ones_like(x)
    scale, shift = 1.0, 0.0
    least = 1e-6 * float(y.abs().mean()) + 1e-12
    for _ in range(1 + _ROBUST_ITERATIONS):
        share = weight / weight.sum()
        mean_x, mean_y = share @ x, share @ y
        variance = share @ (x - mean_x) ** 2
        if float(variance) <= 1e-12 * float(share @ x**2):
            return 1.0, 0.0
        scale = float(share @ ((x - mean_x) * (y - mean_y)) / variance)
        shift = float(mean_y - scale * mean_x)
        residual = (scale * x + shift - y).abs()
        width = 2 * max(float(residual.median()), least)
        weight = 1 / (1 + (residual / width) ** 2)
    return scale, shift
