"""A stream that is aligned to what it has shown: drift goes, true change of depth stays."""

import numpy as np
import pytest
import torch
from vda_reference import moving_picture, relative_error, tiny_network

from kinedepth.dense.video_depth_anything.aligned_streaming import (
    AlignedDepthStream,
    robust_scale_and_shift,
)
from kinedepth.dense.video_depth_anything.streaming import DepthStream

FRAMES = 30


def streamed(kind: type[DepthStream], drift: float, monkeypatch) -> np.ndarray:
    """Depth of a stream whose network answers in a scale and shift that wander with time."""
    network, stream = tiny_network(), kind(tiny_network(), 28, 28, input_size=28)
    decode, frames = network.head.decode, []
    time = 0

    def wandering(*arguments):
        return decode(*arguments) * (1 + drift * time) + 20 * drift * time

    with monkeypatch.context() as patch:
        patch.setattr(network.head, "decode", wandering)
        for frame in moving_picture(FRAMES, 28, 28):
            frames.append(stream.push(frame))
            time += 1
    return np.stack(frames)


def test_drift_is_taken_out_and_nothing_else(monkeypatch):
    still, drifting = (streamed(AlignedDepthStream, drift, monkeypatch) for drift in (0.0, 0.04))
    published = streamed(DepthStream, 0.04, monkeypatch)
    # At the end the network answers more than twice as large as at the start.
    assert np.median(published[-5:]) > 1.8 * np.median(still[-5:])
    assert relative_error(drifting, still) < 1e-3


def test_a_frame_does_not_depend_on_those_to_come():
    pictures = moving_picture(30, 28, 28)
    short, long = (AlignedDepthStream(tiny_network(), 28, 28, input_size=28) for _ in range(2))
    first = [short.push(frame) for frame in pictures[:25]]
    second = [long.push(frame) for frame in pictures]
    assert np.array_equal(np.stack(first), np.stack(second[:25]))


def test_after_a_reset_the_next_frame_is_the_first():
    stream = AlignedDepthStream(tiny_network(), 28, 28, input_size=28)
    pictures = moving_picture(3, 28, 28)
    first = stream.push(pictures[0])
    stream.push(pictures[1])
    stream.reset()
    assert np.array_equal(stream.push(pictures[0]), first)
    assert len(stream._references) == 1


def test_what_is_remembered_does_not_grow():
    stream = AlignedDepthStream(tiny_network(), 28, 28, input_size=28)
    for frame in moving_picture(45, 28, 28):
        stream.push(frame)
        assert len(stream._references) <= 2


@pytest.mark.parametrize(("scale", "shift"), [(1.0, 0.0), (0.5, 3.0), (4.0, -1.0)])
def test_the_fit_finds_what_most_pixels_say(scale, shift):
    generator = torch.Generator().manual_seed(0)
    prediction = torch.rand(2, 40, 50, generator=generator)
    target = scale * prediction + shift
    target[:, :12] += 5 * torch.rand(2, 12, 50, generator=generator)  # A part that changed.
    found = robust_scale_and_shift(prediction, target)
    assert found == pytest.approx((scale, shift), abs=0.02)


def test_a_constant_determines_nothing():
    assert robust_scale_and_shift(torch.full((3, 4), 2.0), torch.rand(3, 4)) == (1.0, 0.0)
