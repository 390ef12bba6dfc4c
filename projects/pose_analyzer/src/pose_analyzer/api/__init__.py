"""The HTTP face of `pose_analyzer`: what it knows and what this machine can run. No measuring happens here."""

from pose_analyzer.api.app import create_app

__all__ = ["create_app"]
