"""As much at a time as the memory of the device has room for."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from typing import TypeVar

import torch

from kinedepth.errors import KinedepthError

_PIXELS_AT_ONCE = {"cpu": 2**17, "cuda": 2**23, "mps": 2**20}
"""Pixels of frames that pass the denoising network together on a kind of device: eight snippets
of three frames of 768x432 on a GPU; on a CPU more than one large snippet gains nothing."""

_SIGNS_OF_NO_MEMORY = ("out of memory", "can't allocate memory", "not enough memory")
"""What errors of CUDA, MPS and the CPU say."""

Result = TypeVar("Result")


def suitable_batch(device: torch.device, pixels: int) -> int:
    """How many things of so many ``pixels`` each suit a device, at least one."""
    return max(1, _PIXELS_AT_ONCE.get(device.type, _PIXELS_AT_ONCE["cpu"]) // pixels)


class AdaptiveBatches:
    """Batches that are halved, for good, when the device runs out of memory.

    Args:
        size: of the first batches.

    Attributes:
        size: of the batches to come.
    """

    def __init__(self, size: int) -> None:
        self.size = size

    def over(self, count: int, work: Callable[[range], Result]) -> Iterator[tuple[range, Result]]:
        """Results of ``work`` on consecutive ranges of indices from 0 to ``count``, in order.

        Warns when a batch does not fit and is tried again as two.

        Raises:
            KinedepthError: not even one at a time fits.
        """
        first = 0
        while first < count:
            part = range(first, min(first + self.size, count))
            try:
                result = work(part)
            except RuntimeError as error:
                if not is_out_of_memory(error):
                    raise
                reason = (str(error).strip().splitlines() or [""])[0]
            else:
                yield part, result
                first = part.stop
                continue
            # Outside of the handler, where the failed batch is no longer referred to.
            self._halve(len(part), reason)

    def _halve(self, tried: int, reason: str) -> None:
        if tried == 1:
            raise KinedepthError(
                f"The device has too little memory even for one snippet or frame at a time "
                f"({reason}); choose a smaller resolution or a precision of 16 bits."
            )
        self.size = tried // 2
        warnings.warn(
            f"{tried} at a time do not fit into the device's memory; going on with {self.size}.",
            stacklevel=3,
        )
        if torch.cuda.is_available():
            torch.cuda.empty_cache()


def is_out_of_memory(error: RuntimeError) -> bool:
    """Whether ``error`` says that a device's memory is full."""
    if isinstance(error, torch.OutOfMemoryError):
        return True
    message = str(error).lower()
    return any(sign in message for sign in _SIGNS_OF_NO_MEMORY)
