"""``kinedepth predict tapvid3d`` and ``eval tapvid3d`` on clips of an approaching wall."""

import csv
import dataclasses
import json
import shutil

import cv2
import numpy as np
import pytest
import torch

from kinedepth.cli import main
from kinedepth.errors import KinedepthError
from kinedepth.evaluation.tapvid3d import score_clip
from kinedepth.evaluation.tapvid3d_clips import load_prediction, load_truth
from kinedepth.evaluation.tapvid3d_files import find_clips
from kinedepth.evaluation.tapvid3d_scaling import SCALINGS
from kinedepth.evaluation.tapvid3d_tables import PUBLISHED_PER_TRAJECTORY
from kinedepth.lifting import lift
from kinedepth.prediction.clips import BenchmarkClip
from kinedepth.prediction.depth_sources import ModelDepth, read_bilinear
from kinedepth.prediction.methods import UnprojectMethod, make_method
from kinedepth.prediction.split import predict_split
from kinedepth.seurat.checkpoint import save_checkpoint
from kinedepth.seurat.config import SeuratConfig
from kinedepth.seurat.model import Seurat

WIDTH, HEIGHT, FRAMES, FOCAL = 96, 72, 9, 80.0
TINY = SeuratConfig(name="tiny", width=24, heads=2, layers=1, iterations=1, support_grid=6)
DEPTH = 4 * 0.97 ** np.arange(FRAMES)
"""Of the wall: it comes 3 % closer in every frame."""


def write_clip(path, seed=0, points=7):
    """A textured wall that approaches, seen by a still camera."""
    rng = np.random.default_rng(seed)
    texture = rng.integers(0, 255, (HEIGHT // 4, WIDTH // 4, 3), dtype=np.uint8)
    texture = cv2.resize(texture, (WIDTH, HEIGHT), interpolation=cv2.INTER_CUBIC)
    middle = np.array([WIDTH / 2, HEIGHT / 2])
    images = np.empty(FRAMES, object)
    for frame, depth in enumerate(DEPTH):
        grow = DEPTH[0] / depth
        shift = (1 - grow) * (middle - 0.5)  # OpenCV counts from the centre of a pixel
        warp = np.array([[grow, 0, shift[0]], [0, grow, shift[1]]])
        image = cv2.warpAffine(texture, warp, (WIDTH, HEIGHT), borderMode=cv2.BORDER_REFLECT)
        images[frame] = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, 95])[1].tobytes()
    start = middle + rng.uniform(-0.3, 0.3, (points, 2)) * (WIDTH, HEIGHT)
    ray = np.column_stack([(start - middle) / FOCAL * DEPTH[0], np.zeros(points)])
    xyz = np.repeat(ray[None], FRAMES, axis=0)
    xyz[..., 2] = DEPTH[:, None]
    visible = np.ones((FRAMES, points), bool)
    visible[5, 0] = False
    path.parent.mkdir(parents=True, exist_ok=True)
    np.savez(
        path,
        images_jpeg_bytes=images,
        queries_xyt=np.column_stack([start, np.zeros(points)]),
        tracks_XYZ=xyz,
        visibility=visible,
        fx_fy_cx_cy=np.array([FOCAL, FOCAL, *middle]),
    )


def write_prediction(path, clip, factor=1.0):
    truth = load_truth(clip)
    path.parent.mkdir(parents=True, exist_ok=True)
    np.savez(path, tracks_XYZ=factor * truth.xyz, visibility=truth.visible)


@pytest.fixture
def kine(capsys):
    """Runs the command line in this process."""

    @dataclasses.dataclass
    class Outcome:
        code: int
        out: str
        err: str

    def run(*arguments):
        capsys.readouterr()
        with pytest.raises(SystemExit) as ending:
            main([str(argument) for argument in arguments])
        captured = capsys.readouterr()
        return Outcome(ending.value.code or 0, captured.out, captured.err)

    return run


PLACES = ("adt/a.npz", "adt/b.npz", "pstudio/c.npz")


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    folder = tmp_path_factory.mktemp("split")
    for seed, place in enumerate(PLACES):
        write_clip(folder / place, seed)
    torch.manual_seed(0)
    save_checkpoint(folder / "tiny.safetensors", Seurat(TINY), {"steps": 0})
    return folder


