"""Video Depth Anything as a depth model: stopping and going on, cuts, bad input."""

import builtins
import itertools

import numpy as np
import pytest
import torch
from vda_reference import moving_picture, relative_error, tiny_network

from kinedepth.dense.scene_cuts import SceneCutDetector, find_scene_cuts
from kinedepth.dense.video_depth_anything.config import TEMPORAL_LENGTH
from kinedepth.dense.video_depth_anything.depth_model import VideoDepthAnythingModel
from kinedepth.dense.video_depth_anything.inference import WindowedInference, estimate_depth
from kinedepth.dense.video_depth_anything.model import VideoDepth
from kinedepth.errors import KinedepthError, MissingExtraError
from kinedepth.video import Video


def model(network: VideoDepth | None = None, **options) -> VideoDepthAnythingModel:
    options = {"input_size": 28} | options
    return VideoDepthAnythingModel(network or tiny_network(), name="vda-tiny", **options)


def clip(length: int, height: int = 28, width: int = 28) -> Video:
    return Video.from_array(moving_picture(length, height, width))


def cut_clip(*lengths: int) -> Video:
    """Scenes that look alike neither in colour nor in place, frame by frame in motion."""
    scenes = []
    for number, length in enumerate(lengths):
        picture = moving_picture(length, 28, 28)
        scenes.append(picture // 4 if number % 2 else 255 - picture // 3)
    return Video.from_array(np.concatenate(scenes))


def depth_of(model: VideoDepthAnythingModel, video: Video, **options) -> np.ndarray:
    return np.stack(list(model.predict(video, **options)))


class TestGoingOn:
    @pytest.mark.parametrize(
        ("options", "stops"),
        [
            ({}, [1, 24, 47]),
            ({"window": 12, "windows_at_once": 3}, [13, 40]),
            ({"strategy": "overlap", "window": 12}, [12, 33]),
            ({"strategy": "none", "window": 16}, [17]),
            ({"stream": True, "align_stream": True}, [30]),
        ],
    )
    def test_a_run_that_was_stopped_gives_the_same_to_the_last_bit(self, options, stops):
        video = clip(55)
        whole = depth_of(model(**options), video)
        for stop in stops:
            first = model(**options)
            begun = list(itertools.islice(first.predict(video), stop))
            state = first.state()
            assert state["frames_done"] == stop
            # As it comes back from a file.
            state = {name: np.array(value) for name, value in state.items()}
            rest = depth_of(model(**options), video, resume=state)
            assert np.array_equal(np.concatenate([begun, rest]), whole), stop

    def test_a_state_is_read_again_and_again_without_harm(self):
        video, stopping = clip(50), model(window=16)
        for index, frame in enumerate(stopping.predict(video)):
            assert stopping.state()["frames_done"] == index + 1
            frame[:] = np.nan  # What was given out belongs to the caller.
        assert len(list(model(window=16).predict(video, resume=stopping.state()))) == 0

    def test_little_is_done_twice_and_little_is_kept(self):
        video = clip(120)
        stopping = model()
        list(itertools.islice(stopping.predict(video), 90))
        state = stopping.state()
        assert sum(value.size for value in state.values()) < 11 * 28 * 28
        encoded = []
        hook = tiny_network().encoder.register_forward_hook(
            lambda module, inputs, output: encoded.append(len(inputs[0]))
        )
        depth_of(model(), video, resume=state)
        hook.remove()
        assert sum(encoded) <= 30 + TEMPORAL_LENGTH + 10

    def test_a_run_with_cuts_goes_on_in_its_scene(self):
        video = cut_clip(30, 25)
        whole = depth_of(model(window=16, scene_cuts=True), video)
        for stop in (30, 50):
            first = model(window=16, scene_cuts=True)
            begun = list(itertools.islice(first.predict(video), stop))
            rest = depth_of(model(window=16, scene_cuts=True), video, resume=first.state())
            assert np.array_equal(np.concatenate([begun, rest]), whole), stop

    def test_a_state_of_another_run_is_refused(self):
        stopping = model(window=16)
        with pytest.raises(KinedepthError, match="no state before the first frame"):
            stopping.state()
        next(stopping.predict(clip(40)))
        state = stopping.state()
        for other, video in [(model(), clip(40)), (model(window=16), clip(41))]:
            with pytest.raises(KinedepthError, match="another video or of other options"):
                next(other.predict(video, resume=state))
        del state["tail"]
        with pytest.raises(KinedepthError, match="damaged"):
            next(model(window=16).predict(clip(40), resume=state))


class TestBatches:
    @pytest.mark.parametrize("strategy", ["keyframes", "overlap", "none"])
    def test_windows_that_pass_together_change_nothing(self, strategy):
        video = clip(60)
        one, four = (
            depth_of(model(strategy=strategy, window=16, windows_at_once=count), video)
            for count in (1, 4)
        )
        assert relative_error(four, one) < 1e-5

    def test_metric_depth_is_blended_alike_in_batches(self):
        network = tiny_network()
        metric = VideoDepth(network.config.as_metric())
        metric.load_state_dict(network.state_dict())
        metric.eval()
        one, four = (model(metric, window=16, windows_at_once=count) for count in (1, 4))
        assert one.kind == "metric"
        assert relative_error(depth_of(four, clip(40)), depth_of(one, clip(40))) < 1e-5


class TestScenes:
    def test_cuts_are_found_where_they_are(self):
        video = cut_clip(30, 25, 40)
        assert find_scene_cuts(video) == [30, 55]
        detector = SceneCutDetector()
        frames = [frame for _, block in video.blocks() for frame in block]
        assert [index for index, frame in enumerate(frames) if detector.push(frame)] == [30, 55]

    def test_nothing_is_carried_across_a_cut(self):
        video = cut_clip(30, 25)
        together = depth_of(model(window=16, scene_cuts=True), video)
        frames = np.concatenate([block for _, block in video.blocks()])
        for scene in (slice(0, 30), slice(30, 55)):
            alone = depth_of(model(window=16), Video.from_array(frames[scene]))
            assert np.array_equal(together[scene], alone)

    def test_a_stream_begins_anew_at_a_cut_unless_told_not_to(self):
        video = cut_clip(10, 10)
        second = Video.from_array(np.concatenate([b for _, b in video.blocks(1, 10)]))
        alone = depth_of(model(stream=True), second)
        with_cuts, without = (
            depth_of(model(stream=True, scene_cuts=on), video)[10:] for on in (True, False)
        )
        assert np.array_equal(with_cuts, alone)
        assert relative_error(without, alone) > 1e-3

    def test_without_the_extra_cuts_are_refused_at_once_and_nothing_else_is(self, monkeypatch):
        real = builtins.__import__

        def without_scenedetect(name, *arguments, **options):
            if name.startswith("scenedetect"):
                raise ImportError(name)
            return real(name, *arguments, **options)

        monkeypatch.setattr(builtins, "__import__", without_scenedetect)
        with pytest.raises(MissingExtraError, match="scenes"):
            model(scene_cuts=True)
        model(stream=True)


class TestAnyInput:
    def test_by_default_it_is_the_published_inference(self):
        video = clip(40, 30, 44)
        expected = estimate_depth(tiny_network(), video, WindowedInference(input_size=28)).depth
        assert np.array_equal(depth_of(model(), video), expected)

    @pytest.mark.parametrize("stream", [False, True])
    @pytest.mark.parametrize(("height", "width"), [(29, 31), (20, 100), (100, 20), (1, 3)])
    def test_any_size_and_aspect_comes_back_as_it_came(self, height, width, stream):
        depth = depth_of(model(stream=stream), clip(3, height, width))
        assert depth.shape == (3, height, width)
        assert depth.dtype == np.float32
        assert np.isfinite(depth).all()
        assert depth.min() >= 0

    def test_two_frames_are_enough(self):
        assert depth_of(model(), clip(2)).shape == (2, 28, 28)

    def test_progress_counts_every_frame(self):
        told = []
        depth_of(model(), clip(3), progress=lambda done, total: told.append((done, total)))
        assert told == [(1, 3), (2, 3), (3, 3)]

    @pytest.mark.parametrize("stream", [False, True])
    def test_weights_that_are_no_numbers_are_one_clear_error(self, stream):
        network = VideoDepth(tiny_network().config).eval()
        with torch.no_grad():
            network.encoder.norm.weight[0] = float("nan")
        with pytest.raises(KinedepthError, match="values that are not numbers"):
            next(model(network, stream=stream).predict(clip(2)))

    def test_options_that_make_no_sense_are_refused(self):
        with pytest.raises(KinedepthError, match="float16 is for GPUs"):
            model(precision="float16")
        with pytest.raises(KinedepthError, match="not metric"):
            model(kind="metric")
        with pytest.raises(KinedepthError, match="input size has to be positive"):
            model(input_size=0)
        with pytest.raises(KinedepthError, match="At least one window"):
            model(windows_at_once=0)
