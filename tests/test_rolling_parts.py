"""The parts of RollingDepth by themselves: snippets, attention, batches, merging, stores."""

import errno

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

pytest.importorskip("diffusers")
pytest.importorskip("transformers")

from rolling_reference import tiny_components, tiny_unet

from kinedepth.dense.rolling_depth.batching import AdaptiveBatches
from kinedepth.dense.rolling_depth.diffusion import SnippetDiffusion
from kinedepth.dense.rolling_depth.latents import network_size
from kinedepth.dense.rolling_depth.merging import views_of_frames
from kinedepth.dense.rolling_depth.presets import PRESETS, find_settings
from kinedepth.dense.rolling_depth.preview import LinearPreview
from kinedepth.dense.rolling_depth.scratch import ScratchArrays
from kinedepth.dense.rolling_depth.snippets import (
    first_refinement_dilation,
    plan_snippets,
    snippets_of_dilation,
)
from kinedepth.errors import KinedepthError


@given(st.integers(1, 200), st.lists(st.integers(1, 60), min_size=1, max_size=3), st.integers(1, 4))
def test_with_the_cap_every_frame_of_every_clip_is_in_a_snippet_of_every_dilation(
    count, dilations, length
):
    plan = plan_snippets(count, tuple(dilations), length)
    every = set(range(count))
    for group in range(len(dilations)):
        assert set(plan.frames[plan.occurrences[plan.groups == group]].ravel()) == every
    assert (np.diff(plan.frames, axis=1) >= 1).all()
    assert len(plan.dilations) == len(dilations)


@given(st.integers(2, 200), st.integers(1, 10), st.integers(1, 4), st.booleans())
def test_every_step_of_refinement_reaches_every_frame(count, wanted, length, cap):
    dilation = first_refinement_dilation(count, length, wanted, cap)
    frames = snippets_of_dilation(count, dilation, min(length, count))
    assert set(frames.ravel()) == set(range(count))


def test_snippets_are_those_of_the_paper():
    plan = plan_snippets(6, (1, 2), 3, cap=False)
    assert plan.frames.tolist() == [
        [0, 1, 2],
        [1, 2, 3],
        [2, 3, 4],
        [3, 4, 5],
        [0, 2, 4],
        [1, 3, 5],
    ]


def test_a_dilation_that_is_capped_to_another_is_predicted_once_and_counts_twice():
    plan = plan_snippets(12, (1, 10, 25))
    assert plan.dilations == (1, 3, 3)
    assert len(plan.frames) == 10 + 6
    assert len(plan.occurrences) == 10 + 6 + 6


def test_a_dilation_longer_than_the_clip_is_refused_without_the_cap():
    with pytest.raises(KinedepthError, match="needs a clip of at least 51, but this one has 12"):
        plan_snippets(12, (1, 25), cap=False)


def test_frames_that_no_snippet_reaches_are_told():
    with pytest.raises(KinedepthError, match="leave 6 of 12 frames without a snippet"):
        plan_snippets(12, (5,), cap=False)


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"resolution": 100}, "multiple of 8 from 64 up"),
        ({"resolution": 56}, "multiple of 8 from 64 up"),
        ({"dilations": (0, 1)}, "from 1 up"),
        ({"dilations": ()}, "at least one"),
        ({"snippet_length": 5}, "from 1 to 4; got 5"),
        ({"steps": 0}, "from 1 to 1000; got 0"),
        ({"refine_steps": -1}, "from 0 to 500; got -1"),
        ({"seed": -1}, "seed"),
        ({"solver": "sgd"}, "choose one of: irls, adam"),
        ({"decode": "none"}, "choose one of: snippets, merged"),
        ({"precision": "int8"}, "known are float32"),
        ({"snippets_at_once": 0}, "at once"),
        ({"preset": "slow"}, "choose one of: fast, fast1024, full, paper"),
    ],
)
def test_settings_that_make_no_sense_are_told_in_one_sentence(changes, sentence):
    with pytest.raises(KinedepthError, match=sentence):
        find_settings(**changes)


def test_presets_are_the_published_ones():
    short = {
        name: (s.resolution, s.dilations, s.refine_steps, s.cap_dilations, s.precision)
        for name, s in PRESETS.items()
    }
    assert short == {
        "fast": (768, (1, 25), 0, True, None),
        "fast1024": (1024, (1, 25), 0, True, None),
        "full": (1024, (1, 10, 25), 10, True, None),
        "paper": (768, (1, 10, 25), 10, False, "float32"),
    }


def test_frames_pass_the_network_at_multiples_of_eight_with_the_long_side_asked_for():
    assert network_size(432, 768, 768) == (432, 768)
    assert network_size(1080, 1920, 768) == (432, 768)
    assert network_size(45, 70, 0) == (48, 72)
    assert network_size(400, 4, 64) == (64, 8)


def snippet_inputs(batch: int, length: int) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    return tuple(torch.randn(batch, length, 4, 4, 6, generator=generator) for _ in range(2))


@torch.no_grad()
def test_a_snippet_of_one_frame_is_the_single_image_network():
    torch.manual_seed(0)
    plain = tiny_unet().eval()
    parts = tiny_components()
    plain.load_state_dict(parts.unet.state_dict())
    images, depth = snippet_inputs(2, 1)
    expected = plain(
        torch.cat([images, depth], dim=2)[:, 0], 300, parts.prompt.expand(2, -1, -1)
    ).sample
    found = SnippetDiffusion(parts).velocity(images, depth, 300)[:, 0]
    assert torch.allclose(found, expected, atol=1e-6)


