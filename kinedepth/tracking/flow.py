"""The embedded tracker: dense flow over several frame intervals, chained point by point.

It needs no weights. That flows over several intervals are chained and the most consistent
chain is believed is the idea of MFT (Neoral, Serych & Matas, "MFT: Long-Term Tracking of Every
Pixel", WACV 2024, section 3). There a network judges each flow; here its way there and back and
the look of the point do, and alignment with the seed's patch takes the drift out.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields

import cv2
import numpy as np
from numpy.typing import NDArray

from kinedepth.tracking._alignment import Templates, align
from kinedepth.tracking._chaining import Proposals, Snapshot
from kinedepth.tracking._contrast import raise_contrast
from kinedepth.tracking._dense_flow import DenseFlow
from kinedepth.tracking._passes import FollowingTracker
from kinedepth.tracking._patches import cut, dissimilarity
from kinedepth.tracking._sampling import bilinear

LARGEST_VARIANCE = 1e4
"""Square pixels; bounded, so that after a long occlusion chains can still be told apart."""


@dataclass(frozen=True)
class FlowSettings:
    """What the tracker believes; pixels are those of the working image.

    The defaults were tuned on rendered clips other than the ones of
    ``benchmarks/tracker_accuracy.py``; results change little around them.
    """

    intervals: tuple[int, ...] = (1, 2, 4, 8, 16, 32)
    """Frame intervals that flow is computed over: the longer, the less drift adds up and the
    longer an occlusion may last, but the more often flow goes wrong altogether."""
    step_variance: float = 0.02
    """Square pixels of error that a flow adds even if it agrees with the way back."""
    error_weight: float = 0.25
    """Share of the squared forward-backward error that a flow adds to the variance."""
    hidden_cost: float = 25.0
    """Square pixels charged to a chain that starts where the point was hidden."""
    unlike_cost: float = 4.0
    """Square pixels charged to a chain that ends at a patch fully unlike the seed's."""
    start_deviation: float = 0.4
    """Pixels by which a chain is expected to be off when alignment starts."""
    shape_deviation: float = 0.15
    """Pixels at a patch's side by which its shape is expected to change between frames."""
    aligned_reach: float = 1.5
    """Pixels that alignment may move a point; further, it has found something else."""
    aligned_growth: float = 5.0
    """Factor by which a patch's area may have grown or shrunk since its seed."""
    aligned_unlike: float = 0.3
    """Dissimilarity from which an alignment is not believed."""
    anchored_unlike: float = 0.1
    """Dissimilarity below which the aligned point counts as anchored to its seed again..."""
    anchored_variance: float = 0.02
    """... with this variance, in square pixels."""
    visible_error: float = 0.6
    """Forward-backward error, in pixels, within which a point may count as visible..."""
    visible_motion: float = 0.03
    """... more by this share of its motion..."""
    visible_flat: float = 2.5
    """... and by up to this many pixels where nothing but noise guides the flow."""
    visible_unlike: float = 0.35
    """Dissimilarity to the seed from which a point counts as hidden."""
    visible_colour: float = 20.0
    """Change of colour (0 to 255, any channel) since last seen from which it does, too."""
    visible_doubt: float = 0.7
    """Square pixels of doubt from which it does, too: squared forward-backward errors, added up
    along the believed chain until the point's look settles where it is. Smaller, fewer but
    surer points; on fast motion over plain walls this decides whether claims can be trusted."""
    doubt_pace: float = 15.0
    """Pixels of motion a frame from which an error counts in full. The way back understates
    how far flow is off, and the more so the faster the motion; slower, errors count less..."""
    doubt_share: float = 0.1
    """... in proportion, down to this share."""
    doubt_slack: float = 3.0
    """Doubt that is left at an anchored point, as a multiple of the variance with which its
    patch can be aligned along its weakest direction."""


