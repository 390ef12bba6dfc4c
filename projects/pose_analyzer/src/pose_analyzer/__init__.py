"""Video in, people measured, events out."""

__version__ = "0.1.0"
