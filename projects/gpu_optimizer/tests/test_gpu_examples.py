"""The examples in small size, as a reader would start them."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from gpu_optimizer.cli import app

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


def test_everything_checkpointed_needs_no_less_than_the_plan() -> None:
    said = started("checkpoint_everything.py")
    peaks = {words[1].strip(): float(words[2].split()[0]) for line in said.splitlines() if len(words := line.split("│")) == 6}
    assert peaks["the plan"] <= 1.02 * peaks["every stage checkpointed"]


def test_the_readmes_lines_run_as_they_stand(tmp_path: Path) -> None:
    readme = (EXAMPLES.parent / "README.md").read_text(encoding="utf-8")
    block = re.findall(r"```python\n(.*?)```", readme, flags=re.DOTALL)[0]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "GPU_OPTIMIZER_LEDGER": str(tmp_path / "ledger.jsonl")}
    run = subprocess.run([sys.executable, "-c", block], capture_output=True, text=True, timeout=280, env=environment, check=False)
    assert "within the budget of 46.00 MiB" in run.stdout, run.stderr[-2000:]


def test_every_command_of_the_readme_is_there() -> None:
    readme = (EXAMPLES.parent / "README.md").read_text(encoding="utf-8")
    for line in re.findall(r"^gpu-optimizer .*", readme, flags=re.MULTILINE):
        words = line.split("#")[0].split()
        run = CliRunner().invoke(app, [words[1], "--help"])
        assert run.exit_code == 0, line
        for option in (word for word in words if word.startswith("--")):
            assert option in run.output, line
