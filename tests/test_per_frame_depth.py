"""Per-frame depth models of others: tiny networks with random weights, made on the spot.

The arithmetic around the networks is held to transformers' own image processors. Those of some
families need torchvision, which the package does without; those comparisons run where it is.
"""

import json
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from kinedepth.dense.frame_adapters import DepthAnythingAdapter, DepthProAdapter, ZoeDepthAdapter
from kinedepth.dense.per_frame import load
from kinedepth.dense.registry import DEPTH_MODELS, DepthOptions, make_depth_model
from kinedepth.errors import KinedepthError
from kinedepth.hub import PUBLISHED
from kinedepth.video import Video

transformers = pytest.importorskip("transformers")

DEPTH_ANYTHING = {
    "do_normalize": True,
    "do_rescale": True,
    "do_resize": True,
    "ensure_multiple_of": 14,
    "image_mean": [0.485, 0.456, 0.406],
    "image_std": [0.229, 0.224, 0.225],
    "keep_aspect_ratio": True,
    "resample": 3,
    "size": {"height": 56, "width": 56},
}
ZOEDEPTH = {
    "do_pad": True,
    "ensure_multiple_of": 32,
    "image_mean": [0.5, 0.5, 0.5],
    "image_std": [0.5, 0.5, 0.5],
    "keep_aspect_ratio": True,
    "size": {"height": 64, "width": 96},
}
DEPTH_PRO = {
    "image_mean": [0.5, 0.5, 0.5],
    "image_std": [0.5, 0.5, 0.5],
    "size": {"height": 64, "width": 64},
}
HEIGHT, WIDTH = 45, 70


def frames(count: int = 3) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (count, HEIGHT, WIDTH, 3)).astype(np.uint8)


