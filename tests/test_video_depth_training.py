"""Training video depth: what moves and what stays, what is drawn, what is told."""

import dataclasses
import json

import cv2
import numpy as np
import pytest
import torch
from training_runs import changed, whole_and_resumed

from kinedepth.dense.video_depth_anything.checkpoint import load_published
from kinedepth.dense.video_depth_anything.config import VideoDepthConfig
from kinedepth.dense.video_depth_anything.model import VideoDepth
from kinedepth.dense.video_depth_anything.trained import (
    load_trained,
    read_config,
    read_training,
    save_trained,
)
from kinedepth.errors import KinedepthError
from kinedepth.training.clip_batches import sample_clips
from kinedepth.training.flow_losses import lands_inside, warp
from kinedepth.training.held_out_video import score_clip
from kinedepth.training.labelled_images import (
    find_labelled_images,
    label_images,
    sample_images,
    teacher_of,
)
from kinedepth.training.rendered_clips import TrainingClip, read_clips, write_training_clips
from kinedepth.training.trainer import LOG_FILE, Trainer, TrainingConfig
from kinedepth.training.video_depth import VideoDepthTask

SMALLEST = VideoDepthConfig(
    name="smallest",
    width=16,
    depth=4,
    heads=2,
    taps=(0, 1, 2, 3),
    head_features=32,
    head_channels=(8, 8, 32, 32),
    position_grid=3,
    temporal_heads=2,
)
CONFIG = TrainingConfig(steps=4, batch=1, warmup=1, test_every=4, save_every=2)
SIZE, FRAMES = 42, 3
CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("clips")
    write_training_clips(path, 4, frames=6, width=56, height=48, seed=1)
    return path


@pytest.fixture(scope="module")
def clips(folder):
    return read_clips(folder)


@pytest.fixture
def task(clips):
    return VideoDepthTask(clips, clips[:2], SMALLEST, frames=FRAMES, size=SIZE)


@pytest.fixture
def images(tmp_path):
    """Two images of different sizes, labelled by a teacher that takes bright for near."""
    folder = tmp_path / "images"
    folder.mkdir()
    random = np.random.default_rng(0)
    for name, shape in (("a.png", (50, 60, 3)), ("b.jpg", (44, 42, 3))):
        cv2.imwrite(str(folder / name), random.integers(0, 255, shape).astype(np.uint8))
    return folder


def by_brightness(image):
    return image.mean(axis=-1).astype(np.float32)


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def state(network):
    return {name: value.clone() for name, value in network.state_dict().items()}


class TestBatches:
    def test_frames_truth_and_flow_are_cropped_and_mirrored_alike(self):
        """A picture that travels 2 pixels right and 1 down a frame: along the drawn flow neither
        brightness nor disparity changes, wherever it is cut and whichever way it is turned."""
        clip = travelling(np.random.default_rng(0).integers(1, 200, (80, 90)), (2, 1))
        directions = set()
        for seed in range(8):
            batch = sample_clips(generator(seed), [clip], 1, 2, SIZE, with_flow=True)
            grey = batch.frames[:, :, 0] * 0.229 + 0.485
            torch.testing.assert_close(255 * grey, batch.truth, atol=1e-3, rtol=0)
            moved = warp(batch.truth[:, 1:], batch.flow) - batch.truth[:, :-1]
            assert moved[lands_inside(batch.flow) & batch.visible].abs().max() < 1e-3
            directions.add(batch.flow[0, 0, 0, 0, 0].item())
        assert directions == {-2.0, 2.0}

    def test_a_seed_fixes_a_batch(self, clips):
        first, again, other = (sample_clips(generator(s), clips, 2, 3, SIZE) for s in (1, 1, 2))
        assert torch.equal(first.frames, again.frames)
        assert not torch.equal(first.frames, other.frames)
        assert first.frames.shape == (2, 3, 3, SIZE, SIZE)
        assert first.truth.shape == first.mask.shape == (2, 3, SIZE, SIZE)

    def test_unknown_disparity_is_masked(self, clips):
        clip = dataclasses.replace(clips[0], disparity=clips[0].disparity.copy())
        clip.disparity[:, 20] = np.nan
        clip.disparity[:, 30] = 0
        batch = sample_clips(generator(), [clip], 1, 2, SIZE)
        assert batch.truth.isfinite().all()
        assert torch.equal(batch.mask, batch.truth > 0)
        assert not batch.mask.all()


