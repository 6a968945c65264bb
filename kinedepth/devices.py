"""Where the networks run."""

from __future__ import annotations

import torch

from kinedepth.errors import KinedepthError


def find_device(name: str) -> torch.device:
    """The device asked for; "auto" takes the first of cuda, mps and cpu that there is.

    Raises:
        KinedepthError: no such device, or this machine has none that torch can use.
    """
    there = {
        "cuda": torch.cuda.is_available(),
        "mps": torch.backends.mps.is_available(),
        "cpu": True,
    }
    if name == "auto":
        name = next(device for device, available in there.items() if available)
    if name not in there:
        raise KinedepthError(f"Unknown device '{name}'; choose auto, cpu, cuda or mps.")
    if not there[name]:
        raise KinedepthError(f"This machine has no {name} device that torch can use; try cpu.")
    return torch.device(name)
