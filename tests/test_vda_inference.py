"""Inference over whole videos: sizes, equal results whatever the route, bounded memory."""

import gc

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from vda_reference import moving_picture, relative_error, tiny_network

from kinedepth.dense.video_depth_anything.head import FrameFeatures
from kinedepth.dense.video_depth_anything.inference import (
    WindowedInference,
    estimate_depth,
    stream_depth,
)
from kinedepth.dense.video_depth_anything.preprocessing import network_size, prepare_frames
from kinedepth.dense.video_depth_anything.streaming import DepthStream
from kinedepth.errors import KinedepthError
from kinedepth.video import Video


def depth_of(length: int, **options) -> np.ndarray:
    video = Video.from_array(moving_picture(length))
    settings = WindowedInference(**({"input_size": 42} | options))
    return estimate_depth(tiny_network(), video, settings).depth


class TestPreprocessing:
    @pytest.mark.parametrize(
        ("height", "width", "expected"),
        [
            (1080, 1920, (518, 924)),
            (720, 1280, (518, 924)),
            (1920, 1080, (924, 518)),
            (480, 640, (518, 686)),
            (436, 1024, (392, 924)),
            (374, 1242, (280, 924)),
        ],
    )
    def test_sizes_are_those_of_training(self, height, width, expected):
        assert network_size(height, width) == expected

    @given(height=st.integers(1, 5000), width=st.integers(1, 5000), input_size=st.integers(1, 1000))
    def test_sizes_are_multiples_of_the_patch_whatever_comes(self, height, width, input_size):
        rows, columns = network_size(height, width, input_size)
        assert rows % 14 == columns % 14 == 0
        assert min(rows, columns) >= 14
        if max(height, width) <= 1.78 * min(height, width):
            assert min(rows, columns) >= input_size

    def test_frames_are_normalised_and_not_clipped(self):
        frames = np.zeros((2, 10, 20, 3), dtype=np.uint8)
        frames[:, :, 10:] = 255
        prepared = prepare_frames(frames, (28, 56))
        assert prepared.shape == (2, 3, 28, 56)
        white = (1 - 0.485) / 0.229
        assert prepared[0, 0, 14, -1].item() == pytest.approx(white, abs=1e-5)
        assert prepared[0, 0].max() > white + 0.05  # overshoot at the edge

    def test_sizes_that_are_none_are_refused(self):
        with pytest.raises(KinedepthError, match="Sizes have to be positive"):
            network_size(0, 10)


class TestWindows:
    @pytest.mark.parametrize("length", [2, 23, 32, 47, 60])
    def test_encoding_once_changes_nothing(self, length):
        once, again = depth_of(length), depth_of(length, as_published=True)
        assert once.shape == (length, 42, 56)
        assert relative_error(once, again) < 1e-5

    @pytest.mark.parametrize(("as_published", "encoded"), [(False, 60), (True, 3 * 32)])
    def test_every_frame_is_encoded_once(self, as_published, encoded):
        frames = []
        hook = tiny_network().encoder.register_forward_hook(
            lambda module, inputs, output: frames.append(len(inputs[0]))
        )
        depth_of(60, as_published=as_published)
        hook.remove()
        assert sum(frames) == encoded

    @pytest.mark.parametrize("strategy", ["keyframes", "overlap", "none"])
    def test_frames_that_pass_together_change_nothing(self, strategy):
        one, seven = (
            depth_of(40, strategy=strategy, window=16, frames_at_once=count) for count in (1, 7)
        )
        assert relative_error(one, seven) < 1e-5

    @pytest.mark.parametrize("window", [16, 32, 48])
    def test_any_window_size_works(self, window):
        depth = depth_of(50, window=window)
        assert depth.shape == (50, 42, 56)
        assert np.isfinite(depth).all()
        assert depth.min() >= 0

    def test_without_refining_the_tail_only_the_last_frames_differ(self):
        refined, not_refined = depth_of(54), depth_of(54, refine_tail=False)
        same = np.abs(refined - not_refined).max(axis=(1, 2)) == 0
        assert same[:47].all()
        assert not same[47:].any()

    def test_depth_comes_in_order_and_early(self):
        video = Counted(moving_picture(120))
        ahead, settings = [], WindowedInference(input_size=42, frames_at_once=1)
        for depth in stream_depth(tiny_network(), video, settings):
            assert depth.dtype == np.float32
            ahead.append(video.given - len(ahead) - 1)
        assert len(ahead) == 120
        # Beyond what is out: what the window gave but this frame, and the overlap.
        assert max(ahead) <= 31
        assert min(ahead[:-8]) == 8

    def test_features_of_no_more_frames_than_a_window_and_its_memory_are_held(self):
        held, settings = [], WindowedInference(input_size=42, frames_at_once=1)
        video = Video.from_array(moving_picture(150, 42, 42))
        for _ in stream_depth(tiny_network(), video, settings):
            if len(held) % 10 == 0:
                held.append(sum(type(thing) is FrameFeatures for thing in gc.get_objects()))
            else:
                held.append(0)
        assert len(held) == 150
        assert max(held) <= 32 + 4

    def test_the_caller_keeps_gradients(self):
        for _ in stream_depth(
            tiny_network(), Video.from_array(moving_picture(2)), WindowedInference(input_size=42)
        ):
            assert not torch.is_inference_mode_enabled()
            assert torch.is_grad_enabled()

    def test_depth_can_go_to_a_memory_map(self, tmp_path):
        out = np.lib.format.open_memmap(tmp_path / "d.npy", "w+", np.float32, (5, 42, 56))
        video = Video.from_array(moving_picture(5), fps=12)
        found = estimate_depth(tiny_network(), video, WindowedInference(input_size=42), out)
        assert found.depth is out
        assert found.kind == "affine_invariant_disparity"
        assert found.fps == pytest.approx(12)
        assert np.array_equal(out, depth_of(5))
        with pytest.raises(KinedepthError, match="needs an array of shape"):
            estimate_depth(tiny_network(), video, out=np.zeros((4, 42, 56), np.float32))

    def test_a_video_that_ends_early_is_one_clear_error(self):
        video = Counted(moving_picture(5))
        video.length = 9
        with pytest.raises(KinedepthError, match="ended after 5 of 9 frames"):
            list(stream_depth(tiny_network(), video, WindowedInference(input_size=42)))

    def test_settings_that_make_no_sense_are_refused(self):
        with pytest.raises(KinedepthError, match="Unknown precision 'float8'"):
            WindowedInference(precision="float8")
        with pytest.raises(KinedepthError, match="no room"):
            WindowedInference(window=9)
        with pytest.raises(KinedepthError, match="At least one frame"):
            WindowedInference(frames_at_once=0)


