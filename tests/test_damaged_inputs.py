"""Damaged and odd inputs end in a result or in one clear sentence, and never run code."""

import struct
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from kinedepth._frame_source import MOST_PIXELS
from kinedepth._image_size import encoded_size
from kinedepth._safe_npz import MOST_UNPACKED, load_arrays, load_tapvid3d
from kinedepth.errors import KinedepthError
from kinedepth.queries_file import parse_queries
from kinedepth.tracking.file import read_tracks
from kinedepth.video import load_video

ROOT = Path(__file__).resolve().parents[1]
sys.path.append(str(ROOT / "benchmarks"))

from damaged import archives, clips, images, weights  # noqa: E402
from damaged.corpus import corpus  # noqa: E402
from damaged.guard import read_all  # noqa: E402
from damaged.videos import patched  # noqa: E402

linux = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")


# The corpus


@pytest.fixture(scope="module")
def cases():
    return corpus()


def test_the_corpus_is_large_and_names_every_case_once(cases):
    names = [(case.family, case.name) for case in cases]
    assert len(names) == len(set(names)) > 800


@linux
def test_every_twelfth_input_ends_in_a_result_or_a_sentence(cases, tmp_path):
    outcomes = read_all(range(0, len(cases), 12), tmp_path)
    assert [o for o in outcomes if o.ending == "fault"] == []
    assert {o.ending for o in outcomes} == {"result", "refused"}


@linux
def test_the_guard_sees_every_fault_and_goes_on(tmp_path):
    from misdeeds import LIMITS, MISDEEDS, load

    order = [index for bad in range(1, len(MISDEEDS) + 1) for index in (0, bad)] + [0]
    outcomes = read_all(order, tmp_path, load, LIMITS)
    for outcome, (_, says) in zip(outcomes[1::2], MISDEEDS.values(), strict=True):
        assert outcome.ending == "fault"
        assert says in outcome.says
    assert [o.ending for o in outcomes[::2]] == ["result"] * (len(MISDEEDS) + 1)


# Videos and images


@pytest.mark.parametrize("beginning", ["#EXTM3U\n", "\ufeff#EXTM3U\n", "ffconcat version 1.0\n"])
def test_a_playlist_is_refused_before_anything_it_names_is_opened(tmp_path, beginning):
    (tmp_path / "part.ts").write_bytes(clips.whole("clip.ts"))
    path = tmp_path / "live.m3u8"
    path.write_text(beginning + "#EXTINF:0.5,\npart.ts\n")  # No end: FFmpeg waits for more.
    with pytest.raises(KinedepthError, match="playlist"):
        load_video(path)


def test_a_header_that_says_a_frame_beyond_memory_is_refused(tmp_path):
    path = tmp_path / "a.gif"
    path.write_bytes(patched(clips.whole("clip.gif"), b"GIF89a", 6, "<HH", 16000, 16000))
    with pytest.raises(KinedepthError, match="16000x16000"):
        load_video(path)


def test_an_absurd_pixel_aspect_is_not_believed(tmp_path):
    path = tmp_path / "a.y4m"
    path.write_bytes(clips.y4m("YUV4MPEG2 W64 H48 F25:1 Ip A1000000:1 C420jpeg"))
    video = load_video(path)
    assert (video.width, video.height) == (64, 48)


@pytest.mark.parametrize(
    "suffix", [".png", ".jpg", ".webp", ".bmp", ".tif", ".ppm", ".pgm", ".pbm"]
)
def test_the_size_in_a_header_is_the_size_that_is_decoded(suffix):
    grey = suffix in (".pgm", ".pbm")
    image = clips.picture(0, 70, 45)[..., :1] if grey else clips.picture(0, 70, 45)
    encoded = cv2.imencode(suffix, np.ascontiguousarray(image))[1]
    height, width = cv2.imdecode(encoded, cv2.IMREAD_UNCHANGED).shape[:2]
    assert encoded_size(encoded.tobytes()) == (width, height) == (70, 45)


def test_the_size_of_a_lossless_webp_is_read_too():
    encoded = cv2.imencode(".webp", clips.picture(0, 70, 45), [cv2.IMWRITE_WEBP_QUALITY, 101])[1]
    assert encoded_size(encoded.tobytes()) == (70, 45)


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".webp", ".bmp", ".tif", ".ppm"])
def test_a_header_cut_anywhere_tells_a_size_or_nothing(suffix):
    encoded = cv2.imencode(suffix, clips.picture(0, 70, 45))[1].tobytes()
    for length in range(min(len(encoded), 800)):
        assert encoded_size(encoded[:length]) in (None, (70, 45), (7, 45), (70, 4))


