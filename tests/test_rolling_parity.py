"""RollingDepth: equal to the published implementation on its reference outputs, to rounding."""

import json

import numpy as np
import pytest
import torch

pytest.importorskip("diffusers")
pytest.importorskip("transformers")

from rolling_reference import needs_reference, reference, reference_components, relative_error

from kinedepth.dense.rolling_depth.config import RollingDepthSettings
from kinedepth.dense.rolling_depth.diffusion import SnippetDiffusion, shared_noise
from kinedepth.dense.rolling_depth.latents import LatentCodec, to_network
from kinedepth.dense.rolling_depth.snippets import refinement_dilations
from kinedepth.dense.rolling_depth.video_run import RollingDepthRun
from kinedepth.video import Video

pytestmark = needs_reference

RUNS = {
    "fast": {"dilations": (1, 25)},
    "full": {"dilations": (1, 10, 25), "refine_steps": 10},
    "uncapped": {"dilations": (1, 2, 4), "cap_dilations": False, "refine_steps": 4},
}
"""Whole runs, as they were asked for on the published command line."""


def test_the_empty_prompt_has_the_published_embedding():
    assert relative_error(reference_components().prompt, reference("unet")["text"]) < 1e-5


@pytest.mark.parametrize("views", [1, 2, 3])
def test_one_pass_of_the_network_gives_the_published_numbers(views):
    expected = reference("unet")
    images, depth = (torch.from_numpy(expected[f"{part}{views}"]) for part in ("rgb", "dep"))
    diffusion = SnippetDiffusion(reference_components())
    found = diffusion.velocity(images, depth, int(expected["t"]))
    assert relative_error(found, expected[f"y{views}"]) < 1e-5


def test_encoding_and_decoding_give_the_published_numbers():
    expected = reference("vae")
    codec = LatentCodec(reference_components().vae)
    latents = codec.encode_images(torch.from_numpy(expected["x"][0]))
    assert relative_error(latents, expected["latent"][0]) < 1e-5
    depth = codec.decode_depth(torch.from_numpy(expected["latent"][0]))
    assert relative_error(depth, expected["depth"][0, :, 0]) < 1e-5


def test_the_schedule_of_noise_is_the_published_one():
    expected = reference("sched")
    diffusion = SnippetDiffusion(reference_components())
    for steps in (1, 2, 4, 10, 20):
        assert diffusion.timesteps(steps) == expected[f"t{steps}"].tolist()
    sample, velocity = (torch.from_numpy(expected[name]) for name in "xv")
    for steps, time, name in ((1, 999, "step1"), (20, 499, "step_499"), (20, 49, "step_49")):
        moved = diffusion._schedule(steps).step(velocity, time, sample).prev_sample
        assert relative_error(moved, expected[name]) < 1e-5
    noisy = diffusion.add_noise(sample, velocity, 499)
    assert relative_error(noisy, expected["addnoise_499"]) < 1e-5


def test_dilations_of_refinement_are_the_published_ones():
    published = json.loads(str(reference("sched")["refine_dilations"]))
    for name, dilations in published.items():
        steps, first = map(int, name.split("_"))
        assert refinement_dilations(steps, first) == dilations, name


def test_frames_and_noise_are_the_published_ones():
    expected = reference("fast")
    images = to_network(expected["frames"], (64, 96))
    assert relative_error((images + 1) / 2, expected["input_rgb"]) < 1e-6
    noise = shared_noise(1234, 8, 12).expand(1, 12, -1, -1, -1)
    assert np.array_equal(noise, expected["init_noise"])


@pytest.mark.parametrize("name", RUNS)
def test_a_whole_run_gives_the_published_depth(name):
    expected = reference(name)
    settings = RollingDepthSettings(resolution=0, seed=1234, solver="adam", **RUNS[name])
    run = RollingDepthRun(reference_components(), settings, Video.from_array(expected["frames"]))
    assert run.plan.dilations == tuple(expected["dilations"])

    run.encode()
    assert relative_error(run.images.read(range(12)), expected["rgb_latent"][0]) < 1e-5

    run.predict()
    snippets = run.predictions.read(range(run.predictions.count))
    snippets = snippets.reshape(-1, 3, 1, 64, 96)[run.plan.occurrences]
    groups = range(len(run.plan.dilations))
    published = np.concatenate([expected[f"snip{group}"] for group in groups])
    assert relative_error(snippets, published) < 1e-5

    # 2000 steps of a descent make more of rounding.
    run.align()
    scale = np.concatenate([expected[f"scale{group}"].ravel() for group in groups])
    assert relative_error(run.scale, scale) < 5e-3
    run.merge()
    assert relative_error(run.depth.read(range(12))[:, None], expected["depth_coaligned"]) < 5e-3
    if settings.refine_steps:
        run.refine()
    assert relative_error(run.depth.read(range(12))[:, None], expected["depth_pred"]) < 5e-3
    run.close()