def travelling(picture, step, frames=3):
    """A clip whose disparity is its own brightness, and moves by ``step`` (right, down)."""
    right, down = step
    moved = [np.roll(picture, (t * down, t * right), axis=(0, 1)) for t in range(frames)]
    grey = np.stack(moved)[:, frames * down :, frames * right :]
    return TrainingClip(
        name="travelling",
        frames=np.repeat(grey[..., None], 3, axis=-1).astype(np.uint8),
        disparity=grey.astype(np.float16),
        flow=np.broadcast_to(np.float16(step), (frames - 1, *grey.shape[1:], 2)),
        intrinsics=None,
        camera_to_world=None,
        static=False,
    )


class TestWhatIsTrained:
    @pytest.mark.parametrize("temporal", ["tgm", "se"])
    def test_a_run_stopped_and_resumed_equals_one_that_never_stopped(
        self, task, temporal, tmp_path
    ):
        task = dataclasses.replace(task, temporal=temporal)
        whole, second = whole_and_resumed(task, CONFIG, tmp_path, stop_at=2)
        assert second.done == 4
        assert not changed(whole.network.state_dict(), second.network.state_dict())
        assert not changed(whole.average, second.average)

    def test_the_losses_differ_in_what_they_teach(self, task):
        ends = []
        for temporal in ("none", "tgm", "opw", "se"):
            torch.manual_seed(0)
            network = task.build()
            dataclasses.replace(task, temporal=temporal).step(network, generator(), 1, 0.0)
            ends.append(network.head.reduce.weight.grad)
        for index, end in enumerate(ends):
            assert all(not torch.equal(end, other) for other in ends[index + 1 :])

    def test_a_frozen_encoder_stays_as_it_came_and_the_head_learns(self, task, tmp_path):
        weights = tmp_path / "init.safetensors"
        torch.manual_seed(5)
        save_trained(weights, task.build(), {})
        frozen = dataclasses.replace(task, freeze_encoder=True, init=weights)
        trainer = Trainer(frozen, CONFIG, tmp_path / "run", CPU)
        before = state(trainer.network)
        trainer.run()
        moved = changed(before, trainer.network.state_dict())
        assert not any(name.startswith("encoder.") for name in moved)
        assert {"head.reduce.weight", "head.temporal.0.project_out.weight"} <= moved

    def test_single_frames_leave_the_temporal_modules_without_effect(self, task, tmp_path):
        single = dataclasses.replace(task, frames=1, temporal="none")
        trainer = Trainer(single, CONFIG, tmp_path, CPU)
        before = state(trainer.network)
        trainer.run()
        moved = changed(before, trainer.network.state_dict())
        assert moved
        assert not any(name.startswith("head.temporal.") for name in moved)
        frames = torch.rand(1, 4, 3, SIZE, SIZE)
        with torch.no_grad():
            together = trainer.network(frames)
            apart = trainer.network(frames.transpose(0, 1)).transpose(0, 1)
        torch.testing.assert_close(together, apart)

    def test_repeating_one_batch_brings_its_loss_down(self, task):
        torch.manual_seed(0)
        network = task.build()
        optimizer = torch.optim.AdamW(network.parameters(), lr=3e-3)
        losses = []
        for _ in range(30):
            optimizer.zero_grad()
            logged = task.step(network, generator(3), 1, 0.0)
            losses.append(logged["spatial_loss"] + 10 * logged["temporal_loss"])
            optimizer.step()
        assert min(losses[-5:]) < 0.8 * losses[0]

    def test_a_fresh_network_sees_something_everywhere(self, task):
        """Its last layer is a ReLU: what is below zero at first would never learn."""
        for seed in range(5):
            torch.manual_seed(seed)
            with torch.no_grad():
                assert (task.build()(torch.randn(1, 2, 3, SIZE, SIZE)) > 0).float().mean() > 0.99


