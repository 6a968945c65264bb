"""Procedural scenes with exact tracks and depth, as trajectories or as rendered frames."""
