"""The examples in small size, as a reader would start them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).resolve().parents[1] / "examples"


def started(name: str, *words: str, rc: int = 0) -> str:
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    run = subprocess.run(
        [sys.executable, str(EXAMPLES / name), "--small", *words], capture_output=True, text=True, timeout=300, env=environment, check=False
    )
    assert run.returncode == rc, run.stderr[-2000:] + run.stdout[-2000:]
    return run.stdout


def test_training_within_a_budget_gives_the_same_bits_as_without(tmp_path: Path) -> None:
    started("training_pipeline.py", "--out", str(tmp_path))
    figures = json.loads((tmp_path / "training_pipeline.json").read_text())
    plain, planned = figures["peak_bytes"]
    assert planned <= figures["budget_bytes"] < plain
    assert figures["identical"]
    assert figures["loss_last"][0] == figures["loss_last"][1] < 0.1 * figures["loss_first"]
    assert figures["error_px"][2] < 0.3 * figures["error_px"][0]
    assert (tmp_path / "training_pipeline.png").stat().st_size > 10_000


@pytest.mark.parametrize(("name", "said"), [("llama_7b_optimization.py", "fits nowhere"), ("diffusion_model_tune.py", "USD")])
def test_models_that_no_machine_here_could_hold_are_planned_for(name: str, said: str) -> None:
    assert said in started(name)
