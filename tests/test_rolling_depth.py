"""RollingDepth as a model of dense depth: on a tiny pipeline with random weights."""

import contextlib
import copy
import json
import shutil

import cv2
import numpy as np
import pytest
import torch

pytest.importorskip("diffusers")
pytest.importorskip("transformers")

import huggingface_hub
from rolling_reference import moving_picture, tiny_components, tiny_unet, write_tiny_pipeline
from safetensors.torch import load_file, save_file

from kinedepth import hub
from kinedepth.dense.registry import DepthOptions, find_weights, make_depth_model
from kinedepth.dense.rolling_depth import scratch, video_run
from kinedepth.dense.rolling_depth.components import Components, load_components
from kinedepth.dense.rolling_depth.config import RollingDepthSettings
from kinedepth.dense.rolling_depth.depth_model import RollingDepthModel
from kinedepth.dense.rolling_depth.presets import find_settings
from kinedepth.dense.rolling_depth.video_run import RollingDepthRun
from kinedepth.errors import KinedepthError
from kinedepth.video import Video

QUICK = {"resolution": 0, "dilations": (1, 25)}


def depth_of(frames: np.ndarray, components: Components | None = None, **changes) -> np.ndarray:
    settings = RollingDepthSettings(**(QUICK | changes))
    model = RollingDepthModel(components or tiny_components(), settings)
    return np.stack(list(model.predict(Video.from_array(frames, fewest=1))))


