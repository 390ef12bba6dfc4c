"""Exceptions of `shared_utils`. Each message says what was wrong, what would be right and what to do."""

from __future__ import annotations


class SharedUtilsError(Exception):
    """Base of every error this package raises on purpose."""


class ValidationError(SharedUtilsError, ValueError):
    """A value does not have the shape, type or range that its noun asks for."""


class ConfigError(SharedUtilsError, ValueError):
    """A configuration file, environment variable or flag cannot be used."""


class DeviceError(SharedUtilsError, RuntimeError):
    """A requested accelerator is absent or cannot be used."""


class ModelError(SharedUtilsError, RuntimeError):
    """A model's weights are unknown, missing or damaged."""
