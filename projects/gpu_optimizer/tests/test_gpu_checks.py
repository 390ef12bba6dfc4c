"""What of the checks for a GPU machine can be proved without one: isolation, limits, tables, and their arithmetic."""

from __future__ import annotations

import importlib
import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

BENCHMARKS = Path(__file__).resolve().parents[1] / "benchmarks"
CPU = torch.device("cpu")
FINDING = {"what": "a|b", "figure": "1.0 ms", "goal": "at most 2 ms", "passed": True}


@pytest.fixture(scope="module", autouse=True)
def _importable() -> Any:
    sys.path.insert(0, str(BENCHMARKS))
    yield
    sys.path.remove(str(BENCHMARKS))


def room(name: str) -> Any:
    return importlib.import_module(name)


def child(*lines: str) -> list[str]:
    """A program that gets `--findings FILE` and writes one finding before it does what it does."""
    begin = f"import sys; open(sys.argv[-1], 'a').write({json.dumps(FINDING) + chr(10)!r})"
    return [sys.executable, "-c", "\n".join([begin, *lines])]


def apart(*lines: str, limit_s: float = 30.0) -> Any:
    checks = room("gpu_checks")
    return checks.run_apart(checks.CHECKS[0], limit_s=limit_s, quick=True, command=child(*lines))


def test_a_machine_without_cuda_is_told_so_with_exit_3() -> None:
    run = subprocess.run([sys.executable, str(BENCHMARKS / "gpu_checks.py")], capture_output=True, text=True, timeout=120, check=False)
    if torch.cuda.is_available():
        pytest.skip("there is a CUDA device here")
    assert run.returncode == 3
    assert "no CUDA device" in run.stderr


def test_a_check_that_goes_through_keeps_its_findings() -> None:
    result = apart()
    assert (result.passed, result.verdict, len(result.findings)) == (True, "passed", 1)


def test_a_check_that_raises_says_why_and_keeps_what_it_found() -> None:
    result = apart("raise MemoryError('CUDA out of memory')")
    assert result.verdict == "not finished"
    assert "CUDA out of memory" in result.problem
    assert len(result.findings) == 1


def test_a_check_that_kills_its_process_leaves_the_runner_alone() -> None:
    result = apart("import os; os.abort()")
    assert result.problem.startswith("exit -6")


def test_a_check_that_hangs_is_ended_with_what_it_started() -> None:
    begin = time.monotonic()
    result = apart("import subprocess, time; subprocess.Popen(['sleep', '60']); time.sleep(60)", limit_s=2.0)
    assert result.problem == "ended after 2 s"
    assert time.monotonic() - begin < 30


def test_a_missed_goal_is_not_passed_and_nothing_found_is_not_either() -> None:
    checks = room("gpu_checks")
    finding = checks.Finding(**FINDING | {"passed": False})
    rest = {"number": 1, "title": "t", "seconds": 1.0, "problem": None}
    assert checks.Result(findings=(finding,), **rest).verdict == "missed"
    assert not checks.Result(findings=(), **rest).passed


def test_one_failing_check_does_not_stop_the_next_and_the_total_time_holds() -> None:
    checks = room("gpu_checks")
    ran = []

    def run(check: Any, limit: float) -> Any:
        ran.append((check.number, limit))
        return checks.Result(number=check.number, title=check.title, findings=(), seconds=0.0, problem="failed")

    assert len(checks.run_all(checks.CHECKS, run)) == 10
    assert all(limit <= check.limit_s for (_, limit), check in zip(ran, checks.CHECKS, strict=True))
    late = checks.run_all(checks.CHECKS[:2], run, total_s=1.0)
    assert [result.problem for result in late] == ["no time was left"] * 2


def test_all_checks_together_take_at_most_eight_minutes() -> None:
    checks = room("gpu_checks")
    assert [check.number for check in checks.CHECKS] == list(range(1, 11))
    assert checks.TOTAL_S + 10 <= 480
    for check in checks.CHECKS:
        module, function = check.place.split(":")
        assert callable(getattr(room(module), function))


def test_tables_hold_every_finding_and_every_problem() -> None:
    checks = room("gpu_checks")
    rest = {"title": "peaks", "seconds": 3.0}
    results = [
        checks.Result(number=1, findings=(checks.Finding(**FINDING),), problem=None, **rest),
        checks.Result(number=2, findings=(), problem="ended after 2 s", **rest),
    ]
    text = checks.markdown(results, {"gpu": "a GPU"})
    assert "gpu a GPU: 1 of 2 checks passed" in text
    assert "| 1 | a\\|b | 1.0 ms | at most 2 ms | met |" in text
    assert "| 2 | peaks | ended after 2 s | | **not finished** |" in text
    assert "MISS ended after 2 s" in checks.text_table(results)