@pytest.fixture
def data(prepared, tmp_path):
    """A split of three clips in two subsets."""
    for place in PLACES:
        (tmp_path / "data" / place).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(prepared / place, tmp_path / "data" / place)
    return tmp_path / "data"


@pytest.fixture
def exact(data):
    """The truth as predictions, twice too large."""
    folder = data.parent / "exact"
    for place in PLACES:
        write_prediction(folder / place, data / place, factor=2.0)
    return folder


def figures(line):
    """The numbers of a table's row."""
    return [float(cell) for cell in line.replace("|", " ").split() if cell[0].isdigit()]


def row_of(table, name):
    return next(line for line in table.splitlines() if line.startswith(name))


# Scoring


@pytest.mark.parametrize("options", [(), ("--fixed-thresholds",)])
def test_an_exact_prediction_of_another_scale_is_perfect_in_every_scaling_but_none(
    kine, data, exact, options
):
    done = kine(
        "eval", "tapvid3d", "--data", data, "--predictions", exact, "--scaling", "all", *options
    )
    assert done.code == 0
    tables = done.out.split("\n\n")
    assert len(tables) == len(SCALINGS)
    for scaling, table in zip(SCALINGS, tables, strict=True):
        named = "affine-invariant" if scaling == "affine" else f"scaling {scaling},"
        assert named in table
        assert ("fixed metre thresholds" if options else "adaptive thresholds") in table
        average = figures(row_of(table, "exact"))[-4:]
        if scaling == "none":
            assert average[0] < 100
        else:
            assert average == [100, 100, 100, 0]


def test_one_clip_alone_can_be_scored_in_every_scaling(kine, data, exact):
    done = kine(
        "eval", "tapvid3d", "--data", data / "pstudio", "--predictions", exact / "pstudio",
        "--scaling", "per_trajectory,local_neighborhood",
    )  # fmt: skip
    assert done.code == 0
    assert done.out.count("clips: 1 pstudio") == 2


def test_the_benchmark_is_the_mean_over_subsets_not_over_clips(kine, data, exact):
    (exact / PLACES[2]).unlink()
    done = kine("eval", "tapvid3d", "--data", data, "--predictions", exact, "--allow-missing")
    assert done.code == 0
    # Aria, two clips: 100. Panoptic Studio, one: 0. Temporal coherence: of the two only.
    assert figures(row_of(done.out, "exact")) == [100, 100, 0, 0, 0, 50, 50, 50, 0]
    assert "Counted as zero, without a usable prediction: pstudio/c." in done.out
    assert "1 missing (pstudio/c)" in done.err


