"""Equal to the published implementation on its reference outputs, to rounding."""

import json

import numpy as np
import pytest
import torch
from vda_reference import (
    SHARED,
    needs_reference,
    published_keys,
    reference,
    reference_network,
    relative_error,
)

from kinedepth.alignment import crossfade_weights, fit_scale, fit_scale_and_shift
from kinedepth.dense.video_depth_anything.checkpoint import published_shapes
from kinedepth.dense.video_depth_anything.config import SIZES
from kinedepth.dense.video_depth_anything.inference import WindowedInference, estimate_depth
from kinedepth.dense.video_depth_anything.losses import video_depth_loss
from kinedepth.dense.video_depth_anything.streaming import DepthStream
from kinedepth.dense.video_depth_anything.windows import plan_windows, schedule
from kinedepth.video import Video

pytestmark = needs_reference


@pytest.mark.parametrize("size", SIZES)
def test_names_and_shapes_of_all_weights_are_the_published_ones(size):
    assert published_shapes(SIZES[size]) == published_keys(size)


def test_every_part_of_the_network_gives_the_published_numbers():
    network, expected = reference_network(), reference("parts_vits")
    images = torch.from_numpy(expected["x"])
    found = {}

    def record(index):
        def hook(module, inputs, output):
            found[f"mm{index}_in"] = inputs[0].transpose(1, 2)
            found[f"mm{index}_out"] = output.transpose(1, 2)

        return hook

    hooks = [
        module.register_forward_hook(record(index))
        for index, module in enumerate(network.head.temporal)
    ]
    found["y"] = network(images)
    for hook in hooks:
        hook.remove()
    found |= {f"feat{i}": tap for i, tap in enumerate(network.encoder(images[0]))}
    assert len(found) == 13
    for name, value in found.items():
        assert relative_error(value.numpy(), expected[name]) < 2e-5, name


def infer(expected: dict[str, np.ndarray], last_bias: float = 0.3) -> np.ndarray:
    settings = WindowedInference(input_size=int(expected["input_size"]))
    video = Video.from_array(expected["frames"])
    return estimate_depth(reference_network(last_bias), video, settings).depth


def test_a_video_wider_than_16_to_9_gives_the_published_depth():
    expected = reference("wide_vits")
    assert relative_error(infer(expected), expected["depths"]) < 1e-4


def test_a_video_of_four_windows_gives_the_published_depth():
    expected = reference("long_vits")
    assert relative_error(infer(expected), expected["depths"]) < 1e-4


def test_a_video_with_depth_cut_off_at_zero_gives_the_published_depth():
    expected = reference("longneg_vits")
    assert relative_error(infer(expected, last_bias=-180.0), expected["depths"]) < 1e-4


def test_a_stream_gives_the_published_depth():
    expected = reference("stream_vits")
    height, width = expected["depths"].shape[1:]
    stream = DepthStream(reference_network(), height, width, int(expected["input_size"]))
    found = np.stack([stream.push(frame) for frame in expected["frames"]])
    assert relative_error(found, expected["depths"]) < 1e-4


def test_windows_show_the_published_frames():
    tables = json.loads((SHARED / "vda_window_indices.json").read_text())
    for length, table in tables.items():
        windows = schedule(plan_windows(), int(length), "published")
        assert [list(window.frames) for window in windows] == table, length


def test_scale_shift_and_blending_are_the_published_ones():
    expected = reference("align")
    data = expected["pred"], expected["target"], expected["mask"]
    fit = fit_scale_and_shift(*data)
    assert fit == pytest.approx((float(expected["scale"]), float(expected["shift"])), rel=1e-6)
    assert fit_scale(*data) == pytest.approx(expected["scale_only"], rel=1e-6)
    weight = crossfade_weights(8)[:, None, None]
    blended = (1 - weight) * expected["pre"] + weight * expected["post"]
    assert np.abs(blended - expected["blend"]).max() < 1e-6


def test_losses_and_their_gradient_are_the_published_ones():
    expected = reference("loss")
    prediction = torch.from_numpy(expected["pred"]).requires_grad_()
    truth, mask = torch.from_numpy(expected["target"]), torch.from_numpy(expected["mask"])
    loss = video_depth_loss(prediction, truth, mask)
    loss.total.backward()
    assert loss.spatial.item() == pytest.approx(expected["spatial_loss"], rel=1e-5)
    assert loss.temporal.item() == pytest.approx(expected["stable_loss"], rel=1e-5)
    assert loss.total.item() == pytest.approx(expected["total_loss"], rel=1e-5)
    assert relative_error(prediction.grad.numpy(), expected["grad"]) < 1e-5