@torch.no_grad()
def test_frames_of_a_snippet_see_each_other_in_any_order_and_no_other_snippet():
    diffusion = SnippetDiffusion(tiny_components())
    images, depth = snippet_inputs(2, 3)
    found = diffusion.velocity(images, depth, 300)
    order = [2, 0, 1]
    turned = diffusion.velocity(images[:, order], depth[:, order], 300)
    assert torch.allclose(turned, found[:, order], atol=1e-5)
    changed = images.clone()
    changed[0, 2] += 1
    other = diffusion.velocity(changed, depth, 300)
    assert (other[0, 0] - found[0, 0]).abs().max() > 1e-4
    assert torch.allclose(other[1], found[1], atol=1e-6)


def test_out_of_memory_halves_the_batch_says_so_and_loses_nothing():
    def work(part: range) -> list[int]:
        if len(part) > 2:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 3 GiB.")
        return list(part)

    batches = AdaptiveBatches(8)
    with pytest.warns(UserWarning, match="8 at a time do not fit") as told:
        done = [index for _, result in batches.over(11, work) for index in result]
    assert done == list(range(11))
    assert batches.size == 2
    assert len(told) == 2


def test_too_little_memory_for_one_is_one_sentence():
    def work(part: range) -> None:
        raise RuntimeError("MPS backend out of memory (MPS allocated: 9 GB)")

    with pytest.raises(KinedepthError, match="even for one snippet or frame"):
        list(AdaptiveBatches(1).over(3, work))


def test_errors_that_are_not_of_memory_pass():
    def work(part: range) -> None:
        raise RuntimeError("shapes do not match")

    with pytest.raises(RuntimeError, match="shapes"):
        list(AdaptiveBatches(4).over(3, work))


def some_views(seed: int = 0):
    random = np.random.default_rng(seed)
    plan = plan_snippets(9, (1, 2, 5))
    scale = random.uniform(0.5, 1.5, len(plan.occurrences))
    shift = random.normal(0, 0.1, len(plan.occurrences))
    return plan, scale, shift, views_of_frames(plan, scale, shift, -0.7)


def test_merging_is_the_mean_of_all_aligned_snippets_repeated_ones_included():
    plan, scale, shift, views = some_views()
    assert plan.dilations == (1, 2, 2)
    depth = np.random.default_rng(1).normal(size=(len(plan.frames), 3, 4, 5)).astype(np.float32)
    aligned = (
        scale[:, None, None, None] * (depth[plan.occurrences] + 0.7) + shift[:, None, None, None]
    )
    flat = depth.reshape(-1, 4, 5)
    for frame, view in enumerate(views):
        expected = aligned[plan.frames[plan.occurrences] == frame].mean(axis=0)
        assert np.allclose(view.merge_depth(flat[view.predictions]), expected, atol=1e-6)


def test_decoding_once_is_exact_for_an_affine_decoder():
    plan, _, _, views = some_views()
    random = np.random.default_rng(2)
    latents = random.normal(size=(plan.frames.size, 4, 2, 3)).astype(np.float32)
    channel, constant = random.normal(size=4), 0.4

    def decode(z: np.ndarray) -> np.ndarray:
        return np.einsum("c,...chw->...hw", channel, z) + constant

    for view in views:
        seen = latents[view.predictions]
        once = view.finish_depth(decode(view.merge_latents(seen)))
        assert np.allclose(once, view.merge_depth(decode(seen)), atol=1e-5)


def test_decoding_once_is_exact_for_any_decoder_where_all_snippets_agree():
    plan, _, _, views = some_views()
    latents = np.random.default_rng(3).normal(size=(9, 4, 2, 3)).astype(np.float32)
    seen = latents[plan.frames.ravel()]

    def decode(z: np.ndarray) -> np.ndarray:
        return np.tanh(3 * z.sum(axis=-3)) ** 3

    for view in views:
        once = view.finish_depth(decode(view.merge_latents(seen[view.predictions])))
        each = view.merge_depth(decode(seen[view.predictions]))
        assert np.allclose(once, each, atol=1e-4)


def test_the_preview_is_exact_for_a_linear_decoder_and_says_how_much_it_explains():
    generator = torch.Generator().manual_seed(0)
    latents = torch.randn(3, 4, 6, 7, generator=generator)
    channel = torch.randn(4, generator=generator)
    means = torch.einsum("c,bchw->bhw", channel, latents) + 2
    depth = means.repeat_interleave(8, 1).repeat_interleave(8, 2)
    preview = LinearPreview.fit(latents, depth)
    assert preview.explained > 0.9999
    assert torch.allclose(preview(latents), means, atol=1e-3)
    noise = torch.randn(depth.shape, generator=generator)
    assert LinearPreview.fit(latents, noise).explained < 0.9


@pytest.mark.parametrize("in_memory", [0, 2**20])
def test_scratch_arrays_are_the_same_on_disk_and_in_memory(in_memory):
    with ScratchArrays(5, (2, 3), largest_in_memory=in_memory) as arrays:
        assert not arrays.read(range(5)).any()
        values = np.arange(12, dtype=np.float32).reshape(2, 2, 3)
        arrays.write([3, 1], values)
        arrays.add([1, 1, 0], np.ones((3, 2, 3), np.float32))
        found = arrays.read([0, 1, 3, 4])
    assert np.array_equal(found, [np.ones((2, 3)), values[1] + 2, values[0], np.zeros((2, 3))])


def test_a_full_disk_is_one_sentence():
    class FullDisk:
        def seek(self, place):
            pass

        def write(self, data):
            raise OSError(errno.ENOSPC, "No space left on device")

        def close(self):
            pass

    with ScratchArrays(2, (3,), largest_in_memory=0) as arrays:
        arrays._file.close()
        arrays._file = FullDisk()
        with pytest.raises(KinedepthError, match=r"No space left on device.*set TMPDIR"):
            arrays.write([0], np.ones((1, 3), np.float32))
