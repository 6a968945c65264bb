"""Runs over the clips of a benchmark: methods, baselines among them, and resumable splits."""