def test_all_that_is_wrong_with_the_predictions_is_named_in_one_sentence(kine, data, exact):
    (exact / "adt/a.npz").unlink()
    whole = (exact / "adt/b.npz").read_bytes()
    (exact / "adt/b.npz").write_bytes(whole[: len(whole) // 2])
    truth = load_truth(data / "pstudio/c.npz")
    np.savez(exact / "pstudio/c.npz", tracks_XYZ=truth.xyz[:-1], visibility=truth.visible[:-1])
    write_prediction(exact / "pstudio/stranger.npz", data / "pstudio/c.npz")
    done = kine("eval", "tapvid3d", "--data", data, "--predictions", exact)
    assert done.code == 2
    assert done.out == ""
    (sentence,) = done.err.splitlines()
    for part in (
        "1 missing (adt/a)",
        "2 unusable (adt/b: ",
        "pstudio/c: it has 8 frames and 7 points, but the clip has 9 frames and 7 points",
        "1 that no clip belongs to (pstudio/stranger)",
        "--allow-missing",
    ):
        assert part in sentence
    lenient = kine("eval", "tapvid3d", "--data", data, "--predictions", exact, "--allow-missing")
    assert lenient.code == 0
    assert "adt/a, adt/b, pstudio/c" in lenient.out


def test_a_whole_subset_that_is_missing_is_named_once(kine, data, exact):
    shutil.rmtree(exact / "adt")
    done = kine("eval", "tapvid3d", "--data", data, "--predictions", exact)
    assert "2 missing (all of adt)" in done.err


def test_a_prediction_that_gives_no_scale_is_unusable_and_counts_as_zero(kine, data, exact):
    truth = load_truth(data / "adt/a.npz")
    np.savez(exact / "adt/a.npz", tracks_XYZ=truth.xyz, visibility=~truth.visible)
    done = kine("eval", "tapvid3d", "--data", data, "--predictions", exact)
    assert done.code == 2
    assert "adt/a: No point that tells the scale" in done.err
    lenient = kine("eval", "tapvid3d", "--data", data, "--predictions", exact, "--allow-missing")
    assert figures(row_of(lenient.out, "exact"))[0] == 50


def test_written_figures_are_those_of_each_clip(kine, data, exact):
    written = data.parent / "scores.json"
    arguments = ("eval", "tapvid3d", "--data", data, "--predictions", exact, "--scaling", "none")
    assert kine(*arguments, "--affine-invariant", "-o", written).code == 0
    none, affine = json.loads(written.read_text())
    assert (none["scaling"], affine["scaling"]) == ("none", "affine")
    truth = load_truth(data / "adt/a.npz")
    expected = score_clip(truth, load_prediction(exact / "adt/a.npz"), "none")
    assert none["clips"]["adt/a"] == expected
    assert kine(*arguments, "-o", written.with_suffix(".csv")).code == 0
    with open(written.with_suffix(".csv")) as file:
        rows = list(csv.DictReader(file))
    assert [row["level"] for row in rows] == ["average", "subset", "subset", "clip", "clip", "clip"]
    assert float(rows[3]["points_within"]) == pytest.approx(expected["points_within"], rel=1e-9)


def test_published_rows_stand_only_where_they_can_be_compared_and_are_marked(kine, data, exact):
    arguments = ("eval", "tapvid3d", "--data", data, "--predictions", exact, "--scaling")
    comparable = kine(*arguments, "per_trajectory").out
    for row in PUBLISHED_PER_TRAJECTORY:
        assert f"{row.name} [published]" in comparable
    assert "not measured with this package, and not on these clips" in comparable
    assert "published" not in kine(*arguments, "median").out
    assert "published" not in kine(*arguments, "per_trajectory", "--fixed-thresholds").out


def test_several_folders_of_predictions_stand_in_one_table(kine, data, exact):
    other = data.parent / "other" / "exact"
    shutil.copytree(exact, other)
    done = kine("eval", "tapvid3d", "--data", data, "--predictions", exact, "--predictions", other)
    assert done.code == 0
    assert row_of(done.out, str(exact))
    assert row_of(done.out, str(other))


def test_a_list_chooses_clips_and_the_others_are_no_strangers(kine, data, exact):
    chosen = data.parent / "chosen.txt"
    chosen.write_text("# minival\nb.npz\n\npstudio/c\n")
    arguments = ("eval", "tapvid3d", "--data", data, "--predictions", exact, "--clips", chosen)
    done = kine(*arguments)
    assert done.code == 0
    assert "clips: 1 adt, 1 pstudio" in done.out
    chosen.write_text("b.npz\nnowhere.npz\n")
    refused = kine(*arguments)
    assert refused.code == 2
    assert "nowhere" in refused.err


def test_archives_that_are_no_clips_are_passed_over(data):
    np.savez(data / "adt" / "a_depth.npz", depth=np.ones((2, 3, 4)))
    np.savez(data / "adt" / ".tmp-x.npz", tracks_XYZ=np.ones(3))
    assert [clip.place.as_posix() for clip in find_clips(data)] == list(PLACES)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"--data": "nowhere"}, "There is no folder nowhere"),
        ({"--predictions": "nowhere"}, "There is no folder nowhere"),
        ({"--scaling": "largest"}, "There is no scaling 'largest'; the scalings are median"),
        ({"--output": "scores.txt"}, "written as .json or .csv"),
        ({"--output": "nowhere/scores.json"}, "There is no folder nowhere"),
        ({"--clips": "nowhere.txt"}, "cannot be read as a list of clips"),
    ],
)
def test_wrong_options_of_eval_are_told_in_one_sentence(kine, data, exact, change, sentence):
    options = {"--data": data, "--predictions": exact, **change}
    done = kine("eval", "tapvid3d", *(word for pair in options.items() for word in pair))
    assert done.code == 2
    assert sentence in done.err
    assert len(done.err.splitlines()) == 1


