"""``kinedepth predict tapvid3d`` on clips of an approaching wall."""

import numpy as np
import pytest
import torch
from approaching_wall import DEPTH, FRAMES, HEIGHT, PLACES, TINY, WIDTH, figures, row_of

from kinedepth.errors import KinedepthError
from kinedepth.evaluation.tapvid3d_clips import load_prediction, load_truth
from kinedepth.evaluation.tapvid3d_files import find_clips
from kinedepth.lifting import lift
from kinedepth.prediction.clips import BenchmarkClip
from kinedepth.prediction.depth_sources import ModelDepth, read_bilinear
from kinedepth.prediction.methods import UnprojectMethod, make_method
from kinedepth.prediction.split import predict_split
from kinedepth.seurat.checkpoint import save_checkpoint
from kinedepth.seurat.model import Seurat


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
