"""Byte counts as people write them: "8GiB", "512 MB", a number of bytes, or a share of a device's memory."""

from __future__ import annotations

import re

from gpu_optimizer.errors import PlanError

_UNITS = {"b": 1} | {
    f"{letter}{suffix}": base**power
    for power, letter in enumerate("kmgt", start=1)
    for suffix, base in (("", 1024), ("b", 1000), ("ib", 1024))
}
_SIZE = re.compile(r"\s*([0-9]+(?:\.[0-9]*)?|\.[0-9]+)\s*([a-zA-Z%]*)\s*")


def parse_bytes(size: int | float | str, *, whole_bytes: int | None = None, name: str = "budget") -> int:
    """Bytes from a number or words.

    Args:
        size: A number of bytes, or a number with a unit: B, kB, MB, GB, TB (powers of 1000), KiB, MiB, GiB, TiB or
            a bare K, M, G, T (powers of 1024), or % of `whole_bytes`.
        whole_bytes: What a percentage is a share of.
        name: What it is called in errors.

    Raises:
        PlanError: It is no size, is not positive, or a percentage of nothing.

    Example:
        >>> parse_bytes("1.5 GiB"), parse_bytes("2GB"), parse_bytes(4096), parse_bytes("50%", whole_bytes=1000)
        (1610612736, 2000000000, 4096, 500)
    """
    if isinstance(size, bool) or not isinstance(size, int | float | str):
        raise PlanError(f"{name}: expected bytes or words such as '8GiB', got {type(size).__name__}")
    value = float(size) if not isinstance(size, str) else _parse(size, whole_bytes, name)
    if not value >= 1 or value == float("inf"):
        raise PlanError(f"{name}: expected a positive, finite number of bytes, got {size!r}")
    return int(value)


def _parse(words: str, whole_bytes: int | None, name: str) -> float:
    match = _SIZE.fullmatch(words)
    unit = match[2].lower() if match else ""
    if match is None or (unit and unit != "%" and unit not in _UNITS):
        raise PlanError(f"{name}: {words!r} is no size; write for example '8GiB', '512MB' or '75%'")
    if unit != "%":
        return float(match[1]) * _UNITS.get(unit, 1)
    if whole_bytes is None:
        raise PlanError(f"{name}: {words!r} of what? A percentage needs a device whose memory is known")
    return float(match[1]) / 100 * whole_bytes


def format_bytes(count: float) -> str:
    """Bytes with a binary unit and three or four digits.

    Example:
        >>> format_bytes(1536), format_bytes(8 * 2**30), format_bytes(12)
        ('1.50 KiB', '8.00 GiB', '12 B')
    """
    for unit, size in (("TiB", 2**40), ("GiB", 2**30), ("MiB", 2**20), ("KiB", 2**10)):
        if abs(count) >= size:
            scaled = count / size
            return f"{scaled:.2f} {unit}" if abs(scaled) < 100 else f"{scaled:.1f} {unit}"
    return f"{count:.0f} B"
