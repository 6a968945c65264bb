"""The embedded tracker: dense flow over several frame intervals, chained point by point.

It needs no weights. The idea of asking flows over several intervals and believing the most
consistent one is that of MFT (Neoral, Serych & Matas, "MFT: Long-Term Tracking of Every Pixel",
WACV 2024, section 3); there a network judges each flow, here forward-backward agreement and the
look of the point do.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from kinedepth.tracking._dense_flow import DenseFlow
from kinedepth.tracking._passes import follow
from kinedepth.tracking._patches import RADIUS, Templates, align, cut, dissimilarity
from kinedepth.tracking.base import Progress, TrackingJob
from kinedepth.tracks import Tracks
from kinedepth.video import Video

INTERVALS = (1, 2, 4, 8, 16)
"""Frame intervals that dense flow is computed over."""

class _State:
    """What is known of all points in one frame.

    xy (N, 2), variance (N,) in square pixels, visible (N,), known (N,) whether the point had
    been seeded by then.
    """

    def __init__(self, xy, variance, visible, known):
        self.xy, self.variance, self.visible, self.known = xy, variance, visible, known

    @classmethod
    def unknown(cls, count):
        return cls(np.zeros((count, 2)), np.full(count, np.inf), np.zeros(count, bool), np.zeros(count, bool))

    def joined(self, o):
        return _State(*(np.concatenate([getattr(self, k), getattr(o, k)]) for k in ("xy", "variance", "visible", "known")))

    def chosen(self, m):
        return _State(self.xy[m], self.variance[m], self.visible[m], self.known[m])


P = dict(base=0.02, fbw=0.25, hid=25.0, appw=4.0, trust=0.7, near=1.5, vis_app=0.35, vis_fb=1.0, vis_rel=0.05, iters=6, preset=cv2.DISOPTICAL_FLOW_PRESET_MEDIUM, refvar=0.02, intervals=INTERVALS)


class _FlowFollower:
    def __init__(self, width: int, height: int) -> None:
        self._size = np.array([width, height])
        self._flow = DenseFlow(P["preset"])
        self._images = []
        self._states = []
        self._templates = Templates.empty()

    def advance(self, image: NDArray[np.uint8]) -> None:
        grey = np.asarray(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), np.uint8)
        soft = grey.astype(np.float32)
        if self._states and len(self._states[-1].known):
            state = self._carry(grey, soft)
        else:
            self._images.clear(); self._states.clear()
            state = _State.unknown(0)
        keep = max(P["intervals"])
        self._images = [*self._images[-(keep - 1):], (grey, soft)]
        self._states = [*self._states[-(keep - 1):], state]

    def _carry(self, grey, soft):
        count = len(self._states[-1].known)
        K = len(P["intervals"])
        xy = np.zeros((K, count, 2)); cost = np.full((K, count), np.inf); var = np.full((K, count), np.inf)
        fbs = np.full((K, count), np.inf); app = np.full((K, count), np.inf); srcvis = np.zeros((K, count), bool); motion=np.zeros((K,count))
        for k, interval in enumerate(P["intervals"]):
            if interval > len(self._states): continue
            source = self._states[-interval]
            have = np.flatnonzero(source.known)
            if not len(have): continue
            pair = self._flow.between(self._images[-interval][0], grey)
            arrived, error = pair.carry(source.xy[have])
            arrived = np.clip(arrived, -0.5 * self._size, 1.5 * self._size)
            xy[k, have] = arrived
            fbs[k, have] = error
            srcvis[k, have] = source.visible[have]
            motion[k, have] = np.hypot(*(arrived - source.xy[have]).T)
            var[k, have] = source.variance[have] + P["base"] + P["fbw"] * error**2
            app[k, have] = dissimilarity(cut(soft, arrived), self._templates.grey[have])
            cost[k, have] = var[k, have] + P["hid"] * ~source.visible[have] + P["appw"] * app[k, have]
        best = cost.argmin(0); idx = np.arange(count)
        chosen = xy[best, idx]
        variance = np.minimum(var[best, idx], 1e4)
        a0 = app[best, idx]
        refined = align(soft, chosen, self._templates, P["trust"], P["iters"])
        a1 = dissimilarity(cut(soft, refined), self._templates.grey)
        moved = np.hypot(*(refined - chosen).T)
        good = (moved < P["near"]) & (a1 <= a0) & (a1 < 0.3)
        chosen = np.where(good[:, None], refined, chosen)
        a = np.where(good, a1, a0)
        variance = np.where(good & (a1 < 0.1), np.minimum(variance, P["refvar"] + moved ** 2 * .1), variance)
        fb = fbs[best, idx]
        visible = srcvis[best, idx] & (fb < P["vis_fb"] + P["vis_rel"] * motion[best, idx]) & (a < P["vis_app"])
        visible &= ((chosen > -0.5) & (chosen < self._size - 0.5)).all(1)
        self.debug = dict(xy=xy, fb=fbs, app=app, best=best, a0=a0, a1=a1, good=good, a=a, srcvis=srcvis, motion=motion)
        return _State(chosen, variance, visible, np.ones(count, bool))

    def seed(self, xy):
        new = _State(xy, np.zeros(len(xy)), np.ones(len(xy), bool), np.ones(len(xy), bool))
        blank = _State.unknown(len(xy))
        self._states = [s.joined(blank) for s in self._states[:-1]] + [self._states[-1].joined(new)]
        self._templates = self._templates.joined(Templates.of(self._images[-1][1], xy))

    def keep(self, mask):
        self._states = [s.chosen(mask) for s in self._states]
        self._templates = self._templates.chosen(mask)

    def positions(self):
        return self._states[-1].xy

    def visible(self):
        return self._states[-1].visible


class FlowTracker:
    """Dense flow over several intervals, chained; no weights, no randomness."""

    name = "flow"

    def track(
        self, video: Video, jobs: Sequence[TrackingJob], progress: Progress | None = None
    ) -> Iterator[tuple[int, Tracks]]:
        """As :class:`kinedepth.tracking.base.Tracker` asks."""
        return follow(video, jobs, _FlowFollower, progress)
