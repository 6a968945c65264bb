"""A video as a stream of frames (interface; being built out)."""