class TestImages:
    def test_the_teacher_is_asked_once_for_each_image(self, images):
        asked = []

        def teacher(image):
            asked.append(image.shape)
            return by_brightness(image)

        label_images(images, teacher)
        labelled = label_images(images, teacher)
        assert asked == [(50, 60, 3), (44, 42, 3)]
        assert list(labelled.sizes) == [(50, 60), (44, 42)]

    def test_crops_of_image_and_label_belong_together(self, images):
        batch = sample_images(generator(), label_images(images, by_brightness), 4, SIZE)
        assert batch.frames.shape == (4, 3, SIZE, SIZE)
        deviation = torch.tensor([0.229, 0.224, 0.225])[:, None, None]
        mean = torch.tensor([0.485, 0.456, 0.406])[:, None, None]
        grey = 255 * (batch.frames * deviation + mean).mean(dim=1)
        torch.testing.assert_close(grey[batch.mask], batch.label[batch.mask], atol=1e-2, rtol=0)

    def test_images_add_their_own_gradient(self, task, images):
        labelled = label_images(images, by_brightness)
        mixed = dataclasses.replace(task, images=labelled, image_batch=2)
        gradients = []
        for each in (task, mixed):
            torch.manual_seed(0)
            network = each.build()
            logged = each.step(network, generator(), 1, 0.0)
            gradients.append(network.head.reduce.weight.grad)
        assert logged["image_loss"] > 0
        assert not torch.equal(*gradients)
        assert mixed.name != task.name

    def test_a_depth_model_teaches_disparity(self, images):
        class Metres:
            name, kind, per_frame = "metres", "metric", True

            def predict(self, video, progress=None):
                for _, block in video.blocks(1):
                    yield (1 + block[0].mean(axis=-1)).astype(np.float32)

        image = np.full((4, 5, 3), 3, np.uint8)
        np.testing.assert_allclose(teacher_of(Metres())(image), 0.25)
        shifted = Metres()
        shifted.kind = "affine_invariant"
        with pytest.raises(KinedepthError, match="no disparity"):
            teacher_of(shifted)

    def test_what_is_wrong_with_images_is_told(self, task, images, tmp_path):
        with pytest.raises(KinedepthError, match=r"no label a_disparity\.npy"):
            find_labelled_images(images)
        with pytest.raises(KinedepthError, match="holds no images"):
            find_labelled_images(tmp_path)
        with pytest.raises(KinedepthError, match="no folder"):
            find_labelled_images(tmp_path / "nowhere")
        with pytest.raises(KinedepthError, match=r"The teacher gave .* shape \(2, 2\)"):
            label_images(images, lambda image: np.zeros((2, 2)))
        labelled = label_images(images, by_brightness)
        with pytest.raises(KinedepthError, match="60x50 pixels, too small"):
            dataclasses.replace(task, images=labelled, size=56, clips=[], held_out=[])
        np.save(images / "a_disparity.npy", np.ones((60, 60), np.float32))
        with pytest.raises(KinedepthError, match="its image"):
            sample_images(generator(), find_labelled_images(images), 8, SIZE)
        (images / "a_disparity.npy").write_bytes(b"half")
        with pytest.raises(KinedepthError, match="not a readable label"):
            find_labelled_images(images)


class TestHeldOut:
    def test_a_perfect_network_has_no_error(self, clips):
        static = next(clip for clip in clips if clip.static)

        class Oracle:
            device = CPU

            def __call__(self, frames):
                top, left = ((side - SIZE) // 2 for side in static.size)
                truth = static.disparity[:, top : top + SIZE, left : left + SIZE]
                return torch.from_numpy(3 * truth.astype(np.float32) + 1)[None]

        scores = score_clip(Oracle(), static, SIZE)
        # Disparity is kept in half precision.
        assert scores.abs_rel < 1e-3
        assert scores.delta1 == 1
        assert scores.tae < 0.5

    def test_error_over_time_is_of_clips_where_nothing_else_moves(self, clips, task):
        network = task.build().eval()
        tae = [score_clip(network, clip, SIZE).tae for clip in clips]
        assert [value is not None for value in tae] == [clip.static for clip in clips]

    def test_figures_are_logged(self, task, tmp_path):
        Trainer(task, CONFIG, tmp_path, CPU).run()
        (record,) = map(json.loads, (tmp_path / LOG_FILE).read_text().splitlines())
        assert {"abs_rel", "delta1", "tae", "spatial_loss", "temporal_loss"} <= record.keys()


class TestWeights:
    def test_a_file_says_what_network_it_is_of(self, task, tmp_path):
        path = tmp_path / "w.safetensors"
        network = task.build()
        save_trained(path, network, {"steps": 3})
        assert read_config(path) == SMALLEST
        assert read_training(path) == {"steps": 3}
        for loaded in (load_trained(path), load_published(path, SMALLEST)):
            assert isinstance(loaded, VideoDepth)
            assert not changed(network.state_dict(), loaded.state_dict())

    def test_other_files_are_told(self, tmp_path):
        path = tmp_path / "w.safetensors"
        with pytest.raises(KinedepthError, match="no weights file"):
            load_trained(path)
        path.write_bytes(b"half a file")
        with pytest.raises(KinedepthError, match="not a readable safetensors"):
            load_trained(path)
        from safetensors.torch import save_file

        save_file({"x": torch.ones(1)}, path)
        with pytest.raises(KinedepthError, match="does not say what network"):
            load_trained(path)


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"temporal": "flow"}, "choose tgm, opw, se or none"),
        ({"frames": 33}, "1 to 32 frames"),
        ({"frames": 1}, "no change over time"),
        ({"frames": 7}, "has 6 frames, fewer than the 7"),
        ({"size": 40}, "multiples of 14; got 40"),
        ({"size": 56}, "56x48 pixels, too small for crops of 56x56"),
        ({"freeze_encoder": True}, "give --init"),
    ],
)
def test_a_task_that_does_not_fit_is_told(task, options, sentence):
    with pytest.raises(KinedepthError, match=sentence):
        dataclasses.replace(task, **options)


