"""The ablations: each variant learns, sees what it should, and a row that is done stays done."""

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from kinedepth.errors import KinedepthError
from kinedepth.seurat.model import Tracklets
from kinedepth.seurat.windows import Window, plan_windows
from kinedepth.tracks import Tracks

sys.path.append(str(Path(__file__).resolve().parents[1] / "benchmarks"))

from ablation import clips, pictures, windows
from ablation.budget import Budget
from ablation.networks import (
    Ablated,
    OneBranch,
    OneSet,
    Prepared,
    QueryReference,
    WithPatches,
)
from ablation.rows import OURS, ROWS, SIGMAS
from ablation.runs import Bench, run_row
from ablation.smoothing import smoothed
from ablations import BEGIN, END, put_into, remarks, seed_noise, table, verdict

TINY = Budget(
    held_out=4, clips=0, steps=3, batch=2, width=16, heads=2, grid=5, queries=6
)  # fmt: skip


def made_up_stretch() -> clips.Stretch:
    """A plane that comes closer, and tracks that show it exactly."""
    generator = np.random.default_rng(0)
    closer = np.linspace(0, -0.3, windows.LONG, dtype=np.float32)

    def tracks(points: int, frames: range) -> Tracks:
        start = generator.uniform(-60, 60, (points, 2))
        xy = start * np.exp(-closer[list(frames)] + closer[frames[0]])[:, None, None] + (160, 90)
        return Tracks(xy, np.ones(xy.shape[:2], bool), np.array(0))

    planned = [*plan_windows(windows.LONG, 8, 4, (1, 2)), Window(0, 1, windows.LONG)]
    return clips.Stretch(
        name="clip0000",
        size=(320, 180),
        log_ratio=np.repeat(closer[:, None], 7, 1),
        seen=np.ones((windows.LONG, 7), bool),
        queries=tracks(7, range(windows.LONG)),
        support={window: tracks(25, window.frames) for window in planned},
    )


@pytest.fixture(scope="module")
def bench(tmp_path_factory):
    folder = tmp_path_factory.mktemp("ablations")
    return Bench(folder, folder / "clips", TINY, {"stretches": [made_up_stretch()]})


@pytest.mark.parametrize(
    "name",
    ["ours", "one-branch", "one-set", "no-window", "query-reference", "patches", "iterations-2"],
)
def test_a_row_is_trained_and_scored_where_it_is_measured(bench, name):
    figures = run_row(bench, name)
    assert np.isfinite(figures[ROWS[name].measure]["mean"])
    assert figures[ROWS[name].measure]["count"] > 0


def test_a_row_that_is_done_is_read_and_not_run_again(bench, monkeypatch):
    figures = run_row(bench, "paper")
    monkeypatch.setattr(Ablated, "forward", None)
    monkeypatch.setattr(Ablated, "refine", None)
    assert run_row(bench, "paper") == figures


def test_rows_of_another_budget_are_not_taken_for_this_one(bench):
    run_row(bench, "paper")
    other = replace(bench, budget=replace(TINY, steps=4))
    with pytest.raises(KinedepthError, match="another budget"):
        run_row(other, "paper")
    with pytest.raises(KinedepthError, match="another budget"):
        windows.stored_windows(bench.folder, "fitted", replace(TINY, queries=9))


def test_rows_are_compared_with_rows_that_exist():
    for row in ROWS.values():
        assert row.reference is None or row.reference in ROWS
        assert row.weights_of is None or row.weights_of in ROWS


def some_windows(bench):
    stored = windows.take(bench.stored("fitted"), torch.arange(2))
    return stored, torch.Generator().manual_seed(0)


def shaken(network: Ablated) -> Ablated:
    """Weights away from zero, so that everything matters."""
    torch.manual_seed(1)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return network.eval()


def without(tracks: Tracklets, last: int) -> Tracklets:
    return Tracklets(tracks.position[:, :, :-last], tracks.visible[:, :, :-last])


def test_kept_local_fits_give_what_fresh_ones_give(bench):
    stored, generator = some_windows(bench)
    _, queries, support = Ablated.show(stored, generator)
    assert isinstance(queries, Prepared)
    network = shaken(Ablated(TINY.network(**OURS)))
    plain = [Tracklets(t.position, t.visible) for t in (queries, support)]
    kept, fresh = network(queries, support).log_ratio, network(*plain).log_ratio
    assert fresh.abs().max() > 0.01
    assert torch.allclose(kept, fresh, atol=0.01)  # Kept in half precision.


def test_with_one_branch_a_query_depends_on_the_others_and_on_nothing_else(bench):
    stored, generator = some_windows(bench)
    _, queries, _ = Ablated.show(stored, generator)
    _, _, support = Ablated.show(stored, generator)
    network = shaken(OneBranch(TINY.network()))
    found = network(queries, support).log_ratio
    assert torch.equal(found, network(queries, without(support, 9)).log_ratio)
    fewer = network(without(queries, 2), support).log_ratio
    assert (fewer - found[:, :, :-2]).abs().max() > 1e-4


