"""``kinedepth eval tapvid3d`` on clips of an approaching wall."""

import csv
import json
import shutil

import numpy as np
import pytest
from approaching_wall import PLACES, figures, row_of, write_prediction

from kinedepth.evaluation.tapvid3d import score_clip
from kinedepth.evaluation.tapvid3d_clips import load_prediction, load_truth
from kinedepth.evaluation.tapvid3d_files import find_clips
from kinedepth.evaluation.tapvid3d_scaling import SCALINGS
from kinedepth.evaluation.tapvid3d_tables import PUBLISHED_PER_TRAJECTORY


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
