"""Videos that are steadied in blocks."""

import numpy as np
from steady_scenes import flicker, frame_noise, lift_known_tracks, numbered_video, true_depth

from kinedepth.depth import DepthVideo
from kinedepth.steadying.steadier import Steadier, steady_depth


def test_a_long_video_is_steadied_in_blocks_without_seams(monkeypatch):
    frames = 130
    truth = true_depth(frames)
    asked = lift_known_tracks(monkeypatch, truth)
    noisy = (truth * np.exp(frame_noise(0.1, frames))).astype(np.float32)
    result = steady_depth(numbered_video(frames), DepthVideo(noisy, "metric", 25.0, True))
    assert len(asked) == 3
    assert result.kind == "metric"
    changes = np.abs(np.diff(np.log(result.depth / truth), axis=0)).max(axis=(1, 2))
    assert changes.max() < 0.05
    assert flicker(result.depth, truth) < 0.05 * flicker(noisy, truth)


def test_blocks_that_are_done_are_not_looked_at_again(monkeypatch, tmp_path):
    frames = 130
    truth = true_depth(frames).astype(np.float32)
    asked = lift_known_tracks(monkeypatch, truth)
    video = numbered_video(frames)

    def make():
        return Steadier(video, lambda start, stop: truth[start:stop], "metric", tmp_path)

    make().fit()
    (tmp_path / sorted(path.name for path in tmp_path.iterdir())[1]).unlink()
    facts = make().fit()
    assert len(asked) == 4
    assert asked[3] == asked[1]
    assert facts == {"frame_flicker": 0.0, "region_flicker": 0.0}


def test_progress_is_told_within_blocks_and_never_goes_back(monkeypatch, tmp_path):
    truth = true_depth(130).astype(np.float32)
    lift_known_tracks(monkeypatch, truth)
    told = []
    steadier = Steadier(numbered_video(130), lambda a, b: truth[a:b], "metric", tmp_path)
    steadier.fit(lambda done, total: told.append((done, total)))
    done = [each for each, _ in told]
    assert done == sorted(done)
    assert {total for _, total in told} == {130}
    assert len(set(done)) >= 6
    assert done[-1] == 130
