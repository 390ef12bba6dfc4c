from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gpu_optimizer.errors import PlanError
from gpu_optimizer.planning.ledger import ErrorLedger, LedgerEntry, default_ledger_path
from gpu_optimizer.planning.sizes import format_bytes, parse_bytes


def entry(measured: int, *, predicted: int = 1000, device: str = "cpu", model: str = "net", seconds: float | None = None) -> LedgerEntry:
    return LedgerEntry(
        model=model,
        device=device,
        predicted_peak_bytes=predicted,
        measured_peak_bytes=measured,
        predicted_s=None if seconds is None else 1.0,
        measured_s=seconds,
        torch="2.13.0",
        recorded_at="2026-11-20T00:00:00+00:00",
    )


def test_the_margin_is_the_quantile_of_past_errors() -> None:
    ledger = ErrorLedger(None)
    for error in range(1, 20):  # 0.1 % to 1.9 %
        ledger.append(entry(1000 + error))
    assert ledger.memory_margin("cpu") == pytest.approx(0.019)  # ceil(20 * 0.95) = 19th of 19
    assert ledger.memory_margin("cpu", quantile=0.5) == pytest.approx(0.010)
    assert ledger.memory_margin("NVIDIA H200") == 0.05


def test_a_models_own_errors_come_first_once_there_are_enough() -> None:
    ledger = ErrorLedger(None)
    for _ in range(19):
        ledger.append(entry(1100))
        ledger.append(entry(1010, model="other"))
    assert ledger.memory_margin("cpu", model="other") == pytest.approx(0.01)
    assert ledger.memory_margin("cpu", model="unseen") == pytest.approx(0.1)


def test_predictions_that_were_too_high_give_no_negative_margin() -> None:
    ledger = ErrorLedger(None)
    for _ in range(19):
        ledger.append(entry(900, seconds=0.8))
    assert ledger.memory_margin("cpu") == 0.0
    assert ledger.time_margin("cpu") == pytest.approx(0.2)


def test_the_file_outlives_the_process_and_a_torn_line(tmp_path) -> None:
    path = tmp_path / "deep" / "ledger.jsonl"
    ErrorLedger(path).append(entry(1010))
    with path.open("a") as file:
        file.write('{"model": "ne')
    again = ErrorLedger(path)
    assert again.entries == (entry(1010),)
    assert again.damaged == 1


def test_a_ledger_that_cannot_be_written_says_so(tmp_path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(PlanError, match="cannot be written"):
        ErrorLedger(tmp_path / "file" / "ledger.jsonl").append(entry(1010))


def test_the_ledgers_place_can_be_chosen(monkeypatch, tmp_path) -> None:
    monkeypatch.setenv("GPU_OPTIMIZER_LEDGER", str(tmp_path / "here"))
    assert default_ledger_path() == tmp_path / "here"


@given(st.integers(1, 2**50))
def test_sizes_survive_their_own_words(count) -> None:
    assert parse_bytes(format_bytes(count)) == pytest.approx(count, rel=0.01)


@pytest.mark.parametrize("bad", ["", "8 GiBs", "GiB", "-3MB", 0, -1, float("nan"), float("inf"), True, None, "50%", "0B"])
def test_what_is_no_size_is_refused(bad) -> None:
    with pytest.raises(PlanError, match="budget"):
        parse_bytes(bad)
