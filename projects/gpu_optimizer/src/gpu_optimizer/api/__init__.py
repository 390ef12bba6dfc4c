"""The HTTP face of `gpu_optimizer`: devices, the present use of memory, Prometheus metrics."""

from gpu_optimizer.api.app import create_app

__all__ = ["create_app"]
