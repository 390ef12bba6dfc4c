"""The command `pose-analyzer`. It parses, calls the library and prints; nothing is measured here."""

from pose_analyzer.cli.app import main

__all__ = ["main"]
