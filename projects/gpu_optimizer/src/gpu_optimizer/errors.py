"""Exceptions of `gpu_optimizer`. Each message says what was wrong, what would be right and what to do."""

from __future__ import annotations


class GpuOptimizerError(Exception):
    """Base of every error this package raises on purpose."""


class ProfilingError(GpuOptimizerError, ValueError):
    """A model cannot be measured as it is."""


class MonitoringError(GpuOptimizerError, ValueError):
    """A monitor is asked for something it cannot do."""
