"""What all tests of this package share."""

from __future__ import annotations

from hypothesis import settings

# A slow machine is not a wrong result; first calls import heavy libraries.
settings.register_profile("shared_utils", deadline=None)
settings.load_profile("shared_utils")
