"""Writing results to disk: whole or not at all."""
