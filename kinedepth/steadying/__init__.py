"""Flicker taken out of depth that a model estimates for each frame alone.

Ratios of depth along tracked points do not flicker; where a model's depth does, frame by frame
and region by region, a smooth field through the points corrects all of the frame.
"""

from kinedepth.steadying.field import FlickerField
from kinedepth.steadying.fit import fit_flicker
from kinedepth.steadying.steadier import Steadier, check_kind, steady_depth

__all__ = ["FlickerField", "Steadier", "check_kind", "fit_flicker", "steady_depth"]