class Counted:
    """A video that counts the frames it has given out."""

    def __init__(self, frames: np.ndarray) -> None:
        self._video = Video.from_array(frames)
        self.height, self.width, self.fps = self._video.height, self._video.width, 25.0
        self.length = len(frames)
        self.given = 0

    def __len__(self) -> int:
        return self.length

    def blocks(self, size: int = 16, start: int = 0, stop: int | None = None):
        for first, frames in self._video.blocks(size, start, stop):
            self.given += len(frames)
            yield first, frames


class TestStream:
    def test_a_frame_does_not_depend_on_those_to_come(self):
        pictures = moving_picture(8)
        short, long = (DepthStream(tiny_network(), 42, 56, input_size=42) for _ in range(2))
        first = [short.push(frame) for frame in pictures[:4]]
        second = [long.push(frame) for frame in pictures]
        assert np.array_equal(np.stack(first), np.stack(second[:4]))

    def test_what_is_remembered_does_not_grow(self):
        stream = DepthStream(tiny_network(), 42, 42, input_size=42)
        sizes = []
        for frame in moving_picture(60, 42, 42):
            stream.push(frame)
            sizes.append(len({id(states) for states in [stream._first, *stream._recent]}))
        assert max(sizes) == sizes[-1] == 42

    def test_after_a_reset_the_next_frame_is_the_first(self):
        stream = DepthStream(tiny_network(), 42, 56, input_size=42)
        pictures = moving_picture(3)
        first = stream.push(pictures[0])
        stream.push(pictures[1])
        stream.reset()
        assert np.array_equal(stream.push(pictures[0]), first)

    def test_frames_of_another_size_are_refused(self):
        stream = DepthStream(tiny_network(), 42, 56, input_size=42)
        with pytest.raises(KinedepthError, match=r"shape \(42, 56, 3\); got \(28, 40, 3\)"):
            stream.push(np.zeros((28, 40, 3), dtype=np.uint8))


@settings(deadline=None, max_examples=5)
@given(length=st.integers(2, 70), at_once=st.integers(1, 9))
def test_any_length_in_any_chunks_equals_the_published_schedule(length, at_once):
    pictures = Video.from_array(moving_picture(length, 42, 42))
    network = tiny_network()
    found, published = (
        estimate_depth(network, pictures, WindowedInference(input_size=42, **options)).depth
        for options in ({"frames_at_once": at_once}, {"as_published": True})
    )
    assert relative_error(found, published) < 1e-4