def test_in_one_set_a_query_depends_on_queries_and_support(bench):
    stored, generator = some_windows(bench)
    _, queries, support = Ablated.show(stored, generator)
    network = shaken(OneSet(TINY.network()))
    found = network(queries, support).log_ratio
    fewer = network(without(queries, 2), support).log_ratio
    assert (fewer - found[:, :, :-2]).abs().max() > 1e-4
    assert (network(queries, without(support, 9)).log_ratio - found).abs().max() > 1e-4


def test_a_ratio_to_the_query_frame_goes_on_from_what_is_carried_in(bench):
    stored, generator = some_windows(bench)
    truth, queries, support = QueryReference.show(stored, generator)
    network = QueryReference(TINY.network())
    with torch.no_grad():  # Untrained, it predicts no change.
        found = network(queries, support).log_ratio
    assert torch.allclose(found, queries.carried[:, None].expand_as(found), atol=1e-6)
    before = truth.queries.log_ratio[:, 0]
    assert (queries.carried - before).abs().max() < 0.3


def test_patches_show_the_colours_around_a_point():
    width, height = 64, 36
    columns = torch.arange(width).expand(2, height, width)
    rows = torch.arange(height)[:, None].expand(2, height, width)
    rgb = torch.stack([columns, rows, torch.zeros_like(rows)], -1).to(torch.uint8)
    pixel = torch.tensor([20.0, 9.0])
    position = ((pixel + 0.5) * 2 - torch.tensor([width, height])) / width
    patch = pictures.cut(rgb, position.expand(2, 3, 2)).view(2, 3, 5, 5, 3)
    assert torch.equal(patch[1, 2, 2, 2], torch.tensor([20, 9, 0], dtype=torch.uint8))
    assert torch.equal(patch[1, 2, 0, 4], torch.tensor([22, 7, 0], dtype=torch.uint8))


def test_patches_reach_the_prediction(bench):
    stored = windows.take(bench.stored("rendered test"), torch.arange(1))
    _, queries, support = WithPatches.show(stored, torch.Generator())
    network = shaken(WithPatches(TINY.network()))
    other = replace(queries, patches=255 - queries.patches)
    assert (network(queries, support).log_ratio - network(other, support).log_ratio).any()


def test_crowded_queries_sit_on_one_body_and_spread_ones_do_not():
    found = windows.held_out(replace(TINY, held_out=8, queries=24))
    for crowded, spread in zip(found["crowded"], found["spread"], strict=True):
        assert torch.equal(crowded.support.position, spread.support.position)
        extent = [w.queries.position[:, 0].std(dim=1).mean() for w in (crowded, spread)]
        assert extent[0] < 0.6 * extent[1]


def test_smoothing_takes_out_flicker_and_keeps_slow_change():
    time = np.arange(24)[:, None]
    slow, flicker = 0.01 * time, 0.1 * (-1.0) ** time
    steady = smoothed(slow + flicker, 2.0)
    assert np.ptp((steady - slow)[6:-6]) < 0.003
    assert np.allclose(smoothed(slow + flicker, 0.0), slow + flicker - 0.1)


def test_a_direction_is_told_only_beyond_what_seeds_make():
    def rows(error: float) -> dict:
        return {"paper": {"spread": {"mean": 0.1}}, "layers-1": {"spread": {"mean": error}}}

    noise = {"paper": {"spread": 0.02}}
    assert verdict("layers-1", rows(0.11), noise) == "agrees"
    assert verdict("layers-1", rows(0.09), noise) == "disagrees"
    assert verdict("layers-1", rows(0.103), noise) == "within noise"


def test_the_table_has_a_line_for_each_row_that_is_done(tmp_path):
    figures = {"mean": 0.1, "within_10": 0.8, "moving": 0.2}
    formulas = {key: {"spread": figures} for key in ("constant", "density", "robust")}
    formulas |= {f"smoothing {sigma:g}": {"clips": figures} for sigma in SIGMAS}
    worse = {"spread": figures | {"mean": 0.12}}
    rows = {"paper": {"spread": figures}, "paper-seed-1": worse, "layers-1": worse}
    noise = seed_noise(rows)
    assert noise == {"paper": {"spread": pytest.approx(0.2)}}
    columns, cells = table(formulas, rows, noise)
    assert len(cells) == 3 + len(SIGMAS) + len(rows)
    assert all(len(line) == len(columns) for line in cells)
    assert cells[-1][-3:] == ["+9 % (spread)", "15.5", "within noise"]
    notes = remarks(rows, noise)
    assert "no-window" in notes
    assert "layers-1" not in notes
    page = tmp_path / "page.md"
    page.write_text(f"before\n{BEGIN}\nold\n{END}\nafter\n")
    for _ in range(2):
        put_into(page, columns, cells, notes)
    text = page.read_text()
    assert text.startswith("before\n")
    assert text.endswith("after\n")
    assert "old" not in text
    assert text.count("| 15.5 |") == 1