def test_a_folder_without_clips_and_a_damaged_clip_are_told(kine, data, exact):
    (data.parent / "empty").mkdir()
    empty = kine("eval", "tapvid3d", "--data", data.parent / "empty", "--predictions", exact)
    assert "holds no TAPVid-3D clips" in empty.err
    (data / "adt/a.npz").write_bytes(b"no archive")
    damaged = kine("eval", "tapvid3d", "--data", data, "--predictions", exact)
    assert damaged.code == 2
    assert "a.npz" in damaged.err


# Predicting


def run_split(kine, data, output, *options):
    return kine("predict", "tapvid3d", "--data", data, "-o", output, *options)


def test_oracle_depth_on_oracle_tracks_is_perfect(kine, data, tmp_path):
    done = run_split(kine, data, tmp_path / "p", "--depth", "oracle", "--tracker", "oracle")
    assert done.code == 0
    assert "Predicted 3 of 3 clips" in done.out
    scored = kine(
        "eval", "tapvid3d", "--data", data, "--predictions", tmp_path / "p", "--scaling", "none"
    )
    assert figures(row_of(scored.out, "p"))[-4:] == [100, 100, 100, 0]


def test_seurat_through_this_door_is_lift_with_the_clips_queries_and_camera(
    kine, data, prepared, tmp_path
):
    weights = prepared / "tiny.safetensors"
    done = run_split(kine, data, tmp_path / "p", "--model", weights, "--device", "cpu")
    assert done.code == 0
    found = load_prediction(tmp_path / "p" / PLACES[0])
    clip = BenchmarkClip(find_clips(data)[0])
    lifted = lift(data / PLACES[0], clip.queries, model=str(weights), device="cpu")
    np.testing.assert_array_equal(found.xyz, lifted.tracks.xyz)
    np.testing.assert_array_equal(found.visible, lifted.tracks.tracks.visible)
    # Starts at the local fit, which reads the wall's approach from flow.
    ratio = found.xyz[-1, :, 2] / found.xyz[0, :, 2]
    assert np.median(np.abs(np.log(ratio) - np.log(DEPTH[-1] / DEPTH[0]))) < 0.05


def test_density_reads_the_approach_of_the_wall(data):
    clip = BenchmarkClip(find_clips(data)[0])
    for joining in ("fused", "chained"):
        found = make_method("density", "flow", method=joining).predict(clip)
        ratio = found.xyz[-1, :, 2] / found.xyz[0, :, 2]
        # Density is a crude estimate: it knows the direction and half of the amount.
        assert np.median(ratio) < 1 - 0.5 * (1 - DEPTH[-1] / DEPTH[0])


def test_the_oracle_tracker_gives_true_queries_and_leaves_support_to_flow(data, prepared):
    clip = BenchmarkClip(find_clips(data)[0])
    method = make_method("seurat", "oracle", str(prepared / "tiny.safetensors"), device="cpu")
    found = method.predict(clip)
    pixels = clip.truth.intrinsics.project(found.xyz)
    np.testing.assert_allclose(pixels, clip.truth.intrinsics.project(clip.truth.xyz), atol=1e-3)
    np.testing.assert_array_equal(found.visible, clip.truth.visible)


def test_finished_clips_are_skipped_and_damaged_ones_made_again(kine, data, tmp_path):
    options = ("--depth", "constant", "--tracker", "oracle")
    output = tmp_path / "p"
    run_split(kine, data, output, *options)
    kept, damaged = output / PLACES[0], output / PLACES[1]
    before = kept.stat().st_mtime_ns
    damaged.write_bytes(damaged.read_bytes()[:200])
    done = run_split(kine, data, output, *options)
    assert "Predicted 1 of 3 clips" in done.out
    assert "2 were already there" in done.out
    assert kept.stat().st_mtime_ns == before
    assert load_prediction(damaged).visible.shape == (FRAMES, 7)


