"""Pixels to dense depth of a video."""
