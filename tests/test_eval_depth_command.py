"""``kinedepth eval depth``: the table, its files, and gaps named all at once."""

import csv
import json

import cv2
import numpy as np
import pytest

SHAPE = (12, 16)
TRUE = np.random.default_rng(0).uniform(1, 5, (3, *SHAPE))


@pytest.fixture
def score(kine):
    """Runs ``kinedepth eval depth``."""
    return lambda *arguments: kine("eval", "depth", *arguments)


@pytest.fixture
def folders(tmp_path):
    """Truth of three rendered clips, and predictions that are 10, 20 and 30 per cent off."""
    truth, predictions = tmp_path / "truth", tmp_path / "predictions"
    truth.mkdir()
    predictions.mkdir()
    for i, name in enumerate(("one", "two", "three"), start=1):
        np.savez(truth / f"{name}_depth.npz", depth=TRUE, kind=np.array("metric"))
        write(predictions / f"{name}.npz", (1 + 0.1 * i) * TRUE)
    return truth, predictions


def write(path, depth, kind="metric"):
    path.parent.mkdir(exist_ok=True)
    np.savez(path, depth=np.asarray(depth, np.float32), kind=np.array(kind), fps=np.array(25.0))


def test_the_table_has_a_row_for_each_clip_and_the_mean(score, folders):
    truth, predictions = folders
    code, out, _ = score("--predictions", predictions, "--truth", truth)
    assert code == 0
    rows = {line.split("│")[1].strip(): line for line in out.splitlines() if "│" in line}
    assert list(rows) == ["one", "three", "two", "mean of 3"]
    assert "0.2000" in rows["mean of 3"]
    assert "0.3000" in rows["three"]
    assert "synth, alignment: none" in out
    assert "TAE" not in out.splitlines()[2]


def test_json_and_csv_hold_every_digit(score, folders, tmp_path):
    truth, predictions = folders
    for name in ("scores.json", "scores.csv"):
        code, out, _ = score("--predictions", predictions, "--truth", truth, "-o", tmp_path / name)
        assert (code, out.splitlines()[-1]) == (0, f"Wrote {tmp_path / name}.")
    record = json.loads((tmp_path / "scores.json").read_text())
    with (tmp_path / "scores.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert record["dataset"] == "synth"
    assert record["mean"]["abs_rel"] == pytest.approx(0.2, rel=1e-6)
    assert [row["clip"] for row in rows] == ["", "one", "three", "two"]
    assert [float(row["abs_rel"]) for row in rows[1:]] == [
        clip["abs_rel"] for clip in record["clips"]
    ]
    assert rows[0]["tae"] == ""
    assert record["mean"]["tae"] is None


def test_every_gap_is_named_in_one_error(score, folders):
    truth, predictions = folders
    (predictions / "one.npz").unlink()
    write(predictions / "two.npz", TRUE[:2])
    (predictions / "three.npz").write_bytes(b"PK")
    write(predictions / "four.npz", TRUE)
    (predictions / "notes.txt").write_text("not a prediction")
    code, out, err = score("--predictions", predictions, "--truth", truth)
    assert (code, out) == (2, "")
    assert len(err.splitlines()) == 1
    for part in (
        "1 missing (one)",
        "2 unusable (three:",
        "two: the prediction has 2 frames of the 3 needed",
        "1 that no clip belongs to (four.npz)",
        "--allow-missing",
    ):
        assert part in err
    assert "notes" not in err


def test_what_is_missing_can_be_left_out_of_the_mean(score, folders):
    truth, predictions = folders
    (predictions / "one.npz").unlink()
    code, out, err = score("--predictions", predictions, "--truth", truth, "--allow-missing")
    assert code == 0
    assert "warning: left out of the mean, 1 missing (one)." in err
    assert "mean of 2" in out
    assert "0.2500" in out


def test_nothing_to_score_is_an_error_even_where_gaps_are_allowed(score, folders, tmp_path):
    empty = tmp_path / "empty"
    empty.mkdir()
    code, _, err = score("--predictions", empty, "--truth", folders[0], "--allow-missing")
    assert code == 2
    assert "No prediction in" in err


def test_folders_of_a_run_and_of_images_are_predictions_too(score, folders):
    truth, predictions = folders
    for name in ("one", "two"):
        (predictions / f"{name}.npz").unlink()
    write(predictions / "one" / "depth.npz", 1.1 * TRUE)
    (predictions / "two").mkdir()
    for i, frame in enumerate(TRUE):
        cv2.imwrite(str(predictions / f"two/{i}.png"), (1200 * frame).astype(np.uint16))
    write(predictions / "three.npz", 1 / TRUE, "affine_invariant_disparity")
    # PNG files without a scale do not say what they mean.
    code, _, err = score("--predictions", predictions, "--truth", truth)
    assert code == 2
    assert "1 unusable (two:" in err
    code, out, _ = score("--predictions", predictions, "--truth", truth, "--allow-missing")
    assert code == 0
    assert "alignment: see the clip" in out
    assert "scale-shift in disparity" in out


def test_two_predictions_of_one_clip_are_told(score, folders):
    truth, predictions = folders
    write(predictions / "one" / "depth.npz", TRUE)
    code, _, err = score("--predictions", predictions, "--truth", truth)
    assert code == 2
    assert "one: both one.npz and one/ exist" in err


def test_kind_and_alignment_can_be_given(score, folders):
    truth, predictions = folders
    for name in ("one", "two", "three"):
        write(predictions / f"{name}.npz", 3 / TRUE + 1)
    kind = ("--kind", "affine_invariant_disparity")
    code, out, _ = score("--predictions", predictions, "--truth", truth, *kind)
    assert code == 0
    assert "0.0000" in out
    code, out, _ = score("--predictions", predictions, "--truth", truth, "--alignment", "median")
    assert "alignment: median in depth" in out


def test_as_published_is_said_in_the_table(score, folders):
    truth, predictions = folders
    code, out, _ = score("--predictions", predictions, "--truth", truth, "--as-published")
    assert code == 0
    assert "scale-shift in disparity, as published" in out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--dataset", "tum"], "Unknown data set 'tum'"),
        (["--alignment", "mean"], "Unknown alignment 'mean'"),
        (["--kind", "depth"], "Unknown kind of depth 'depth'"),
        (["--output", "scores.txt"], "written as .json or .csv"),
        (["--output", "absent/scores.csv"], "There is no folder absent"),
        (["--predictions", "absent"], "There is no folder absent with predictions"),
        (["--truth", "absent"], "There is no folder absent with true depth"),
    ],
)
def test_wrong_usage_is_one_line(score, folders, arguments, message):
    code, out, err = score("--predictions", folders[1], "--truth", folders[0], *arguments)
    assert (code, out) == (2, "")
    assert message in err
    assert len(err.splitlines()) == 1