def test_predictions_of_different_settings_do_not_meet_in_one_folder(kine, data, tmp_path):
    output = tmp_path / "p"
    run_split(kine, data, output, "--depth", "constant", "--tracker", "oracle")
    mixed = run_split(kine, data, output, "--depth", "oracle", "--tracker", "oracle")
    assert mixed.code == 2
    assert "depth was constant and is oracle" in mixed.err
    (output / "settings.json").unlink()
    unknown = run_split(kine, data, output, "--depth", "constant", "--tracker", "oracle")
    assert unknown.code == 2
    assert "no settings.json" in unknown.err


def test_other_weights_of_the_same_name_are_other_settings(data, prepared, tmp_path):
    torch.manual_seed(1)
    save_checkpoint(tmp_path / "tiny.safetensors", Seurat(TINY), {"steps": 0})
    first = make_method(model=str(prepared / "tiny.safetensors"))
    second = make_method(model=str(tmp_path / "tiny.safetensors"))
    predict_split([], tmp_path / "p", first)
    with pytest.raises(KinedepthError, match="weights_sha256"):
        predict_split([], tmp_path / "p", second)


def test_a_clip_that_fails_is_named_and_the_others_go_on(kine, data, tmp_path):
    whole = (data / "adt/b.npz").read_bytes()
    (data / "adt/b.npz").write_bytes(whole[:1000])
    options = ("--depth", "constant", "--tracker", "oracle")
    done = run_split(kine, data, tmp_path / "p", *options)
    assert done.code == 2
    assert "1 of 3 clips failed (adt/b:" in done.err
    assert "Traceback" not in done.err
    made = sorted(path.stem for path in (tmp_path / "p").rglob("*.npz"))
    assert made == ["a", "c"]
    (data / "adt/b.npz").write_bytes(whole)
    mended = run_split(kine, data, tmp_path / "p", *options)
    assert mended.code == 0
    assert "Predicted 1 of 3 clips" in mended.out


def test_a_bug_in_one_clip_keeps_its_traceback_and_the_others_go_on(data, tmp_path, capsys):
    class Buggy:
        settings = {"depth": "buggy"}  # noqa: RUF012
        good = UnprojectMethod(make_method("constant", "oracle")._source, "oracle")

        def predict(self, clip, progress=None):
            if clip.file.name == "adt/b":
                raise IndexError("off by one")
            return self.good.predict(clip)

    outcome = predict_split(find_clips(data), tmp_path / "p", Buggy())
    assert outcome.failed == {"adt/b": "IndexError: off by one"}
    assert outcome.predicted == ["adt/a", "pstudio/c"]
    assert "Traceback" in capsys.readouterr().err


def test_a_full_disk_ends_the_run(data, tmp_path):
    class Full:
        settings = {"depth": "full"}  # noqa: RUF012

        def predict(self, clip, progress=None):
            raise OSError(28, "No space left on device")

    with pytest.raises(OSError, match="No space left"):
        predict_split(find_clips(data), tmp_path / "p", Full())


def test_tracks_made_elsewhere_are_taken_clip_by_clip(kine, data, tmp_path):
    for place in PLACES:
        truth = load_truth(data / place)
        (tmp_path / "tracks" / place).parent.mkdir(parents=True, exist_ok=True)
        np.savez(
            tmp_path / "tracks" / place,
            tracks_xy=truth.intrinsics.project(truth.xyz),
            visibility=truth.visible,
            queries_xyt=truth.queries_xyt,
        )
    spec = f"file:{tmp_path}/tracks/{{clip}}.npz"
    done = run_split(kine, data, tmp_path / "p", "--depth", "oracle", "--tracker", spec)
    assert done.code == 0
    truth, found = load_truth(data / PLACES[2]), load_prediction(tmp_path / "p" / PLACES[2])
    np.testing.assert_allclose(found.xyz, truth.xyz, rtol=1e-4, atol=1e-4)
    crowding = make_method("density", spec).predict(BenchmarkClip(find_clips(data)[2]))
    assert np.median(crowding.xyz[-1, :, 2]) < 0.95
    fewer = tmp_path / "tracks" / PLACES[0]
    np.savez(fewer, tracks_xy=np.ones((FRAMES, 3, 2)), visibility=np.ones((FRAMES, 3)))
    short = run_split(kine, data, tmp_path / "q", "--depth", "oracle", "--tracker", spec)
    assert short.code == 2
    assert "holds 3 tracks for adt/a, which has 7 queries" in short.err


