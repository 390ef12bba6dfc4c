"""Tasks of pixi.toml run without pixi: arguments, defaults, words passed on, dependencies."""

from __future__ import annotations

import tomllib

import pytest
import task

PROMISED = [
    *["pose-api", "vram-api", "demo", "test", "lint", "format", "bench", "lab", "lock", "check-lock"],
    *["validate-env", "detect-gpu", "download-models", "accuracy", "pose"],
]


def test_every_promised_task_is_there(root):
    manifest = tomllib.loads((root / "pixi.toml").read_text())
    assert manifest["workspace"]["name"] == "ai-ml-pipeline"
    assert set(PROMISED) <= set(manifest["tasks"])
    assert set(manifest["environments"]) == {"default", "cpu", "cuda", "mps"}


@pytest.mark.parametrize(
    ("name", "words", "command"),
    [
        ("pose-api", [], "python -m pose_analyzer.api.main --host 127.0.0.1 --port 8001"),
        ("pose-api", ["0.0.0.0", "9000"], "python -m pose_analyzer.api.main --host 0.0.0.0 --port 9000"),
        ("vram-api", [], "python -m gpu_optimizer.api.main --host 127.0.0.1 --port 8002"),
        ("demo", ["a folder"], "pose-analyzer demo --out 'a folder'"),
        ("pose", ["analyze", "my clip.mp4", "--json"], "pose-analyzer analyze 'my clip.mp4' --json"),
        ("download-models", ["--list"], "python scripts/download_models.py --list"),
    ],
)
def test_a_task_becomes_its_command_line(name, words, command):
    assert task.command_line(name, task.TASKS[name], words) == command


def test_an_argument_without_default_must_be_given():
    with pytest.raises(SystemExit, match="needs the argument 'where'"):
        task.command_line("x", {"cmd": "ls {{ where }}", "args": ["where"]}, [])


def test_dependencies_run_first_once_and_stop_at_the_first_failure(monkeypatch, tmp_path):
    log = tmp_path / "log"
    tasks = {
        "a": {"cmd": f"echo a >>{log}"},
        "b": {"cmd": f"echo b >>{log}", "depends-on": ["a"]},
        "c": {"depends-on": ["a", "b", "broken", "late"]},
        "broken": {"cmd": "exit 3"},
        "late": {"cmd": f"echo late >>{log}"},
    }
    monkeypatch.setattr(task, "TASKS", tasks)
    with pytest.raises(SystemExit) as stop:
        task.run("c", [], {"PATH": "/usr/bin:/bin"}, set())
    assert stop.value.code == 3
    assert log.read_text().split() == ["a", "b"]


def test_an_unknown_task_names_those_there_are():
    with pytest.raises(SystemExit, match=r"no task 'tests'; there are: .*test"):
        task.run("tests", [], {}, set())


def test_make_names_every_target_it_has(shell, root):
    result = shell("make", "help")
    assert result.returncode == 0
    listed = {line.split()[0] for line in result.stdout.splitlines()}
    assert {"run", "demo", "test", "lint", "format", "bench", "accuracy", "lock", "check-lock", "setup", "lab", "clean", "help"} <= listed
