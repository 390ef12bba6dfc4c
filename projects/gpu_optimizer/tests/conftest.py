"""Prices that never grow too old: the shipped lists with the day of the test, so that tests hold in any year."""

from __future__ import annotations

import csv
import os
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

_PRICES = Path(__file__).resolve().parents[3] / "config" / "prices"


@pytest.fixture(scope="module")
def prices_of_today(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("config")
    (folder / "prices").mkdir()
    today = datetime.now(UTC).date().isoformat()
    for path in _PRICES.glob("*.csv"):
        with path.open(newline="", encoding="utf-8") as file:
            rows = [row | {"date": today} for row in csv.DictReader(file)]
        with (folder / "prices" / path.name).open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, list(rows[0]))
            writer.writeheader()
            writer.writerows(rows)
    before = os.environ.get("GPU_CONFIG_DIR")
    os.environ["GPU_CONFIG_DIR"] = str(folder)
    yield folder
    if before is None:
        del os.environ["GPU_CONFIG_DIR"]
    else:
        os.environ["GPU_CONFIG_DIR"] = before