class FlowFollower:
    """Follows points by the chains that :class:`FlowSettings` describes."""

    def __init__(self, width: int, height: int, settings: FlowSettings) -> None:
        self._size = np.array([width, height])
        self._settings = settings
        self._flow = DenseFlow()
        # Frames with raised contrast, for dense flow, and what was known in them. The newest
        # last; as far back as the longest interval reaches.
        self._greys: list[NDArray[np.uint8]] = []
        self._snapshots: list[Snapshot] = []
        self._image: NDArray[np.float32] = np.zeros((height, width), np.float32)
        self._colours: NDArray[np.float32] = np.zeros((height, width, 3), np.float32)
        self._templates = Templates.empty()
        self._last_colour = np.zeros((0, 3), np.float32)

    def advance(self, image: NDArray[np.uint8]) -> None:
        """Carry all points into ``image (h, w, 3)``."""
        grey = np.asarray(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), np.uint8)
        raised = raise_contrast(grey)
        self._image = grey.astype(np.float32)
        self._colours = np.asarray(cv2.blur(image, (5, 5)), np.float32)
        if self._snapshots and len(self._snapshots[-1]):
            snapshot = self._carry(raised)
        else:
            self._greys.clear()
            self._snapshots.clear()
            snapshot = Snapshot.unknown(0)
        reach = max(self._settings.intervals)
        self._greys = [*self._greys, raised][-reach:]
        self._snapshots = [*self._snapshots, snapshot][-reach:]

    def _carry(self, grey: NDArray[np.uint8]) -> Snapshot:
        """The points in the new frame, given as dense flow wants it: ``grey (h, w)``."""
        settings = self._settings
        proposals = self._propose(grey)
        best = proposals.believe(settings.hidden_cost, settings.unlike_cost)
        each = np.arange(len(best))
        start, before = proposals.xy[best, each], proposals.unlike[best, each]

        aligned, shape = align(
            self._image,
            start,
            self._templates,
            settings.start_deviation,
            settings.shape_deviation,
        )
        after = dissimilarity(cut(self._image, aligned, shape), self._templates.grey)
        moved = np.hypot(*(aligned - start).T)
        better = (after <= before) & (after < settings.aligned_unlike)
        growth = np.linalg.det(shape)
        better &= (growth > 1 / settings.aligned_growth) & (growth < settings.aligned_growth)
        better &= moved < settings.aligned_reach
        xy = np.where(better[:, None], aligned, start)
        unlike = np.where(better, after, before)
        self._templates.shape[better] = shape[better]

        variance = proposals.variance[best, each]
        anchored = better & (unlike < settings.anchored_unlike)
        # How far alignment had to move it hints at how far it may still be off.
        anchored_variance = settings.anchored_variance + 0.1 * moved**2
        variance = np.where(anchored, np.minimum(variance, anchored_variance), variance)
        variance = np.minimum(variance, LARGEST_VARIANCE)

        # On a plain wall or along an edge, patches look alike wherever they are: there the look
        # says nothing, and the doubt of the way stays.
        vouched = settings.doubt_slack * self._templates.slack + 0.1 * moved**2
        doubt = proposals.doubt[best, each]
        doubt = np.where(anchored, np.minimum(doubt, vouched), doubt)
        doubt = np.minimum(doubt, LARGEST_VARIANCE)

        visible = self._sees(proposals, best, xy, unlike, doubt)
        return Snapshot(xy, variance, doubt, visible, np.ones(len(xy), bool))

    def _propose(self, grey: NDArray[np.uint8]) -> Proposals:
        """Let the flow over every interval carry the points that are old enough for it."""
        settings = self._settings
        proposals = Proposals(len(settings.intervals), len(self._snapshots[-1]))
        for k, interval in enumerate(settings.intervals):
            if interval > len(self._snapshots):
                continue
            source = self._snapshots[-interval]
            have = np.flatnonzero(source.known)
            if not len(have):
                continue
            pair = self._flow.between(self._greys[-interval], grey)
            arrived, error = pair.carry(source.xy[have])
            arrived = np.clip(arrived, -0.5 * self._size, 1.5 * self._size)
            proposals.xy[k, have] = arrived
            proposals.error[k, have] = error
            proposals.motion[k, have] = np.hypot(*(arrived - source.xy[have]).T)
            proposals.from_visible[k, have] = source.visible[have]
            proposals.variance[k, have] = (
                source.variance[have] + settings.step_variance + settings.error_weight * error**2
            )
            pace = proposals.motion[k, have] / interval
            charged = np.clip(pace / settings.doubt_pace, settings.doubt_share, 1)
            proposals.doubt[k, have] = source.doubt[have] + charged * error**2
            patches = cut(self._image, arrived, self._templates.shape[have])
            proposals.unlike[k, have] = dissimilarity(patches, self._templates.grey[have])
        return proposals

    def _sees(
        self,
        proposals: Proposals,
        best: NDArray[np.intp],
        xy: NDArray[np.float64],
        unlike: NDArray[np.float64],
        doubt: NDArray[np.float64],
    ) -> NDArray[np.bool_]:
        """``(N,)`` whether each point is visible at ``xy (N, 2)``.

        Position and visibility want different chains: a long interval keeps the position over
        an occlusion but disagrees more with its way back. So each chain from a visible source
        is held to a tolerance of its own, and the believed one must pass. Each step may pass
        and the way still be wrong, so what all steps left in ``doubt (N,)`` must pass as well.
        """
        settings = self._settings
        each = np.arange(len(best))
        tolerance = (
            settings.visible_error
            + settings.visible_motion * proposals.motion[best, each]
            + settings.visible_flat * self._templates.flatness
        )
        colour = bilinear(self._colours, xy[:, 0], xy[:, 1])
        same_colour = np.abs(colour - self._last_colour).max(1) < settings.visible_colour
        visible = (
            proposals.from_visible[best, each]
            & (proposals.error[best, each] < tolerance)
            & (unlike < settings.visible_unlike)
            & (doubt < settings.visible_doubt)
            & same_colour
            & ((xy > -0.5) & (xy < self._size - 0.5)).all(1)
        )
        self._last_colour = np.where(visible[:, None], colour, self._last_colour)
        return visible

    def seed(self, xy: NDArray[np.float64]) -> None:
        """Add points ``(M, 2)`` to the newest frame."""
        earlier, newest = self._snapshots[:-1], self._snapshots[-1]
        blank = Snapshot.unknown(len(xy))
        self._snapshots = [each.joined(blank) for each in earlier]
        self._snapshots.append(newest.joined(Snapshot.seeds(xy)))
        self._templates = self._templates.joined(Templates.of(self._image, xy))
        colour = bilinear(self._colours, xy[:, 0], xy[:, 1])
        self._last_colour = np.concatenate([self._last_colour, colour])

    def keep(self, mask: NDArray[np.bool_]) -> None:
        """Forget the points outside ``mask (N,)``."""
        self._snapshots = [each.chosen(mask) for each in self._snapshots]
        self._templates = self._templates.chosen(mask)
        self._last_colour = self._last_colour[mask]

    def positions(self) -> NDArray[np.float64]:
        """``(N, 2)`` in the newest frame."""
        return self._snapshots[-1].xy

    def visible(self) -> NDArray[np.bool_]:
        """``(N,)`` in the newest frame."""
        return self._snapshots[-1].visible

    def state(self) -> dict[str, NDArray]:
        """Frames and snapshots as far back as the longest interval reaches, and the templates.

        The newest image itself is left out: it serves seeds, which are in it by now.
        """
        state: dict[str, NDArray] = {"last_colour": self._last_colour}
        state["greys"] = np.array(self._greys, np.uint8)
        for name in _names_of(Snapshot):
            state[f"snapshot.{name}"] = np.array([getattr(s, name) for s in self._snapshots])
        for name in _names_of(Templates):
            state[f"template.{name}"] = getattr(self._templates, name)
        return state

    def restore(self, state: Mapping[str, NDArray]) -> None:
        """Become what a follower was that gave this ``state``."""
        self._greys = list(state["greys"])
        self._last_colour = state["last_colour"]
        columns = [state[f"snapshot.{name}"] for name in _names_of(Snapshot)]
        self._snapshots = [Snapshot(*values) for values in zip(*columns, strict=True)]
        self._templates = Templates(*(state[f"template.{n}"] for n in _names_of(Templates)))


def _names_of(kind: type[Snapshot] | type[Templates]) -> list[str]:
    return [field.name for field in fields(kind)]


class FlowTracker(FollowingTracker):
    """Dense flow over several intervals, chained; no weights, no randomness."""

    name = "flow"

    def __init__(self, settings: FlowSettings | None = None) -> None:
        self._settings = settings or FlowSettings()

    def make_follower(self, width: int, height: int) -> FlowFollower:
        """For working images of this size."""
        return FlowFollower(width, height, settings=self._settings)
