"""Number formats that the network can run in."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Literal, get_args

import torch

from kinedepth.errors import KinedepthError

Precision = Literal["float32", "bfloat16", "float16"]
"""Of the network's arithmetic; weights stay float32, and so do the last layers of the head."""

_TYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


def check_precision(precision: str) -> None:
    """Raise unless ``precision`` is one of :data:`Precision`.

    Raises:
        KinedepthError: if it is not.
    """
    if precision not in get_args(Precision):
        known = ", ".join(get_args(Precision))
        raise KinedepthError(f"Unknown precision '{precision}'; known are {known}.")


def check_usable(precision: str, device: torch.device) -> None:
    """Raise unless ``device`` can sensibly run in ``precision``.

    Raises:
        KinedepthError: if it is unknown, or float16 on a CPU.
    """
    check_precision(precision)
    if precision == "float16" and device.type == "cpu":
        raise KinedepthError(
            "float16 is for GPUs; on a CPU choose float32, or bfloat16 where memory is short."
        )


def autocast(device: torch.device, precision: Precision) -> Callable[[], torch.autocast]:
    """Makes context managers within which the network runs in ``precision``."""
    check_precision(precision)
    kind = _TYPES[precision]
    return partial(torch.autocast, device.type, dtype=kind, enabled=kind != torch.float32)


def check_finite(depth: torch.Tensor) -> None:
    """Raise if the network's output holds anything that is no finite number.

    Raises:
        KinedepthError: if it does.
    """
    if not bool(torch.isfinite(depth).all()):
        raise KinedepthError(
            "The network gave values that are not numbers: its weights are damaged, or too large "
            "for float16; fetch the weights again, or choose float32."
        )
