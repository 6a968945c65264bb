"""How much less work is decoding by a tiny autoencoder? Sizes as published, weights random.

    python benchmarks/rolling_decoders.py [--size 128] [--frames 3]

Processor seconds of one thread for a frame, of the large decoder (Stable Diffusion 2's) and of the
tiny one (TAESD's), at SIZE x SIZE. Of how far their depth is apart random weights tell nothing.
"""

from __future__ import annotations

import argparse
import time
from typing import Any

import torch
from _report import print_table, write_results
from diffusers import AutoencoderTiny
from rolling_calls import make_vae

from kinedepth.dense.rolling_depth.latents import LatentCodec


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", type=int, default=128)
    parser.add_argument("--frames", type=int, default=3)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    large, tiny = make_vae("sd2").eval(), AutoencoderTiny().eval()
    figures: dict[str, Any] = {"size": arguments.size, "frames": arguments.frames}
    for name, decoder, network in (("large", None, large), ("tiny", tiny, tiny)):
        figures[name] = {
            "seconds": seconds_of(LatentCodec(large, decoder), arguments.size, arguments.frames),
            "parameters": sum(each.numel() for each in network.decoder.parameters()),
        }
    figures["faster"] = figures["large"]["seconds"] / figures["tiny"]["seconds"]
    print_table(
        f"A frame of {arguments.size}x{arguments.size}, one thread",
        ["decoder", "million parameters", "seconds", "faster"],
        [
            [
                name,
                f"{figures[name]['parameters'] / 1e6:.1f}",
                f"{figures[name]['seconds']:.2f}",
                f"{figures['large']['seconds'] / figures[name]['seconds']:.1f}",
            ]
            for name in ("large", "tiny")
        ],
    )
    print(f"Wrote {write_results('rolling_decoders', figures)}")


@torch.inference_mode()
def seconds_of(codec: LatentCodec, size: int, frames: int) -> float:
    """Of one frame, the least of several: what else runs only adds."""
    latents = torch.randn(1, 4, size // 8, size // 8)
    codec.decode_depth(latents)
    spent = []
    for _ in range(frames):
        began = time.thread_time()
        codec.decode_depth(latents)
        spent.append(time.thread_time() - began)
    return min(spent)


if __name__ == "__main__":
    main()