def test_an_image_that_says_more_than_memory_is_named_and_not_decoded(tmp_path):
    for index in range(2):
        (tmp_path / f"{index}.png").write_bytes(images.encoded(".png"))
    (tmp_path / "2.png").write_bytes(images.png_header(30000, 30000))
    video = load_video(tmp_path)
    with pytest.raises(KinedepthError, match=r"2\.png says that it is 30000x30000"):
        video.frame(2)


def test_a_frame_of_8k_is_small_enough():
    assert MOST_PIXELS >= 8192 * 4320


# Archives and tables


def test_an_archive_that_unpacks_beyond_memory_is_refused(tmp_path):
    path = tmp_path / "a.npz"
    rows = MOST_UNPACKED // 12 + 1
    path.write_bytes(
        archives.bomb("queries_xyt.npy", archives.npy_header((rows, 3)), MOST_UNPACKED // 2**20)
    )
    assert path.stat().st_size < 10**6
    with pytest.raises(KinedepthError, match="would unpack"):
        load_arrays(path)


def test_an_archive_of_zeros_within_bounds_is_read(tmp_path):
    path = tmp_path / "a.npz"
    np.savez_compressed(path, zeros=np.zeros((1000, 1000)))
    assert load_arrays(path)["zeros"].sum() == 0


def test_a_header_that_says_more_than_is_there_is_refused_before_memory_is_taken(tmp_path):
    path = tmp_path / "a.npz"
    header = archives.npy_header((10**12, 3))
    path.write_bytes(archives.members({"queries_xyt.npy": header + bytes(120)}))
    with pytest.raises(KinedepthError, match="not as long as its header says"):
        load_arrays(path)


@pytest.mark.parametrize("opcode", [b"r\xff\xff\xff\x7f", b"p99999999999\n"])
def test_a_pickle_that_remembers_more_than_it_holds_is_refused(tmp_path, opcode):
    path = tmp_path / "a.npz"
    content = archives.npy_header((2,), "|O") + b"\x80\x02]" + opcode + b"."
    path.write_bytes(archives.members({"images_jpeg_bytes.npy": content}))
    with pytest.raises(KinedepthError, match="remembers more than it holds"):
        load_tapvid3d(path)


def test_names_in_an_archive_that_lead_elsewhere_write_nothing(tmp_path):
    path = tmp_path / "in" / "a.npz"
    path.parent.mkdir()
    names = ("../../escaped", "../escaped", str(tmp_path / "escaped"))
    queries = archives.arrays_of("queries")
    path.write_bytes(archives.archive(queries | {name: np.zeros(2) for name in names}))
    assert len(parse_queries(str(path))) == len(queries["queries_xyt"])
    assert sorted(tmp_path.rglob("*")) == [path.parent, path]


@pytest.mark.parametrize("value", ["1e300", "1e18", "inf"])
def test_a_query_in_a_frame_beyond_all_clips_is_refused(tmp_path, value):
    table, archive = tmp_path / "a.csv", tmp_path / "a.npz"
    table.write_text(f"x,y,frame\n1,1,{value}\n")
    np.savez(archive, queries_xyt=np.array([[1, 1, float(value)]]))
    for path in (table, archive):
        with pytest.raises(KinedepthError, match=r"line 2|point 0"):
            parse_queries(str(path))


@pytest.mark.parametrize("size", ["1001", "9" * 5000])
def test_a_grid_of_more_points_than_pixels_is_refused(size):
    with pytest.raises(KinedepthError, match="at most 1000"):
        parse_queries(f"grid:{size}")


def test_a_position_that_single_precision_cannot_hold_is_told_not_replaced(tmp_path):
    table, archive = tmp_path / "a.csv", tmp_path / "a.npz"
    table.write_text("track,frame,x,y\na,0,1,1\na,1,1e39,1\n")
    xy = np.array([[[1.0, 1.0]], [[1e39, 1.0]]])
    np.savez(archive, tracks_xy=xy, visibility=np.ones((2, 1), bool))
    for path in (table, archive):
        with pytest.raises(KinedepthError, match="finite"):
            read_tracks(path)


# Weights


def test_a_configuration_beyond_all_networks_is_refused_before_one_is_built(tmp_path):
    from kinedepth.seurat.checkpoint import load_checkpoint

    content = weights.whole_weights()
    (length,) = struct.unpack("<Q", content[:8])
    header = content[8 : 8 + length].replace(b'\\"layers\\": 1', b'\\"layers\\": 99999999')
    path = tmp_path / "a.safetensors"
    path.write_bytes(weights.joined(header, content[8 + length :]))
    with pytest.raises(KinedepthError, match="layers is 99999999"):
        load_checkpoint(str(path))
