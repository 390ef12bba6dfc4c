"""The shell scripts parse, explain themselves, refuse nonsense and do what they say, with the tools imitated where they must be."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SCRIPTS = sorted(ROOT.glob("scripts/*.sh"))
COMMANDS = [path for path in SCRIPTS if path.name != "activate.sh"]
RECORD = 'echo "$(basename "$0") $*" >>"$CALLS"'


def by_name(path: Path) -> str:
    return path.name


@pytest.mark.parametrize("path", [*SCRIPTS, ROOT / "scripts/bootstrap", ROOT / ".ci/run"], ids=by_name)
def test_it_parses(path, shell):
    assert shell("bash", "-n", path).returncode == 0


@pytest.mark.parametrize("path", COMMANDS, ids=by_name)
def test_it_explains_itself_and_stops_at_errors(path, shell):
    result = shell(path, "--help")
    assert result.returncode == 0
    assert result.stdout.startswith(f"Usage: scripts/{path.name}")
    assert "set -euo pipefail" in path.read_text()


@pytest.mark.parametrize(
    ("name", "words", "code", "sentence"),
    [
        ("switch_env.sh", ["tpu"], 2, "'tpu' is none of cpu, cuda, mps"),
        ("switch_env.sh", [], 2, "Usage:"),
        ("dev_session.sh", ["--port", "none"], 1, "'none' is not a port"),
        ("dev_session.sh", ["--nmae", "x"], 2, "unknown word '--nmae'"),
        ("sync_projects.sh", [], 2, "Usage:"),
        ("sync_projects.sh", ["--force", "x"], 2, "unknown option '--force'"),
        ("sync_projects.sh", ["x", "y"], 2, "one TARGET, not 'x' and 'y'"),
        ("benchmark.sh", ["--label", "a b"], 2, "a label has letters"),
        ("benchmark.sh", ["quick"], 2, "unknown word 'quick'"),
    ],
)
def test_wrong_words_are_refused(shell, name, words, code, sentence):
    result = shell(ROOT / "scripts" / name, *words)
    assert result.returncode == code
    assert sentence in result.stderr


# --- switch_env ---------------------------------------------------------------------------------------


@pytest.mark.skipif(shutil.which("pixi") is not None, reason="tries the way without pixi")
def test_switching_installs_the_set_and_make_remembers_it(checkout, programs, shell, tmp_path):
    calls = tmp_path / "calls"
    (checkout / ".venv/bin").mkdir(parents=True)
    python = checkout / ".venv/bin/python"
    python.write_text(f"#!/bin/sh\n{RECORD}\n")
    python.chmod(0o755)
    bootstrap = checkout / "scripts/bootstrap"
    bootstrap.write_text(f'#!/bin/sh\necho "bootstrap $POSE_SET" >>"{calls}"\n')
    result = shell(checkout / "scripts/switch_env.sh", "cpu", cwd=tmp_path, CALLS=str(calls))
    assert result.returncode == 0, result.stderr
    assert calls.read_text().splitlines() == ["bootstrap cpu", "python scripts/validate_env.py --no-import"]
    assert shell(checkout / "scripts/switch_env.sh", "--show").stdout == "cpu\n"

    pixi = programs(pixi=RECORD)
    assert shell("make", "check-lock", cwd=checkout, first=pixi, CALLS=str(calls)).returncode == 0
    assert calls.read_text().splitlines()[-1] == "pixi run -e cpu check-lock"


def test_switching_with_pixi_uses_its_environment(checkout, programs, shell, tmp_path):
    calls = tmp_path / "calls"
    machine = programs(pixi=RECORD, uname="echo Linux", nvidia_smi="exit 1")
    result = shell(checkout / "scripts/switch_env.sh", "cuda", first=machine, CALLS=str(calls))
    assert result.returncode == 0, result.stderr
    assert calls.read_text() == "pixi run -e cuda validate-env\n"


@pytest.mark.parametrize(("choice", "system"), [("cuda", "Darwin"), ("mps", "Linux")])
def test_an_accelerator_of_another_system_is_refused(checkout, programs, shell, choice, system):
    result = shell(checkout / "scripts/switch_env.sh", choice, first=programs(uname=f"echo {system}"))
    assert result.returncode == 1
    assert "choose" in result.stderr


# --- dev_session --------------------------------------------------------------------------------------


def test_a_session_has_api_tests_and_shell(checkout, programs, shell, tmp_path):
    calls = tmp_path / "calls"
    machine = programs(pixi="true", tmux=f'{RECORD}; [ "$1" != has-session ]')
    result = shell(checkout / "scripts/dev_session.sh", "--port", "9001", "--name", "mine", first=machine, CALLS=str(calls))
    assert result.returncode == 0, result.stderr
    text = calls.read_text()
    assert "new-session -d -s mine -n api" in text
    assert "send-keys -t =mine:api pixi run pose-api 127.0.0.1 9001 Enter" in text
    assert "send-keys -t =mine:tests make test Enter" in text
    assert "new-window -t =mine -n shell" in text
    assert text.splitlines()[-1] == "tmux attach-session -t =mine"


def test_an_existing_session_is_joined_and_not_made_again(checkout, programs, shell, tmp_path):
    calls = tmp_path / "calls"
    shell(checkout / "scripts/dev_session.sh", first=programs(pixi="true", tmux=RECORD), CALLS=str(calls))
    assert calls.read_text().splitlines() == ["tmux has-session -t =ai-ml-pipeline", "tmux attach-session -t =ai-ml-pipeline"]


def test_without_tmux_it_says_what_to_do(checkout, shell, tmp_path):
    bare = tmp_path / "bare"
    bare.mkdir()
    for tool in ["bash", "dirname", "cat", "env"]:
        (bare / tool).symlink_to(shutil.which(tool) or tool)
    result = shell("bash", checkout / "scripts/dev_session.sh", PATH=str(bare))
    assert result.returncode == 1
    assert "tmux is not installed" in result.stderr
    assert "two terminals" in result.stderr


# --- sync_projects ------------------------------------------------------------------------------------

needs_rsync = pytest.mark.skipif(shutil.which("rsync") is None, reason="rsync is not installed")


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    target = tmp_path / "the copy"
    target.mkdir()
    (target / "only-there.txt").write_text("x")
    return target


@needs_rsync
def test_syncing_writes_nothing_until_told(checkout, copy, shell):
    result = shell(checkout / "scripts/sync_projects.sh", copy)
    assert result.returncode == 0, result.stderr
    assert "scripts/bootstrap" in result.stdout
    assert "repeat with --go" in result.stdout
    assert [path.name for path in copy.iterdir()] == ["only-there.txt"]


@needs_rsync
def test_syncing_copies_sources_and_leaves_environments_results_and_strangers(checkout, copy, shell):
    for name in [".venv", ".pixi", "out", ".cache"]:
        (checkout / name).mkdir()
        (checkout / name / "file").write_text("x")
    result = shell(checkout / "scripts/sync_projects.sh", "--go", copy)
    assert result.returncode == 0, result.stderr
    assert (copy / "pixi.toml").read_text() == (checkout / "pixi.toml").read_text()
    assert not any((copy / name).exists() for name in [".venv", ".pixi", "out", ".cache"])
    assert (copy / "only-there.txt").exists()
    assert "1 files exist only at the receiving end and stay" in result.stderr


@needs_rsync
def test_syncing_deletes_only_when_asked_and_never_what_is_left_behind(checkout, copy, shell):
    (copy / ".venv").mkdir()
    result = shell(checkout / "scripts/sync_projects.sh", "--go", "--delete", copy)
    assert result.returncode == 0, result.stderr
    assert not (copy / "only-there.txt").exists()
    assert (copy / ".venv").is_dir()


def test_syncing_into_itself_is_refused(checkout, programs, shell):
    machine = programs(rsync="exit 9")
    inside = shell(checkout / "scripts/sync_projects.sh", "--go", checkout / "projects", first=machine)
    around = shell(checkout / "scripts/sync_projects.sh", "--go", checkout.parent, first=machine)
    assert (inside.returncode, around.returncode) == (1, 1)
    assert "lies in this checkout" in inside.stderr
    assert "choose its own folder" in around.stderr


def test_syncing_to_a_machine_is_a_dry_run_without_go(checkout, programs, shell, tmp_path):
    calls = tmp_path / "calls"
    machine = programs(rsync=RECORD)
    shell(checkout / "scripts/sync_projects.sh", "user@host:work", first=machine, CALLS=str(calls))
    assert all("--dry-run" in call for call in calls.read_text().splitlines())
    calls.unlink()
    shell(checkout / "scripts/sync_projects.sh", "--go", "user@host:work", first=machine, CALLS=str(calls))
    last = calls.read_text().splitlines()[-1]
    assert "--dry-run" not in last
    assert "--delete" not in last
    assert last.endswith("user@host:work/")


# --- benchmark ----------------------------------------------------------------------------------------


def test_a_benchmark_run_is_kept_in_a_folder_of_its_own(checkout, programs, shell, tmp_path):
    bench = 'case "$*" in *"bench ARGS="*) echo "table of numbers"; echo "{}" >out/bench/bench.json; exit 3 ;; esac'
    result = shell(checkout / "scripts/benchmark.sh", "--label", "quiet", "--", "--quick", first=programs(make=bench))
    assert result.returncode == 3  # the benchmark's own
    (folder,) = (checkout / "out/bench").glob("*-quiet")
    assert (folder / "bench.txt").read_text() == "table of numbers\n"
    assert (folder / "commit.txt").exists()
    assert str(folder.relative_to(checkout)) in result.stdout