def as_images(array: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(array).permute(0, 3, 1, 2)


def tiny_depth_anything(**settings):
    backbone = transformers.Dinov2Config(
        hidden_size=16,
        num_hidden_layers=4,
        num_attention_heads=2,
        image_size=56,
        patch_size=14,
        out_features=["stage1", "stage2", "stage3", "stage4"],
        reshape_hidden_states=False,
    )
    config = transformers.DepthAnythingConfig(
        backbone_config=backbone,
        reassemble_hidden_size=16,
        neck_hidden_sizes=[8, 8, 8, 8],
        fusion_hidden_size=8,
        head_hidden_size=4,
        **settings,
    )
    return transformers.DepthAnythingForDepthEstimation(config)


def tiny_zoedepth():
    backbone = transformers.BeitConfig(
        hidden_size=16,
        num_hidden_layers=4,
        num_attention_heads=2,
        intermediate_size=16,
        image_size=64,
        patch_size=16,
        out_features=["stage1", "stage2", "stage3", "stage4"],
        use_relative_position_bias=True,
        reshape_hidden_states=False,
    )
    config = transformers.ZoeDepthConfig(
        backbone_config=backbone,
        neck_hidden_sizes=[8, 8, 8, 8],
        fusion_hidden_size=16,
        bottleneck_features=16,
        bin_embedding_dim=8,
        num_relative_features=8,
    )
    return transformers.ZoeDepthForDepthEstimation(config)


def tiny_depth_pro():
    encoder = {
        "model_type": "dinov2",
        "image_size": 16,
        "patch_size": 4,
        "hidden_size": 16,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "intermediate_size": 16,
    }
    config = transformers.DepthProConfig(
        patch_size=16,
        fusion_hidden_size=16,
        intermediate_hook_ids=[1, 0],
        intermediate_feature_dims=[8, 8],
        scaled_images_feature_dims=[8, 8, 8],
        merge_padding_value=1,
        use_fov_model=True,
        num_fov_head_layers=0,
        image_model_config=dict(encoder),
        patch_model_config=dict(encoder),
        fov_model_config=dict(encoder),
    )
    return transformers.DepthProForDepthEstimation(config)


MADE = {
    "depth-anything-v2-small": (tiny_depth_anything, DEPTH_ANYTHING),
    "zoedepth": (tiny_zoedepth, ZOEDEPTH),
    "depth-pro": (tiny_depth_pro, DEPTH_PRO),
}


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """A folder for each family, as it would be published."""
    made = {}
    for name, (network, processor) in MADE.items():
        torch.manual_seed(0)
        made[name] = tmp_path_factory.mktemp(name)
        network().save_pretrained(made[name])
        (made[name] / "preprocessor_config.json").write_text(json.dumps(processor))
    return made


every_family = pytest.mark.parametrize("name", list(MADE))


@every_family
def test_every_frame_gets_depth_at_the_size_of_the_video(folders, name):
    model = make_depth_model(name, DepthOptions(weights=folders[name]))
    found = list(model.predict(Video.from_array(frames())))
    assert len(found) == 3
    assert all(depth.shape == (HEIGHT, WIDTH) and depth.dtype == np.float32 for depth in found)
    assert model.per_frame
    assert model.kind == DEPTH_MODELS[name].kind


@every_family
def test_a_frame_does_not_depend_on_those_that_come_along(folders, name):
    video = frames(4)
    model = load(name, folders[name], DepthOptions(), torch.device("cpu"))
    alone = list(model.predict(Video.from_array(video)))
    model._at_once = model._adapter.most_at_once or 3
    together = list(model.predict(Video.from_array(video)))
    swapped = list(model.predict(Video.from_array(video[::-1].copy())))[::-1]
    # In batches, matrix products add up in another order.
    assert np.allclose(alone, together, rtol=1e-3)
    assert np.allclose(alone, swapped, rtol=1e-3)


@every_family
def test_a_run_goes_on_where_it_was_stopped(folders, name):
    video = Video.from_array(frames(4))
    model = load(name, folders[name], DepthOptions(), torch.device("cpu"))
    whole = list(model.predict(video))
    run = model.predict(video)
    first = [next(run), next(run)]
    state = model.state()
    again = load(name, folders[name], DepthOptions(), torch.device("cpu"))
    rest = list(again.predict(video, resume=state))
    assert np.array_equal(np.stack(first + rest), np.stack(whole))
    assert again.state()["frames_done"] == 4


def test_half_precision_gives_nearly_the_same(folders):
    name = "depth-anything-v2-small"
    exact, half = (
        np.stack(
            list(
                make_depth_model(
                    name, DepthOptions(weights=folders[name], precision=precision)
                ).predict(Video.from_array(frames()))
            )
        )
        for precision in ("float32", "bfloat16")
    )
    assert half.dtype == np.float32
    assert np.abs(half - exact).max() < 0.05 * np.abs(exact).max()


def test_depth_pro_tells_the_field_of_view_across_the_longer_side(folders):
    model = load("depth-pro", folders["depth-pro"], DepthOptions(), torch.device("cpu"))
    assert model.field_of_view is None
    # An upright video is wider in angle along its height than the network says of its width.
    wide, upright = frames(2), frames(2).transpose(0, 2, 1, 3).copy()
    fields = []
    for video in (wide, upright):
        degrees = 40.0
        network = model._network

        def told(pixel_values, network=network, degrees=degrees):
            output = network(pixel_values=pixel_values)
            output.field_of_view = torch.full((len(pixel_values),), degrees)
            return output

        model._network = told
        list(model.predict(Video.from_array(video)))
        model._network = network
        fields.append(model.field_of_view)
    longer = np.rad2deg(2 * np.arctan(np.tan(np.deg2rad(20)) * WIDTH / HEIGHT))
    assert fields == pytest.approx([40.0, longer], rel=1e-5)


class TestArithmetic:
    def test_depth_anything_prepares_images_as_transformers_does(self):
        pil = transformers.models.dpt.image_processing_pil_dpt.DPTImageProcessorPil(
            **DEPTH_ANYTHING
        )
        # Pillow cuts off overshoot between its two passes, so no extremes here.
        images = 80 + frames() // 3
        theirs = pil(list(images), return_tensors="pt")["pixel_values"]
        ours = DepthAnythingAdapter.of(DEPTH_ANYTHING, None).prepare(as_images(images))
        assert ours.shape == theirs.shape == (3, 3, 42, 56)
        # Both round to 8 bits; Pillow's fixed-point filter ends up a level off now and then.
        levels = (ours - theirs).abs() * 255 * 0.23
        assert levels.max() < 1.1
        assert levels.mean() < 0.5

    def test_zoedepth_prepares_images_as_transformers_does(self):
        theirs = zoedepth_processor()(list(frames()), return_tensors="pt")["pixel_values"]
        ours = ZoeDepthAdapter.of(ZOEDEPTH, None).prepare(as_images(frames()))
        assert torch.allclose(ours, theirs, atol=1e-5)

    def test_zoedepth_undoes_it_as_transformers_does(self, monkeypatch):
        # Their code resizes with torchvision, which does this for tensors of floats.
        module = transformers.models.zoedepth.image_processing_pil_zoedepth
        resize = SimpleNamespace(
            resize=lambda image, size, interpolation, antialias: torch.nn.functional.interpolate(
                image[None], size, mode="bicubic"
            )[0],
            InterpolationMode=SimpleNamespace(BICUBIC="bicubic"),
        )
        monkeypatch.setattr(module, "tvF", resize, raising=False)
        output = SimpleNamespace(predicted_depth=torch.rand(2, 64, 96) + 1)
        theirs = zoedepth_processor().post_process_depth_estimation(
            output, source_sizes=[(HEIGHT, WIDTH)] * 2
        )
        ours = ZoeDepthAdapter.of(ZOEDEPTH, None).finish(output, HEIGHT, WIDTH).depth
        assert torch.allclose(ours, torch.stack([one["predicted_depth"] for one in theirs]))

    def test_depth_pro_turns_inverse_depth_for_a_unit_camera_into_metres(self):
        # In closed form: 90 degrees make a focal length of half the width.
        output = SimpleNamespace(
            predicted_depth=torch.full((1, 64, 64), 0.25), field_of_view=torch.tensor([90.0])
        )
        found = DepthProAdapter.of(DEPTH_PRO, None).finish(output, HEIGHT, WIDTH)
        assert torch.allclose(found.depth, torch.full((1, HEIGHT, WIDTH), 2.0))

    def test_depth_pro_does_as_transformers_does(self):
        pytest.importorskip("torchvision")
        processor = transformers.DepthProImageProcessor(**DEPTH_PRO)
        adapter = DepthProAdapter.of(DEPTH_PRO, None)
        theirs = processor(list(frames()), return_tensors="pt")["pixel_values"]
        assert torch.allclose(adapter.prepare(as_images(frames())), theirs, atol=1e-5)
        output = SimpleNamespace(
            predicted_depth=torch.rand(2, 64, 64) + 0.1, field_of_view=torch.tensor([50.0, 70.0])
        )
        post = processor.post_process_depth_estimation(output, [(HEIGHT, WIDTH)] * 2)
        ours = adapter.finish(output, HEIGHT, WIDTH).depth
        assert torch.allclose(ours, torch.stack([one["predicted_depth"] for one in post]))

    def test_depth_anything_does_as_transformers_does(self):
        pytest.importorskip("torchvision")
        processor = transformers.DPTImageProcessor(**DEPTH_ANYTHING)
        adapter = DepthAnythingAdapter.of(DEPTH_ANYTHING, None)
        images = 80 + frames() // 3
        theirs = processor(list(images), return_tensors="pt")["pixel_values"]
        levels = (adapter.prepare(as_images(images)) - theirs).abs() * 255 * 0.23
        assert levels.max() < 1.1
        output = SimpleNamespace(predicted_depth=torch.rand(2, 42, 56))
        post = processor.post_process_depth_estimation(output, [(HEIGHT, WIDTH)] * 2)
        ours = adapter.finish(output, HEIGHT, WIDTH).depth
        assert torch.allclose(ours, torch.stack([one["predicted_depth"] for one in post]))

    def test_an_input_size_of_ones_own_is_obeyed(self):
        adapter = DepthAnythingAdapter.of(DEPTH_ANYTHING, 112)
        assert adapter.prepare(as_images(frames(1))).shape[-2:] == (70, 112)


def zoedepth_processor():
    return transformers.models.zoedepth.image_processing_pil_zoedepth.ZoeDepthImageProcessorPil(
        **ZOEDEPTH
    )


class TestRefusals:
    def load(self, name, folder, **options):
        return make_depth_model(name, DepthOptions(weights=folder, **options))

    def test_a_folder_of_another_model(self, folders):
        with pytest.raises(KinedepthError, match="type 'zoedepth', but depth-pro"):
            self.load("depth-pro", folders["zoedepth"])

    def test_relative_weights_for_a_metric_model(self, folders):
        with pytest.raises(KinedepthError, match="relative depth"):
            self.load("depth-anything-v2-metric-indoor-small", folders["depth-anything-v2-small"])

    @pytest.mark.parametrize("file", ["config.json", "preprocessor_config.json"])
    def test_a_folder_that_lacks_a_file(self, folders, tmp_path, file):
        folder = copied(folders["zoedepth"], tmp_path)
        (folder / file).unlink()
        with pytest.raises(KinedepthError, match=file):
            self.load("zoedepth", folder)

    def test_weights_that_were_cut_off(self, folders, tmp_path):
        folder = copied(folders["zoedepth"], tmp_path)
        path = folder / "model.safetensors"
        path.write_bytes(path.read_bytes()[:2000])
        with pytest.raises(KinedepthError, match="cannot be loaded"):
            self.load("zoedepth", folder)

    def test_weights_that_lack_a_tensor(self, folders, tmp_path):
        from safetensors.torch import load_file, save_file

        folder = copied(folders["zoedepth"], tmp_path)
        tensors = load_file(folder / "model.safetensors")
        del tensors[next(key for key in tensors if "metric_head" in key)]
        save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
        with pytest.raises(KinedepthError, match="missing or of another shape"):
            self.load("zoedepth", folder)

    def test_depth_pro_at_another_size(self, folders):
        with pytest.raises(KinedepthError, match="does not take the option input_size"):
            self.load("depth-pro", folders["depth-pro"], input_size=512)

    def test_an_unknown_precision(self, folders):
        with pytest.raises(KinedepthError, match="Unknown precision 'int8'"):
            self.load("zoedepth", folders["zoedepth"], precision="int8")


def copied(folder, to):
    for file in folder.iterdir():
        (to / file.name).write_bytes(file.read_bytes())
    return to


def test_every_per_frame_model_has_its_three_files_a_size_and_a_licence():
    names = [
        name for name, entry in DEPTH_MODELS.items() if entry.loader.endswith("per_frame:load")
    ]
    assert len(names) == 11
    for name in names:
        weights = PUBLISHED[name]
        assert len(weights.files) == 3
        assert weights.megabytes
        free = name.endswith("small") or name == "zoedepth"
        assert weights.licence.permissive == free
