"""How the benchmark of RollingDepth's ways predicts once for all of them, and compares them."""

import sys
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("diffusers")
pytest.importorskip("transformers")

from rolling_reference import write_tiny_pipeline

from kinedepth.dense.rolling_depth.components import load_components
from kinedepth.training.footage_folders import find_videos
from kinedepth.training.held_out_footage import score_one
from kinedepth.training.rendered_clips import write_training_clips

sys.path.append(str(Path(__file__).resolve().parents[1] / "benchmarks"))
import _rolling_ways as ways

SIZE = 32


@pytest.fixture(scope="module")
def parts(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pipeline")
    write_tiny_pipeline(folder)
    return load_components(folder)


@pytest.fixture(scope="module")
def footage(tmp_path_factory):
    folder = tmp_path_factory.mktemp("clips")
    write_training_clips(folder, 1, frames=10, width=SIZE, height=SIZE, seed=1, scenes="static")
    return find_videos(folder)[0]


def test_predicting_once_for_all_ways_gives_what_each_way_gives_alone(parts, footage):
    found, _ = ways.scored(parts, footage)
    assert found.keys() == ways.WAYS.keys()
    for way, settings in ways.WAYS.items():
        alone = score_one(parts, footage, SIZE, settings, ways.FRAMES)
        assert found[way]["abs_rel"] == pytest.approx(alone.abs_rel, rel=1e-4)


def test_a_refinement_that_goes_on_from_kept_depth_is_that_of_a_whole_run(
    parts, footage, monkeypatch
):
    settings = ways.aligned(ways.ALL, 2)
    monkeypatch.setattr(ways, "REFINED_WAYS", {"refined": settings})
    _, depth = ways.scored(parts, footage)
    found = ways.refined(parts, footage, depth)["refined"]["abs_rel"]
    alone = score_one(parts, footage, SIZE, settings, ways.FRAMES)
    assert found == pytest.approx(alone.abs_rel, rel=1e-4)


def test_differences_are_of_single_clips_with_their_standard_error():
    random = np.random.default_rng(0)
    hard = random.uniform(0.1, 1.0, 30)  # What differs between clips is no difference of ways.
    gain = 0.01 + 0.001 * random.standard_normal(30)
    clips = {
        "one": [{"abs_rel": a - g, "delta1": 0.5} for a, g in zip(hard, gain, strict=True)],
        "other": [{"abs_rel": a, "delta1": 0.5} for a in hard],
    }
    answer = ways.answered(clips, "one", "other")
    assert answer["abs_rel"]["mean"] == pytest.approx(-gain.mean())
    assert answer["abs_rel"]["standard_error"] == pytest.approx(gain.std(ddof=1) / np.sqrt(30))
    assert answer["abs_rel"]["lower_on"] == 30
    assert answer["abs_rel"]["beyond_chance"]
    assert not answer["delta1"]["beyond_chance"]
    noise = [
        {"abs_rel": a + n, "delta1": 0.5} for a, n in zip(hard, gain - gain.mean(), strict=True)
    ]
    assert not ways.answered({**clips, "one": noise}, "one", "other")["abs_rel"]["beyond_chance"]
