"""Pixels to 2D tracks."""
