"""What was predicted and what was measured, kept from run to run; its quantile is the next plan's safety margin.

One line of JSON per verification. A margin is not a rule of thumb but what past errors on the same kind of device
say: the level below which a given share of them lay (split conformal prediction, Vovk et al. 2005: with n past
errors the ceil((n + 1) q)-th smallest covers the next one with probability q).
"""

from __future__ import annotations

import json
import math
import os
from dataclasses import asdict, dataclass, fields
from pathlib import Path

from gpu_optimizer.errors import PlanError


@dataclass(frozen=True, slots=True, kw_only=True)
class LedgerEntry:
    """One prediction and what came of it.

    Args:
        model: Name and digest of the model's shapes.
        device: Name of the device, "cpu" or the GPU's.
        predicted_peak_bytes: What the plan said, without its margin.
        measured_peak_bytes: What was measured.
        predicted_s: Time of a step by the plan; None where it gave none.
        measured_s: Time of a step as measured.
        torch: Version of torch.
        recorded_at: Time of the measurement, ISO 8601 in UTC.
    """

    model: str
    device: str
    predicted_peak_bytes: int
    measured_peak_bytes: int
    predicted_s: float | None
    measured_s: float | None
    torch: str
    recorded_at: str

    @property
    def memory_error(self) -> float:
        """Measured over predicted, minus 1: above 0 the plan said too little."""
        return self.measured_peak_bytes / self.predicted_peak_bytes - 1

    @property
    def time_error(self) -> float | None:
        """Measured over predicted time, minus 1."""
        return None if self.predicted_s is None or self.measured_s is None else self.measured_s / self.predicted_s - 1


def default_ledger_path() -> Path:
    """Where the ledger lies unless told otherwise: GPU_OPTIMIZER_LEDGER, or the user's cache folder."""
    if chosen := os.environ.get("GPU_OPTIMIZER_LEDGER"):
        return Path(chosen)
    cache = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(cache) / "gpu_optimizer" / "ledger.jsonl"


class ErrorLedger:
    """Past errors of predictions, and the margins that follow from them.

    Lines that cannot be read are passed over and counted in `damaged`: a crash while writing must not stop the next plan.

    Args:
        path: File of the ledger; None keeps it in memory only.

    Example:
        >>> ledger = ErrorLedger(None)
        >>> ledger.memory_margin("cpu")  # nothing is known yet: the default
        0.05
    """

    def __init__(self, path: Path | str | None) -> None:
        self.path = None if path is None else Path(path)
        self.damaged = 0
        self._entries: list[LedgerEntry] = []
        if self.path is not None and self.path.exists():
            for line in self.path.read_text(encoding="utf-8").splitlines():
                entry = _read(line)
                if entry is None:
                    self.damaged += 1
                else:
                    self._entries.append(entry)

    @property
    def entries(self) -> tuple[LedgerEntry, ...]:
        """All entries, oldest first."""
        return tuple(self._entries)

    def append(self, entry: LedgerEntry) -> None:
        """Add an entry, to the file too.

        Raises:
            PlanError: The file cannot be written.
        """
        self._entries.append(entry)
        if self.path is None:
            return
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with self.path.open("a", encoding="utf-8") as file:
                file.write(json.dumps(asdict(entry), sort_keys=True) + "\n")
        except OSError as error:
            raise PlanError(f"ledger: {self.path} cannot be written ({error.strerror}); pass another path or None") from error

    def memory_margin(self, device: str, *, model: str | None = None, quantile: float = 0.95, default: float = 0.05) -> float:
        """Share by which predictions of memory are to be raised, 0 or more.

        Args:
            device: Only errors on this device count.
            model: Where this model itself was verified often enough, only its own errors count.
            quantile: Share of next steps that must stay below.
            default: Used until there are enough errors for that quantile (19 for 0.95).

        Raises:
            PlanError: `quantile` is not between 0 and 1.
        """
        return max(0.0, self._bound([(e, e.memory_error) for e in self._entries], device, model, quantile, default))

    def time_margin(self, device: str, *, model: str | None = None, quantile: float = 0.95, default: float = 0.25) -> float:
        """Share by which a time may differ from the prediction, either way."""
        errors = [(e, abs(e.time_error)) for e in self._entries if e.time_error is not None]
        return self._bound(errors, device, model, quantile, default)

    def _bound(self, errors: list[tuple[LedgerEntry, float]], device: str, model: str | None, quantile: float, default: float) -> float:
        if not 0 < quantile < 1:
            raise PlanError(f"quantile: expected a share between 0 and 1, got {quantile}")
        here = [(entry, error) for entry, error in errors if entry.device == device]
        for part in ([error for entry, error in here if entry.model == model], [error for _, error in here]):
            rank = math.ceil((len(part) + 1) * quantile)
            if part and rank <= len(part):
                return sorted(part)[rank - 1]
        return default


def _read(line: str) -> LedgerEntry | None:
    try:
        values = json.loads(line)
        entry = LedgerEntry(**{field.name: values[field.name] for field in fields(LedgerEntry)})
        return entry if entry.predicted_peak_bytes > 0 and entry.memory_error > -1 else None
    except (ValueError, KeyError, TypeError, AttributeError):
        return None