@pytest.fixture(scope="module")
def pipeline(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pipeline")
    write_tiny_pipeline(folder)
    return folder


@pytest.fixture
def changed_pipeline(pipeline, tmp_path):
    return shutil.copytree(pipeline, tmp_path / "pipeline")


@contextlib.contextmanager
def counted(components: Components):
    """Frames in each call of the network, the encoder and the decoder."""
    calls = {"unet": [], "encoder": [], "decoder": []}
    modules = (components.unet, components.vae.encoder, components.vae.decoder)
    hooks = [
        module.register_forward_pre_hook(
            lambda module, inputs, seen=calls[name]: seen.append(len(inputs[0]))
        )
        for name, module in zip(calls, modules, strict=True)
    ]
    yield calls
    for hook in hooks:
        hook.remove()


def test_depth_comes_back_at_the_size_of_the_frames_whatever_it_is():
    for height, width, resolution in ((45, 70, 0), (45, 70, 64), (72, 40, 96)):
        depth = depth_of(moving_picture(7, height, width), resolution=resolution)
        assert depth.shape == (7, height, width)
        assert depth.dtype == np.float32
        assert depth.std() > 0.01


def test_depth_of_the_whole_video_goes_from_minus_one_to_one():
    depth = depth_of(moving_picture(8))
    assert depth.min() == -1
    assert depth.max() == pytest.approx(1, abs=1e-6)


@pytest.mark.parametrize("frames", [1, 2, 3, 4, 5])
@pytest.mark.parametrize("decode", ["snippets", "merged"])
def test_clips_of_one_to_five_frames_have_depth(frames, decode):
    depth = depth_of(moving_picture(frames), refine_steps=2, decode=decode)
    assert depth.shape == (frames, 64, 96)
    assert np.isfinite(depth).all()


def test_each_image_is_encoded_once_and_each_distinct_snippet_denoised_once():
    with counted(tiny_components()) as calls:
        depth_of(moving_picture(12), dilations=(1, 10, 25))
    distinct = 10 + 6  # Of the dilations 1 and 3; 10 and 25 are both capped to 3.
    assert sum(calls["encoder"]) == 12
    assert sum(calls["unet"]) == sum(calls["decoder"]) == 3 * distinct


def test_decoding_merged_frames_decodes_each_once_and_a_few_to_compare_by():
    with counted(tiny_components()) as calls:
        depth_of(moving_picture(20), decode="merged")
    assert sum(calls["encoder"]) == 20
    assert sum(calls["decoder"]) == 20 + 8


def test_as_many_frames_are_on_the_device_whatever_the_length():
    largest = []
    for frames in (6, 12):
        with counted(tiny_components()) as calls:
            depth_of(moving_picture(frames), refine_steps=1, snippets_at_once=2)
        largest.append({name: max(counts) for name, counts in calls.items()})
    assert largest[0] == largest[1] == {"unet": 6, "encoder": 2, "decoder": 2}


@pytest.mark.parametrize("decode", ["snippets", "merged"])
def test_how_many_snippets_pass_together_changes_nothing_but_rounding(decode):
    one, many = (
        depth_of(moving_picture(7), snippets_at_once=number, refine_steps=1, decode=decode)
        for number in (1, 5)
    )
    assert np.abs(one - many).max() < 1e-3 * np.ptp(one)


def test_long_videos_in_temporary_files_give_the_same_depth(monkeypatch):
    expected = depth_of(moving_picture(6), refine_steps=1)
    opened = []

    class OnDisk(scratch.ScratchArrays):
        def __init__(self, count, shape):
            opened.append(shape)
            super().__init__(count, shape, largest_in_memory=0)

    monkeypatch.setattr(video_run, "ScratchArrays", OnDisk)
    assert np.array_equal(depth_of(moving_picture(6), refine_steps=1), expected)
    assert (64, 96) in opened


def test_of_long_videos_fewer_pixels_are_compared(monkeypatch):
    run = RollingDepthRun(
        tiny_components(), RollingDepthSettings(**QUICK), Video.from_array(moving_picture(8))
    )
    with contextlib.closing(run):
        run.encode()
        run.predict()
        whole, lowest = run._compared_pixels()
        monkeypatch.setattr(video_run, "MOST_COMPARED", whole.size // 5)
        fewer, same_lowest = run._compared_pixels()
    assert fewer.size <= whole.size // 5
    rows, columns = (len(range(2, side - 2, 10)) for side in run.size)
    grid = whole.reshape(*whole.shape[:2], rows, columns)
    assert np.array_equal(fewer, grid[..., ::3, ::3].reshape(fewer.shape))
    assert lowest == same_lowest


def test_merged_decoding_is_close_to_decoding_all_snippets():
    # Of random weights this says that the way is right, not what trained ones lose by it.
    frames = moving_picture(12)
    each, once = depth_of(frames), depth_of(frames, decode="merged")
    assert np.corrcoef(each.ravel(), once.ravel())[0, 1] > 0.99


def test_a_seed_gives_the_same_depth_every_time_and_another_seed_another():
    frames = moving_picture(6)
    first = depth_of(frames, seed=3)
    assert np.array_equal(first, depth_of(frames, seed=3))
    assert np.abs(first - depth_of(frames, seed=4)).max() > 1e-3


def test_running_out_of_memory_is_told_and_gives_the_same_depth(monkeypatch):
    frames = moving_picture(8)
    expected = depth_of(frames, snippets_at_once=1)
    components = tiny_components()
    forward = components.unet.forward

    def small_device(sample, *others, **named):
        if len(sample) > 6:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB")
        return forward(sample, *others, **named)

    monkeypatch.setattr(components.unet, "forward", small_device)
    with pytest.warns(UserWarning, match="4 at a time do not fit .* going on with 2"):
        found = depth_of(frames, snippets_at_once=4)
    assert np.abs(found - expected).max() < 1e-3


def test_in_bfloat16_depth_is_close_and_has_no_bands():
    # Before co-alignment: snippets of random weights say too little of each other for it to
    # find the same scales when they are rounded.
    whole = tiny_components()
    half = Components(
        copy.deepcopy(whole.unet), copy.deepcopy(whole.vae), whole.scheduler, whole.prompt
    )
    half = half.to(torch.device("cpu"), torch.bfloat16)
    predicted = []
    for components in (whole, half):
        settings = RollingDepthSettings(**QUICK)
        run = RollingDepthRun(components, settings, Video.from_array(moving_picture(4)))
        run.encode()
        run.predict()
        predicted.append(run.predictions.read(range(run.predictions.count)))
    expected, found = predicted
    assert np.corrcoef(expected.ravel(), found.ravel())[0, 1] > 0.99
    # bfloat16 has 8 bits: of depth in it there would be some hundreds of values.
    assert len(np.unique(found[0])) > 0.9 * found[0].size


def test_weights_that_give_no_numbers_are_told():
    components = tiny_components()
    broken = tiny_unet().eval()
    broken.load_state_dict(components.unet.state_dict())
    broken.set_attn_processor(components.unet.attn_processors)
    broken.conv_out.bias.data.fill_(float("nan"))
    parts = Components(broken, components.vae, components.scheduler, components.prompt)
    with pytest.raises(KinedepthError, match="not numbers"):
        depth_of(moving_picture(3), parts)


def test_progress_never_goes_back_and_ends_with_the_last_frame():
    seen = []
    settings = find_settings(**QUICK, refine_steps=3)
    model = RollingDepthModel(tiny_components(), settings)
    for _ in model.predict(Video.from_array(moving_picture(7)), lambda *now: seen.append(now)):
        pass
    assert seen == sorted(seen)
    assert seen[-1] == (7, 7)
    assert len({done for done, _ in seen}) > 4


def test_the_registry_makes_it_from_a_folder(pipeline):
    options = DepthOptions(weights=pipeline, preset="fast", resolution=64, dilations=[1, 2], seed=5)
    model = make_depth_model("rollingdepth", options)
    assert (model.kind, model.per_frame) == ("affine_invariant_disparity", False)
    depth = np.stack(list(model.predict(Video.from_array(moving_picture(6)))))
    loaded = load_components(pipeline)
    again = depth_of(moving_picture(6), loaded, resolution=64, dilations=(1, 2), seed=5)
    assert np.array_equal(depth, again)


def test_loaded_weights_are_those_that_were_saved(pipeline):
    loaded, made = load_components(pipeline), tiny_components()
    for part in ("unet", "vae"):
        expected = getattr(made, part).state_dict()
        for name, tensor in getattr(loaded, part).state_dict().items():
            assert torch.equal(tensor, expected[name]), name
    assert loaded.prompt.shape == (1, 2, 8)


@pytest.mark.parametrize("part", ["unet", "vae", "scheduler", "text_encoder", "tokenizer"])
def test_a_part_that_is_missing_is_named(changed_pipeline, part):
    shutil.rmtree(changed_pipeline / part)
    with pytest.raises(KinedepthError, match=f"lacks {part}; a RollingDepth pipeline has"):
        load_components(changed_pipeline)


@pytest.mark.parametrize("part", ["unet", "vae", "text_encoder"])
def test_weights_that_are_missing_or_damaged_are_told(changed_pipeline, part):
    file = next((changed_pipeline / part).glob("*.safetensors"))
    file.write_bytes(b"not weights")
    with pytest.raises(KinedepthError, match=f"{part} cannot be loaded"):
        load_components(changed_pipeline)
    file.unlink()
    with pytest.raises(KinedepthError, match=part):
        load_components(changed_pipeline)


def test_weights_that_lack_a_tensor_are_told(changed_pipeline):
    file = changed_pipeline / "unet" / "diffusion_pytorch_model.safetensors"
    tensors = load_file(file)
    del tensors["conv_in.bias"]
    save_file(tensors, file)
    with pytest.raises(KinedepthError, match=r"1 tensors are missing.*conv_in\.bias"):
        load_components(changed_pipeline)


def test_the_network_of_another_pipeline_is_told(changed_pipeline):
    shutil.rmtree(changed_pipeline / "unet")
    tiny_unet(in_channels=4).save_pretrained(changed_pipeline / "unet")
    with pytest.raises(KinedepthError, match="has 4 in_channels, but one of RollingDepth has 8"):
        load_components(changed_pipeline)


def test_a_part_of_another_class_is_told(changed_pipeline):
    index = changed_pipeline / "model_index.json"
    classes = json.loads(index.read_text())
    classes["vae"] = ["diffusers", "AutoencoderTiny"]
    index.write_text(json.dumps(classes))
    with pytest.raises(KinedepthError, match="vae is a AutoencoderTiny, but RollingDepth has"):
        load_components(changed_pipeline)


def test_a_file_in_place_of_a_folder_is_told(tmp_path):
    file = tmp_path / "weights.safetensors"
    file.write_bytes(b"")
    with pytest.raises(KinedepthError, match="is no folder; give the folder of a RollingDepth"):
        make_depth_model("rollingdepth", DepthOptions(weights=file))


def test_the_command_takes_its_options_and_writes_the_usual_files(pipeline, tmp_path, kine):
    frames, output = tmp_path / "frames", tmp_path / "out"
    frames.mkdir()
    for index, frame in enumerate(moving_picture(5, 50, 70)):
        cv2.imwrite(str(frames / f"{index}.png"), frame)
    asked = ("--model", "rollingdepth", "--weights", pipeline, "--device", "cpu")
    chosen = ("--preset", "full", "--resolution", 64, "--dilations", "1, 2", "--seed", 4)
    more = ("--refine-steps", 1, "--snippet-length", 2, "--decode", "merged")
    solved = ("--solver", "irls", "--steps", 1, "--format", "npz")
    code, out, _ = kine("depth", frames, "-o", output, *asked, *chosen, *more, *solved)
    assert code == 0
    assert "larger is nearer" in out
    with np.load(output / "depth.npz") as file:
        assert file["depth"].shape == (5, 50, 70)
    summary = json.loads((output / "summary.json").read_text())
    assert summary["options"]["dilations"] == [1, 2]
    assert summary["kind"] == "affine_invariant_disparity"


@pytest.mark.parametrize("dilations", ["1,x", "", "1;2"])
def test_dilations_that_are_no_numbers_are_told(dilations, tmp_path, kine):
    asked = ("--model", "rollingdepth", "--dilations", dilations)
    code, _, err = kine("depth", "video.mp4", "-o", tmp_path / "out", *asked)
    assert code == 2
    assert "--dilations takes whole numbers" in err


def test_the_licence_has_to_be_accepted_before_a_download(monkeypatch):
    monkeypatch.setattr(huggingface_hub, "try_to_load_from_cache", lambda *a, **k: None)
    said = []
    permit = hub.permission(tell=said.append)
    with pytest.raises(KinedepthError, match=r"RAIL\+\+-M .* was not accepted"):
        find_weights("rollingdepth", DepthOptions(), permit)
    assert "attachment A" in said[0]


def test_without_a_network_one_sentence_says_what_to_do(monkeypatch):
    def offline(*arguments, **named):
        raise huggingface_hub.errors.LocalEntryNotFoundError("no connection")

    monkeypatch.setattr(huggingface_hub, "try_to_load_from_cache", lambda *a, **k: None)
    monkeypatch.setattr(huggingface_hub, "hf_hub_download", offline)
    with pytest.raises(KinedepthError, match=r"cannot be reached from here.*give --weights PATH"):
        find_weights("rollingdepth", DepthOptions(), hub.permission(accept_licence=True))
