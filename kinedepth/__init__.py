"""kinedepth: depth from moving points."""

__version__ = "0.1.0"
