"""Consistent depth of long videos, after "Video Depth Anything" (CVPR 2025)."""
