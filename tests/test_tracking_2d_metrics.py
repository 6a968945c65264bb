"""The TAP-Vid metrics against cases worked out by hand."""

import numpy as np
import pytest

from kinedepth.errors import KinedepthError
from kinedepth.evaluation.tracking_2d import mean_scores, score_tracks

SIZE = (256, 256)


def case(errors, visible, true_visible, size=SIZE, query_frame=0):
    """Scores of one track that is ``errors`` pixels off to the right in each frame."""
    count = len(errors)
    true_xy = np.full((count, 1, 2), 100.0)
    xy = true_xy + np.stack([errors, np.zeros(count)], -1)[:, None]
    return score_tracks(
        xy,
        np.array(visible, bool)[:, None],
        true_xy,
        np.array(true_visible, bool)[:, None],
        np.array([query_frame]),
        size,
    )


def test_the_truth_scores_one_everywhere():
    scores = case([0, 0, 0], [1, 1, 0], [1, 1, 0])
    assert (scores.average_jaccard, scores.points_within, scores.occlusion_accuracy) == (1, 1, 1)


def test_one_point_three_pixels_off_counts_at_three_of_five_thresholds():
    scores = case([0, 0, 3], [1, 1, 1], [1, 1, 1])
    # Two frames count. At 1 and 2 px the far one is both a miss and a false alarm: 1 / (2 + 1).
    np.testing.assert_allclose(scores.jaccard_at, [1 / 3, 1 / 3, 1, 1, 1])
    np.testing.assert_allclose(scores.within_at, [0.5, 0.5, 1, 1, 1])
    assert scores.average_jaccard == pytest.approx((2 / 3 + 3) / 5)
    assert scores.occlusion_accuracy == 1


def test_a_hidden_point_called_visible_is_a_false_alarm_at_every_threshold():
    scores = case([0, 0, 0], [1, 1, 1], [1, 1, 0])
    np.testing.assert_allclose(scores.jaccard_at, 0.5)
    assert scores.points_within == 1
    assert scores.occlusion_accuracy == 0.5


def test_a_visible_point_called_hidden_is_missed_but_still_counts_as_within():
    scores = case([0, 0, 0], [1, 1, 0], [1, 1, 1])
    np.testing.assert_allclose(scores.jaccard_at, 0.5)
    assert scores.points_within == 1


def test_a_distance_equal_to_the_threshold_is_not_close():
    np.testing.assert_array_equal(case([0, 4], [1, 1], [1, 1]).within_at, [0, 0, 0, 1, 1])


def test_distances_are_taken_after_stretching_the_frame_to_256_by_256():
    # 3 px of a 768 px wide frame are 1 px of 256: not strictly nearer than 1, nearer than 2.
    np.testing.assert_array_equal(
        case([0, 3], [1, 1], [1, 1], size=(768, 100)).within_at, [0, 1, 1, 1, 1]
    )


def test_the_query_frame_and_those_before_it_do_not_count():
    late = case([50, 50, 0], [0, 0, 1], [1, 1, 1], query_frame=1)
    assert late.average_jaccard == late.occlusion_accuracy == 1


def test_clips_weigh_the_same_in_the_mean():
    a, b = case([0, 0], [1, 1], [1, 1]), case([0, 0, 0], [1, 0, 0], [1, 1, 1])
    mean = mean_scores([a, b])
    assert mean.average_jaccard == 0.5
    assert mean.occlusion_accuracy == 0.5
    np.testing.assert_array_equal(mean.jaccard_at, 0.5)


def test_what_cannot_be_scored_is_refused():
    with pytest.raises(KinedepthError, match="nothing to score"):
        case([0, 0], [1, 1], [1, 0])
    with pytest.raises(KinedepthError, match="nothing to score"):
        case([0], [1], [1])
    with pytest.raises(KinedepthError, match=r"shape \(2, 1, 2\)"):
        score_tracks(
            np.zeros((2, 1, 2)), np.ones((2, 1)), np.zeros((3, 1, 2)), np.ones((3, 1)), [0], SIZE
        )
    with pytest.raises(KinedepthError, match="no scores"):
        mean_scores([])
