"""The process' one OpenVINO core."""

from __future__ import annotations

from functools import cache
from typing import Any


@cache
def openvino_core() -> Any:
    """The `openvino.Core` that everything here uses; made at the first call, kept until the process ends.

    There must not be two. The CPU plugin of each gives the calling thread a signal stack of its own (AVX-512 registers
    do not fit on the usual one) and, when it goes, puts back the one it found. Of two that go in the order in which they
    came, the second puts back the first one's, which is unmapped by then: the next signal, such as Ctrl-C, kills
    the process (seen with OpenVINO 2026).

    Example:
        >>> "CPU" in openvino_core().available_devices
        True
    """
    import openvino as ov

    return ov.Core()
