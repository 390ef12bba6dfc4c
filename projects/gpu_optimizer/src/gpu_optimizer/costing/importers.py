"""Price lists of others, read by the names of their columns: catalogues of gpuhunt (dstack) and of skypilot.

Neither says when its prices were read, so whoever imports them does.
"""

from __future__ import annotations

import ast
from collections.abc import Mapping
from datetime import date
from pathlib import Path
from typing import Any

from gpu_optimizer.costing.prices import Price, rows_of
from gpu_optimizer.errors import PriceError

_GPUHUNT = ("instance_name", "location", "price", "gpu_count", "gpu_name", "gpu_memory", "spot")
_SKYPILOT = ("InstanceType", "AcceleratorName", "AcceleratorCount", "Price", "SpotPrice", "Region")


def read_gpuhunt(path: str | Path, *, date: date, provider: str | None = None, source: str | None = None) -> list[Price]:
    """Prices of a gpuhunt catalogue, a CSV file of `CatalogItem` or `RawCatalogItem` columns.

    Rows without a price, and rows of a GPU whose memory is not given, are left out.

    Args:
        path: The file.
        date: When the catalogue was made.
        provider: Whose prices they are; default: the column `provider`, else the file's name without its ending.
        source: Text for the prices' source; default: gpuhunt and the file's name.

    Raises:
        PriceError: The file cannot be read, a column is missing, or a value makes no sense (its line is named).
    """
    file = Path(path)
    found = []
    for place, row in rows_of(file, _GPUHUNT):
        gpus = _count(row["gpu_count"], f"{place}: gpu_count")
        if not row["price"].strip() or (gpus and not row["gpu_memory"].strip()):
            continue
        values = {
            "provider": provider or row.get("provider") or file.stem,
            "instance": row["instance_name"],
            "region": row["location"],
            "gpu": row["gpu_name"] if gpus else "",
            "gpus": gpus,
            "gpu_memory_gib": row["gpu_memory"] if gpus else "",
            "vcpus": row.get("cpu", ""),
            "memory_gib": row.get("memory", ""),
            "usd_per_hour": row["price"],
            "spot": row["spot"],
        }
        found.append(_price(values, place, date, source or f"gpuhunt catalogue {file.name}"))
    return found


def read_skypilot(path: str | Path, *, provider: str, date: date, source: str | None = None) -> list[Price]:
    """Prices of a skypilot catalogue (`vms.csv`), both on demand and spot.

    Rows of accelerators whose memory the file does not give (TPUs, for example) are left out.

    Args:
        path: The file.
        provider: Whose prices they are.
        date: When the catalogue was made.
        source: Text for the prices' source; default: skypilot and the provider.

    Raises:
        PriceError: The file cannot be read, a column is missing, or a value makes no sense (its line is named).
    """
    found = []
    for place, row in rows_of(Path(path), _SKYPILOT):
        gpus = _count(row["AcceleratorCount"], f"{place}: AcceleratorCount")
        memory = _gpu_memory_gib(row.get("GpuInfo", ""), gpus)
        if gpus and memory is None:
            continue
        for column, spot in (("Price", False), ("SpotPrice", True)):
            if not row[column].strip():
                continue
            values = {
                "provider": provider,
                "instance": row["InstanceType"] or row["AcceleratorName"],
                "region": row["Region"],
                "gpu": row["AcceleratorName"] if gpus else "",
                "gpus": gpus,
                "gpu_memory_gib": memory if gpus else "",
                "vcpus": row.get("vCPUs", ""),
                "memory_gib": row.get("MemoryGiB", ""),
                "usd_per_hour": row[column],
                "spot": spot,
            }
            found.append(_price(values, place, date, source or f"skypilot catalogue of {provider}"))
    return found


def _price(values: Mapping[str, Any], place: str, day: date, source: str) -> Price:
    try:
        return Price.from_dict({**values, "date": day, "source": source})
    except PriceError as error:
        raise PriceError(f"{place}: {error}") from error


def _count(text: str, where: str) -> int:
    """Number of GPUs; fractions of one (shared GPUs) count as one."""
    if not text.strip():
        return 0
    try:
        number = float(text)
    except ValueError as error:
        raise PriceError(f"{where}: expected a number, got {text!r}") from error
    if number < 0 or number > 10_000:
        raise PriceError(f"{where}: expected a number of GPUs, got {text!r}")
    return -int(-number // 1)


def _gpu_memory_gib(info: str, gpus: int) -> float | None:
    """Memory of one GPU from skypilot's `GpuInfo`, a Python dictionary written out."""
    if not gpus or not info.strip():
        return None
    try:
        first = ast.literal_eval(info)["Gpus"][0]
        return float(first["MemoryInfo"]["SizeInMiB"]) / 1024 or None
    except (ValueError, SyntaxError, KeyError, IndexError, TypeError, MemoryError, RecursionError):
        return None
