"""Marigold frame by frame: a tiny pipeline with random weights against diffusers' own run of it."""

import json
import shutil

import cv2
import numpy as np
import pytest
import torch

pytest.importorskip("diffusers")
pytest.importorskip("transformers")

import diffusers
import transformers
from rolling_reference import moving_picture, write_tiny_pipeline

from kinedepth import hub
from kinedepth.cli import main
from kinedepth.dense.registry import DEPTH_MODELS, DepthOptions, find_weights, make_depth_model
from kinedepth.errors import KinedepthError
from kinedepth.video import Video


@pytest.fixture(scope="module")
def pipeline(tmp_path_factory):
    folder = tmp_path_factory.mktemp("marigold")
    write_tiny_pipeline(folder)
    say(folder, default_denoising_steps=2, default_processing_resolution=64)
    return folder


def say(folder, **settings):
    index = folder / "model_index.json"
    index.write_text(json.dumps(json.loads(index.read_text()) | settings))


def depth_of(folder, frames, **options):
    model = make_depth_model("marigold", DepthOptions(weights=folder, **options))
    return np.stack(list(model.predict(Video.from_array(frames))))


def published(folder, frame, steps, resolution, seed):
    """The same by diffusers from the parts as they load by themselves, without our attention."""
    run = diffusers.MarigoldDepthPipeline(
        diffusers.UNet2DConditionModel.from_pretrained(folder / "unet"),
        diffusers.AutoencoderKL.from_pretrained(folder / "vae"),
        diffusers.DDIMScheduler.from_pretrained(folder / "scheduler"),
        transformers.CLIPTextModel.from_pretrained(folder / "text_encoder"),
        transformers.CLIPTokenizer.from_pretrained(folder / "tokenizer"),
    )
    run.set_progress_bar_config(disable=True)
    found = run(
        frame[None].astype(np.float32) / 255,
        num_inference_steps=steps,
        processing_resolution=resolution,
        generator=torch.Generator().manual_seed(seed),
    )
    return found.prediction[0, :, :, 0]


def test_each_frame_is_what_diffusers_makes_of_it(pipeline):
    frames = moving_picture(2, 50, 70)
    found = depth_of(pipeline, frames, seed=3)
    assert found.shape == (2, 50, 70)
    assert found.dtype == np.float32
    for frame, depth in zip(frames, found, strict=True):
        expected = published(pipeline, frame, steps=2, resolution=64, seed=3)
        assert np.abs(depth - expected).max() < 1e-5
        assert depth.std() > 1e-3


def test_options_change_what_they_say(pipeline):
    frames = moving_picture(2, 48, 64)
    usual = depth_of(pipeline, frames)
    for options in ({"steps": 1}, {"resolution": 96}, {"seed": 1}):
        assert np.abs(depth_of(pipeline, frames, **options) - usual).max() > 1e-4, options
    assert np.array_equal(depth_of(pipeline, frames, resolution=0), usual)  # 64 is its own size.


def test_the_same_frame_has_the_same_depth_wherever_it_stands(pipeline):
    frames = np.repeat(moving_picture(1, 48, 64), 3, axis=0)
    depth = depth_of(pipeline, frames)
    assert np.array_equal(depth[0], depth[2])


def test_a_run_that_was_stopped_goes_on(pipeline):
    video = Video.from_array(moving_picture(3, 48, 64))
    model = make_depth_model("marigold", DepthOptions(weights=pipeline))
    whole = list(model.predict(video))
    running = model.predict(video)
    next(running)
    rest = list(model.predict(video, resume=model.state()))
    assert np.array_equal(np.stack(rest), np.stack(whole[1:]))


def test_a_photograph_has_depth_by_itself(pipeline, tmp_path, capsys):
    photograph = tmp_path / "photograph.png"
    cv2.imwrite(str(photograph), moving_picture(1, 50, 70)[0])
    asked = ("--model", "marigold", "--weights", pipeline, "--device", "cpu", "--steps", 1)
    for options, code in (((), 0), (("--consistent",), 0), (("--steady",), 2)):
        output = tmp_path / f"out{len(options)}{code}"
        with pytest.raises(SystemExit) as stopped:
            main([str(word) for word in ("depth", photograph, "-o", output, *asked, *options)])
        assert (stopped.value.code or 0) == code
        told = capsys.readouterr()
        if code:
            assert "has one frame, in which nothing flickers" in told.err
        else:
            assert "Depth of 1 frame of photograph" in told.out
            with np.load(output / "depth.npz") as file:
                assert file["depth"].shape == (1, 50, 70)


def test_it_is_known_as_depth_up_to_a_scale_and_a_shift_of_each_frame(pipeline):
    entry = DEPTH_MODELS["marigold"]
    assert (entry.kind, entry.per_frame) == ("affine_invariant", True)
    model = make_depth_model("marigold", DepthOptions(weights=pipeline))
    assert (model.kind, model.per_frame) == ("affine_invariant", True)


def test_the_licence_restricts_its_use_and_is_shown(monkeypatch):
    import huggingface_hub

    monkeypatch.setattr(huggingface_hub, "try_to_load_from_cache", lambda *a, **k: None)
    said = []
    with pytest.raises(KinedepthError, match=r"RAIL\+\+-M .* was not accepted"):
        find_weights("marigold", DepthOptions(), hub.permission(tell=said.append))
    assert "prs-eth/marigold-depth-v1-1" in said[0]


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"steps": 1001}, "steps has to be from 1 to 1000"),
        ({"resolution": 65}, "multiple of 8 from 64 up"),
        ({"precision": "float16"}, "on a CPU choose float32"),
        ({"preset": "fast"}, "does not take the option preset"),
    ],
)
def test_options_that_make_no_sense_are_told(pipeline, options, sentence):
    with pytest.raises(KinedepthError, match=sentence):
        make_depth_model("marigold", DepthOptions(weights=pipeline, **options))


def test_other_pipelines_are_told(pipeline, tmp_path):
    folder = shutil.copytree(pipeline, tmp_path / "normals")
    say(folder, prediction_type="disparity")
    with pytest.raises(KinedepthError, match="predicts disparity"):
        make_depth_model("marigold", DepthOptions(weights=folder))
    shutil.rmtree(folder / "vae")
    with pytest.raises(KinedepthError, match="lacks vae; a Marigold pipeline has"):
        make_depth_model("marigold", DepthOptions(weights=folder))