def test_losses_along_the_flow_need_clips_with_flow(task):
    without = [dataclasses.replace(clip, flow=None) for clip in task.clips]
    dataclasses.replace(task, clips=without)  # Under tgm nobody asks for it.
    with pytest.raises(KinedepthError, match="has no flow"):
        dataclasses.replace(task, clips=without, temporal="se")


class TestCommand:
    def run(self, *arguments):
        from kinedepth.cli import main

        with pytest.raises(SystemExit) as ended:
            main([str(argument) for argument in arguments])
        return ended.value.code or 0

    @pytest.fixture
    def train(self, folder, monkeypatch):
        from kinedepth import _training_video_depth

        monkeypatch.setitem(_training_video_depth.MODELS, "tiny", SMALLEST)
        sizes = ("--size", SIZE, "--frames", FRAMES, "--test-every", 1)

        def train(run, *more, data=folder):
            return self.run("train", "vda", "-o", run, "--data", data, *sizes, *more)

        return train

    def test_it_trains_resumes_and_its_weights_begin_the_next(self, train, tmp_path, capsys):
        run = tmp_path / "run"
        assert train(run, "--steps", 1) == 0
        assert "step 1 of 1, held-out AbsRel" in capsys.readouterr().err
        assert train(run, "--steps", 2) == 0
        told = capsys.readouterr()
        assert "step 2 of 2" in told.err
        assert "step 1 of 2" not in told.err
        weights = run / "tiny.safetensors"
        assert read_training(weights)["steps"] == 2
        more = ("--init", weights, "--freeze-encoder", "--loss", "se", "--steps", 1)
        assert train(tmp_path / "next", *more) == 0
        assert "frozen encoder" in read_training(tmp_path / "next" / "tiny.safetensors")["task"]

    def test_images_and_held_out_clips_can_be_given(self, train, folder, images, tmp_path):
        label_images(images, by_brightness)
        more = ("--images", images, "--held-out", folder, "--steps", 1)
        assert train(tmp_path / "run", *more) == 0

    @pytest.mark.parametrize(
        ("options", "sentence"),
        [
            (("--model", "giant"), "choose tiny, vits, vitb, vitl"),
            (("--loss", "flow"), "choose tgm, opw, se or none"),
            (("--precision", "int8"), "float32 or bfloat16"),
            (("--minutes", 0), "greater than zero"),
            (("--teacher", "vda-small"), "give --images"),
            (("--init", "nowhere.pth"), "no weights file"),
            (("--images", "nowhere"), "no folder"),
            (("--weights", "no/such/w.safetensors"), "no folder"),
        ],
    )
    def test_bad_options_are_told_in_one_line(self, train, tmp_path, capsys, options, sentence):
        assert train(tmp_path / "run", *options) == 2
        (line,) = capsys.readouterr().err.splitlines()
        assert sentence in line

    def test_a_folder_without_clips_is_told(self, train, tmp_path, capsys):
        assert train(tmp_path / "run", data=tmp_path) == 2
        assert "kinedepth train clips" in capsys.readouterr().err

    def test_clips_are_rendered_on_request(self, tmp_path, capsys):
        sizes = ("--clips", 1, "--frames", 2, "--size", "42x42")
        assert self.run("train", "clips", tmp_path, *sizes) == 0
        assert "Rendered 1 clips" in capsys.readouterr().out
        assert self.run("train", "clips", tmp_path, *sizes) == 0
        assert "1 were already there" in capsys.readouterr().out
