"""How exact are the embedded trackers? TAP-Vid metrics on rendered clips with known tracks.

    python benchmarks/tracker_accuracy.py

Renders clips of 48 frames at 640x360 with 256 points each, half of them with rich and half with
poor texture, from seeds that nothing was tuned on, tracks the points with every embedded
tracker, prints a table and writes it to ``benchmarks/results/tracker_accuracy.json``.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence

import numpy as np
from _report import print_table, write_results

from kinedepth.evaluation.tracking_2d import TrackingScores, mean_scores, score_tracks
from kinedepth.synthesis.clips import Clip, make_clip
from kinedepth.tracking.base import TrackingJob
from kinedepth.tracking.registry import TRACKERS, make_tracker
from kinedepth.tracks import Queries
from kinedepth.video import Video

FIRST_SEED = 9001
"""Clips of the seeds from here on were not looked at while the tracker was built."""
RICHNESS = ("rich", "poor")


def measure(clip: Clip, tracker: str) -> tuple[TrackingScores, float]:
    """Scores of one tracker on one clip, and the seconds it took."""
    video = Video.from_array(clip.frames, clip.fps)
    start = clip.queries_xyt[:, 2].astype(np.int64)
    job = TrackingJob(Queries(clip.queries_xyt[:, :2], start), range(len(clip.frames)))
    began = time.perf_counter()
    ((_, tracks),) = make_tracker(tracker).track(video, [job])
    seconds = time.perf_counter() - began
    size = (video.width, video.height)
    scores = score_tracks(
        tracks.xy, tracks.visible, clip.tracks_xy, clip.visibility, tracks.query_frame, size
    )
    return scores, seconds


def summary(scores: Sequence[TrackingScores], seconds: Sequence[float]) -> dict[str, object]:
    """The row of one tracker: percentages, averaged over clips."""
    mean = mean_scores(scores)
    return {
        "AJ": round(100 * mean.average_jaccard, 1),
        "within": round(100 * mean.points_within, 1),
        "OA": round(100 * mean.occlusion_accuracy, 1),
        "within 1, 2, 4, 8, 16 px": [round(100 * float(share), 1) for share in mean.within_at],
        "AJ of each clip": [round(100 * each.average_jaccard, 1) for each in scores],
        "seconds a clip": round(float(np.mean(seconds)), 1),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--clips", type=int, default=6, help="clips of each richness")
    parser.add_argument("--frames", type=int, default=48)
    parser.add_argument("--first-seed", type=int, default=FIRST_SEED)
    arguments = parser.parse_args()

    table: dict[str, dict[str, dict[str, object]]] = {}
    for richness in RICHNESS:
        measured: dict[str, list[tuple[TrackingScores, float]]] = {name: [] for name in TRACKERS}
        for seed in range(arguments.first_seed, arguments.first_seed + arguments.clips):
            clip = make_clip(seed, frames=arguments.frames, richness=richness)
            for name in TRACKERS:
                measured[name].append(measure(clip, name))
        table[richness] = {
            name: summary([s for s, _ in rows], [t for _, t in rows])
            for name, rows in measured.items()
        }

    columns = ["AJ", "within", "OA", "seconds a clip"]
    print_table(
        "TAP-Vid metrics at 256x256, percent",
        ["texture, tracker", *columns],
        [
            [f"{richness}, {name}", *(str(row[column]) for column in columns)]
            for richness, rows in table.items()
            for name, row in rows.items()
        ],
    )
    figures = {
        "what": "TAP-Vid metrics at 256x256, frames after the query, mean over clips, percent",
        "clips": f"{arguments.clips} of each richness, {arguments.frames} frames, 640x360, "
        f"256 points from the first frame, seeds from {arguments.first_seed}",
        "table": table,
    }
    print("written:", write_results("tracker_accuracy", figures).name)


if __name__ == "__main__":
    main()
