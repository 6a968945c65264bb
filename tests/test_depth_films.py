"""Films of dense depth, and the sound that they keep."""

from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from depth_output_runs import outputs_for, some_depth, write_all

from kinedepth.exporting.depth_colours import DepthPainter
from kinedepth.exporting.stereo import StereoSettings
from kinedepth.video import load_video

RATE = 48_000


@pytest.mark.parametrize("size", [(7, 9), (6, 8), (1, 1)])
def test_films_have_the_size_and_length_of_the_video(tmp_path, size):
    depth = some_depth(5, *size)
    write_all(tmp_path / "plain", depth, ["mp4"], stereo=StereoSettings())
    write_all(
        tmp_path / "beside", depth, ["mp4"], side_by_side=True, stereo=StereoSettings("anaglyph")
    )

    def even(height, width):
        return height + height % 2, width + width % 2

    height, width = size
    for name, shown in (
        ("plain/depth.mp4", even(height, width)),
        ("plain/stereo.mp4", even(height, 2 * width)),
        ("beside/depth.mp4", even(height, 2 * width)),
        ("beside/stereo.mp4", even(height, width)),
    ):
        film = load_video(tmp_path / name)
        assert (film.height, film.width) == shown, name
        assert len(film) == 5
        assert film.fps == pytest.approx(10)


def test_side_by_side_has_the_frame_on_the_left(tmp_path):
    depth = np.full((3, 32, 32), 2, np.float32)
    image = np.full((32, 32, 3), (20, 180, 60), np.uint8)
    with outputs_for(tmp_path, depth, ["mp4"], side_by_side=True, value_range=(1, 4)) as outputs:
        assert outputs.needs_images
        for index, frame in enumerate(depth):
            outputs.write(index, image, frame)
    shown = load_video(tmp_path / "depth.mp4").frame(1).astype(int)
    assert np.abs(shown[:, 2:30] - (20, 180, 60)).max() < 12
    expected = DepthPainter("metric", (1, 4), "inferno").paint(depth[0])[0, 0].astype(int)
    assert np.abs(shown[:, 34:62] - expected).max() < 12


def clip_with_tone(
    path: Path, seconds: float = 2.0, fps: int = 10, codec: str = "aac", hertz: float = 440
) -> Path:
    """A film of 16x16 with a tone whose loudness grows with time."""
    with av.open(str(path), "w") as container:
        video = container.add_stream("libx264", rate=fps)
        video.width = video.height = 16
        video.pix_fmt = "yuv420p"
        sound = container.add_stream(codec, rate=RATE, layout="mono")
        time = np.arange(int(seconds * RATE)) / RATE
        tone = (0.9 * time / seconds * np.sin(2 * np.pi * hertz * time)).astype(np.float32)
        formatted = sound.codec_context.format.name
        for _ in range(round(seconds * fps)):
            picture = av.VideoFrame.from_ndarray(np.zeros((16, 16, 3), np.uint8), format="rgb24")
            container.mux(video.encode(picture))
        resampler = av.AudioResampler(formatted, "mono", RATE)
        for start in range(0, len(tone), 1024):
            frame = av.AudioFrame.from_ndarray(tone[None, start : start + 1024], "fltp", "mono")
            frame.sample_rate = RATE
            frame.pts = start
            frame.time_base = Fraction(1, RATE)
            for piece in resampler.resample(frame):
                container.mux(sound.encode(piece))
        container.mux(sound.encode())
        container.mux(video.encode())
    return path


def sound_of(path: Path) -> np.ndarray | None:
    """Mono samples, or None for a silent film."""
    with av.open(str(path)) as container:
        if not container.streams.audio:
            return None
        frames = [frame.to_ndarray() for frame in container.decode(audio=0)]
        return np.concatenate([f.astype(np.float64).mean(0) for f in frames])


def loudness(samples: np.ndarray, second: float) -> float:
    middle = int(second * RATE)
    return float(np.sqrt(2 * np.mean(samples[middle - 1200 : middle + 1200] ** 2)))


def write_films(folder: Path, source: Path, frames: int, **options) -> None:
    depth = some_depth(frames, 16, 16)
    stereo = StereoSettings()
    options = {"side_by_side": True, "stereo": stereo, "audio_from": source, **options}
    write_all(folder, depth, ["mp4"], **options)


def test_the_sound_of_the_source_is_kept_with_its_frames(tmp_path):
    source = clip_with_tone(tmp_path / "clip.mp4")
    write_films(tmp_path / "out", source, 20)
    for name in ("depth.mp4", "stereo.mp4"):
        samples = sound_of(tmp_path / "out" / name)
        assert abs(len(samples) / RATE - 2) < 0.05
        # Loudness tells the time: within 30 ms of where it belongs.
        for second in (0.3, 1.0, 1.7):
            assert abs(loudness(samples, second) - 0.45 * second) < 0.45 * 0.03
        crossings = np.count_nonzero(np.diff(np.signbit(samples[RATE // 2 : RATE])))
        assert abs(crossings - 440) <= 4
        assert len(load_video(tmp_path / "out" / name)) == 20


def test_sound_is_copied_and_not_encoded_again(tmp_path):
    source = clip_with_tone(tmp_path / "clip.mp4")
    write_films(tmp_path / "out", source, 20)

    def packets(path):
        with av.open(str(path)) as container:
            return [bytes(packet) for packet in container.demux(audio=0) if packet.size]

    before, after = packets(source), packets(tmp_path / "out" / "depth.mp4")
    assert len(after) > 80
    assert set(after) <= set(before)


@pytest.mark.parametrize("suffix", [".mp4", ".mkv"])
def test_sound_is_cut_to_the_frames_that_were_used(tmp_path, suffix):
    source = clip_with_tone(tmp_path / f"clip{suffix}", seconds=3)
    write_films(tmp_path / "out", source, 10, audio_start=1.2)
    samples = sound_of(tmp_path / "out" / "depth.mp4")
    assert abs(len(samples) / RATE - 1) < 0.05
    for second in (0.2, 0.5, 0.8):
        assert abs(loudness(samples, second) - 0.3 * (1.2 + second)) < 0.3 * 0.04


def test_a_film_of_depth_alone_is_silent(tmp_path):
    source = clip_with_tone(tmp_path / "clip.mp4", seconds=1)
    write_films(tmp_path / "out", source, 10, side_by_side=False)
    assert sound_of(tmp_path / "out" / "depth.mp4") is None


def test_sound_that_mp4_cannot_hold_is_left_out_with_a_word(tmp_path):
    source = clip_with_tone(tmp_path / "clip.avi", seconds=1, codec="adpcm_ms")
    with pytest.warns(UserWarning, match=r"sound of clip\.avi \(adpcm_ms\) cannot be kept"):
        write_films(tmp_path / "out", source, 10, stereo=None)
    film = tmp_path / "out" / "depth.mp4"
    assert sound_of(film) is None
    assert len(load_video(film)) == 10


def test_sources_that_hold_no_sound_give_silent_films(tmp_path):
    images = tmp_path / "images"
    images.mkdir()
    text = tmp_path / "text.npz"
    text.write_text("no film")
    write_films(tmp_path / "a", images, 3)
    write_films(tmp_path / "b", text, 3)
    write_films(tmp_path / "c", tmp_path / "a" / "depth.mp4", 3)
    for name in "abc":
        assert sound_of(tmp_path / name / "depth.mp4") is None