def test_dense_depth_is_read_clip_by_clip(kine, data, tmp_path):
    (tmp_path / "depth" / "adt").mkdir(parents=True)
    (tmp_path / "depth" / "pstudio").mkdir()
    for place in PLACES:
        depth = np.broadcast_to(DEPTH[:, None, None], (FRAMES, HEIGHT, WIDTH)).copy()
        depth[3, :, : WIDTH // 2] = 0  # no reading: held from the nearest frame
        np.savez(tmp_path / "depth" / place, depth=depth)
    spec = f"files:{tmp_path}/depth/{{clip}}.npz"
    done = run_split(kine, data, tmp_path / "p", "--depth", spec, "--tracker", "oracle")
    assert done.code == 0
    found, truth = load_prediction(tmp_path / "p" / PLACES[0]), load_truth(data / PLACES[0])
    np.testing.assert_allclose(np.delete(found.xyz, 3, 0), np.delete(truth.xyz, 3, 0), rtol=1e-5)
    held = truth.intrinsics.project(truth.xyz)[3, :, 0] < WIDTH // 2 - 1
    assert held.any()
    assert np.isin(found.xyz[3, held, 2].round(4), DEPTH[[2, 4]].round(4)).all()
    np.savez(tmp_path / "depth" / PLACES[0], depth=np.ones((FRAMES, 3, 4)))
    wrong = run_split(kine, data, tmp_path / "q", "--depth", spec, "--tracker", "oracle")
    assert wrong.code == 2
    assert "depth of shape (9, 3, 4), but the clip asks for (9, 72, 96)" in wrong.err


def test_depth_is_read_bilinearly_between_pixel_centres():
    column, row = np.meshgrid(np.arange(6) + 0.5, np.arange(4) + 0.5)
    depth = 1 + 2 * column + 3 * row
    xy = np.random.default_rng(0).uniform((0.5, 0.5), (5.5, 3.5), (50, 2))
    np.testing.assert_allclose(read_bilinear(depth, xy), 1 + 2 * xy[:, 0] + 3 * xy[:, 1])
    assert read_bilinear(depth, np.array([[-7.0, 0.5]])) == depth[0, 0]
    depth[2, 3] = 0
    assert np.isnan(read_bilinear(depth, np.array([[3.2, 2.4]]))).all()


def test_a_model_of_unknown_shift_is_no_depth_source():
    class Disparity:
        name, kind, per_frame = "some-model", "affine_invariant_disparity", False

    with pytest.raises(KinedepthError, match="some-model gives affine-invariant-disparity"):
        ModelDepth(Disparity())


def test_a_dense_model_is_read_frame_by_frame(data):
    class Metric:
        name, kind, per_frame = "some-model", "metric", True

        def predict(self, video, progress=None):
            for depth in DEPTH:
                yield np.full((video.height, video.width), depth, np.float32)

    clip = BenchmarkClip(find_clips(data)[0])
    found = UnprojectMethod(ModelDepth(Metric()), "oracle").predict(clip)
    np.testing.assert_allclose(found.xyz, clip.truth.xyz, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (("--tracker", "sorcery"), "no tracker called 'sorcery'"),
        (("--tracker", "file:tracks.npz"), "put {clip} where"),
        (("--depth", "sorcery"), "no depth called 'sorcery'"),
        (("--depth", "files:depth.npz"), "put {clip} where"),
        (("--depth", "constant", "--anchor", "zoedepth"), "leave out --anchor"),
        (("--anchor-fit", "robust"), "give --anchor, too"),
        (("--model", "nothing"), "Unknown model 'nothing'"),
        (("--method", "guessed"), "Unknown method 'guessed'"),
    ],
)
def test_wrong_options_of_predict_are_told_before_any_work(kine, data, tmp_path, options, sentence):
    done = run_split(kine, data, tmp_path / "p", *options)
    assert done.code == 2
    assert sentence in done.err
    assert not (tmp_path / "p").exists()
