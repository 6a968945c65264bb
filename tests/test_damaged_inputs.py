"""Damaged and odd inputs end in a result or in one clear sentence, and never run code."""

import ast
import functools
import io
import struct
import sys
import zipfile
from pathlib import Path

import cv2
import numpy as np
import pytest

import kinedepth
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
from damaged.case import Case  # noqa: E402
from damaged.corpus import corpus  # noqa: E402
from damaged.guard import read_all  # noqa: E402
from damaged.videos import patched  # noqa: E402

# The guard forks. Once other tests have started threads, a fork waits for threads it does not have,
# so these tests have a process of their own: `make test` runs this file by itself as well.
ALONE = not any(name.startswith("test_") and name != __name__ for name in sys.modules)
linux = pytest.mark.skipif(
    not (sys.platform.startswith("linux") and ALONE),
    reason="forks and reads /proc: on Linux, run this file by itself",
)


# The corpus


@pytest.fixture(scope="module")
def cases():
    return corpus()


def test_the_corpus_is_large_and_names_every_case_once(cases):
    names = [(case.family, case.name) for case in cases]
    assert len(names) == len(set(names)) > 800


@linux
def test_every_twelfth_input_ends_in_a_result_or_a_sentence(cases, tmp_path):
    outcomes = read_all(cases[::12], tmp_path)
    assert [o for o in outcomes if o.ending == "fault"] == []
    assert {o.ending for o in outcomes} == {"result", "refused"}


@linux
@pytest.mark.parametrize(
    ("misdeed", "says"),
    [
        ("raise KeyError('x')", "KeyError"),
        ("import os, signal; os.kill(os.getpid(), signal.SIGSEGV)", "SIGSEGV"),
        ("import os, signal; os.kill(os.getpid(), signal.SIGALRM)", "hung"),
        ("import numpy; numpy.ones(800_000_000, 'u1').sum()", "GB of memory"),
        ("open('left', 'w').close()", "left files behind"),
        ("from kinedepth.errors import KinedepthError; raise KinedepthError('no')", "no clear"),
    ],
)
def test_the_guard_sees_a_fault_and_goes_on(tmp_path, monkeypatch, misdeed, says):
    from damaged import guard

    good = Case("f", "good", "video", lambda folder: folder)
    bad = Case("f", "bad", "queries", lambda folder: folder)
    readers = {
        "video": lambda source: "fine",
        "queries": lambda source: exec(misdeed, {}) or "done",
    }
    monkeypatch.setattr(guard, "READERS", readers)
    # A fork counts fewer shared pages than this process does, so no more room than this is added.
    monkeypatch.setattr(guard, "MOST_BYTES", guard.kernel_says("VmRSS") + 100_000_000)
    outcomes = read_all([good, bad, good], tmp_path)
    assert [o.ending for o in outcomes] == ["result", "fault", "result"]
    assert says.replace("no clear", "not a clear") in outcomes[1].says


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


# No code is ever run from a file


@functools.cache
def package_calls():
    """(file, call) for every call in the package."""
    calls = []
    package = Path(kinedepth.__file__).parent
    for path in sorted(package.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call):
                calls.append((path.relative_to(package).as_posix(), node))
    return calls


def test_no_call_in_the_package_loads_a_pickle():
    loaders = {"pickle", "cPickle", "dill", "joblib", "shelve", "marshal", "cloudpickle"}
    seen = 0
    for file, call in package_calls():
        name = ast.unparse(call.func)
        options = {option.arg: ast.unparse(option.value) for option in call.keywords}
        assert options.get("allow_pickle", "False") == "False", f"{file}: {ast.unparse(call)}"
        assert not (name.split(".")[0] in loaders and "load" in name), f"{file}: {name}"
        if name == "torch.load":
            seen += 1
            assert options.get("weights_only") == "True", f"{file}: {ast.unparse(call)}"
        assert name not in ("eval", "exec", "yaml.load", "yaml.unsafe_load"), f"{file}: {name}"
    assert seen > 0  # The search finds what it is meant to find.


def test_only_the_guarded_reader_makes_an_unpickler():
    package = Path(kinedepth.__file__).parent
    users = {
        path.relative_to(package).as_posix()
        for path in package.rglob("*.py")
        if "Unpickler(" in path.read_text() or "pickle.load" in path.read_text()
    }
    assert users == {"_safe_npz.py"}


def test_no_archive_is_ever_unpacked_to_its_own_file_names():
    for file, call in package_calls():
        if isinstance(call.func, ast.Attribute):
            assert call.func.attr not in ("extract", "extractall", "unpack_archive"), file


def test_the_guarded_reader_gives_bytes_and_refuses_code(tmp_path):
    clip = archives.arrays_of("video")
    path = tmp_path / "a.npz"
    path.write_bytes(archives.archive(clip))
    assert load_tapvid3d(path)["images_jpeg_bytes"] == list(clip["images_jpeg_bytes"])
    harmful = np.empty(1, dtype=object)
    harmful[0] = archives.RunsCode()
    content = io.BytesIO()
    np.lib.format.write_array(content, harmful, allow_pickle=True)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("images_jpeg_bytes.npy", content.getvalue())
    with pytest.raises(KinedepthError, match="not allowed"):
        load_tapvid3d(path)
    assert not Path("a_pickle_was_run").exists()


def test_nothing_in_the_package_listens_beyond_this_machine():
    servers = 0
    for file, call in package_calls():
        name = ast.unparse(call.func)
        if name.endswith(("HTTPServer", "create_server", "TCPServer", ".bind")):
            servers += 1
            assert "_LOOPBACK" in ast.unparse(call), f"{file}: {ast.unparse(call)}"
    assert servers > 0