def test_checks_are_chosen_by_number() -> None:
    checks = room("gpu_checks")
    assert [check.number for check in checks.chosen("3,1,3")] == [3, 1]
    for words in ("11", "x", ""):
        with pytest.raises(ValueError):
            checks.chosen(words)


def test_rank_correlation_is_spearmans_with_ties() -> None:
    rank = room("gpu_check_offload").rank_correlation
    assert rank([1, 2, 3, 4], [10, 20, 30, 1000]) == pytest.approx(1.0)
    assert rank([1, 2, 3], [3, 2, 1]) == pytest.approx(-1.0)
    assert rank([1, 2, 2, 3], [1, 2, 3, 4]) == pytest.approx(0.9486833)  # scipy.stats.spearmanr of the same
    assert np.isnan(rank([1, 1], [1, 2]))


def test_alternating_shapes_free_only_what_they_hold() -> None:
    held: set[Any] = set()
    for request in room("gpu_check_offload").shapes(3):
        if request.action == "alloc":
            assert request.key not in held
            held.add(request.key)
        else:
            held.remove(request.key)


def test_the_swapper_gives_the_same_bits_in_every_trap(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(Path(__file__).parent / "training"))
    fake = importlib.import_module("fake_device")
    for finding in room("gpu_check_offload").equal_gradients(CPU, size=48, backend=fake.FakeDevice()):
        assert finding.passed, finding


def test_waiting_times_count_from_arrival_and_no_request_is_lost() -> None:
    sizes: list[int] = []
    arrivals = np.array([0.0, 0.001, 0.002, 0.05, 0.0501, 0.0502, 0.0503])
    waits = room("gpu_check_speed").served(sizes.append, arrivals, window_s=0.01, most=3)
    assert len(waits) == sum(sizes) == 7
    assert max(sizes) <= 3
    assert min(waits) > 0


def test_nvidia_smis_words_are_read() -> None:
    speed = room("gpu_check_speed")
    said = "GPU-aaa, 10, 30, [N/A]\nGPU-bbb, 1024, 41, 70.25\n"
    assert speed.parse_smi(said, "bbb") == {"memory used, MiB": 1024.0, "temperature, C": 41.0, "power, W": 70.25}
    assert speed.parse_smi(said, "aaa")["power, W"] is None
    assert speed.parse_smi(said, "ccc") is None
    found = list(speed.compared({"memory used, MiB": 2000.0, "temperature, C": 42.0}, speed.parse_smi(said, "bbb")))
    assert [finding.passed for finding in found] == [False, True, None]


def test_estimates_and_plans_are_judged_on_a_small_network() -> None:
    parts, memory = room("gpu_check_parts"), room("gpu_check_memory")
    plain = nn.Sequential(nn.Flatten(), nn.Linear(3 * 64 * 64, 32), nn.ReLU(), nn.Linear(32, 8))
    make = {"small": lambda device: parts.pictures(plain, 4, 64, 64, device=device)}
    found = list(memory.peaks(device=CPU, quick=True, models=make))
    assert [finding.what for finding in found][:3] == ["small, plain", "small, checkpointed", "small, bf16"]
    assert found[-1].passed is not None
    stages = {"stages": lambda device: parts.six_stages(4, 64, device)}
    planned = list(memory.plans(device=CPU, quick=True, models=stages, shares=(90,)))
    assert any("recomputed" in finding.figure or "impossible" in finding.figure for finding in planned)


def test_number_formats_and_batches_are_measured_on_small_networks() -> None:
    speed = room("gpu_check_speed")
    found = list(speed.precisions(device=CPU, quick=False, formats=("fp32", "bf16"), width=16, steps=4))
    assert found[1].passed
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.AdaptiveAvgPool2d(1))
    rows = list(speed.batching(device=CPU, quick=True, model=model, side=16, most=4, load_s=0.3))
    assert len(rows) == 5


@pytest.mark.parametrize(("make", "shape"), [("resnet50", (1, 3, 64, 64)), ("Vit", (1, 3, 224, 224)), ("TwoResolutions", (1, 3, 64, 64))])
def test_networks_have_the_sizes_of_the_ones_they_stand_for(make: str, shape: tuple[int, ...]) -> None:
    with torch.device("meta"):
        model = getattr(room("gpu_check_parts"), make)()
        output = model(torch.zeros(shape))
    count = sum(parameter.numel() for parameter in model.parameters())
    if make == "resnet50":
        assert count == 25_557_032  # torchvision's table
        assert output.shape == (1, 1000)
    elif make == "Vit":
        assert 85e6 < count < 88e6  # 86 M in the paper
