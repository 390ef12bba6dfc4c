"""The command as a user and a program see it; readings are imitated, the terminal is not."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace

import pytest
from typer.testing import CliRunner

from gpu_optimizer import __version__, cli
from gpu_optimizer.cli import machine as machine_room
from gpu_optimizer.monitoring import EccErrors, GpuSample, HostSample, Snapshot
from shared_utils.errors import DeviceError

pytestmark = pytest.mark.usefixtures("prices_of_today")
HOST = HostSample(memory_total_bytes=16 << 30, memory_available_bytes=4 << 30, process_resident_bytes=1 << 28)
FULL = GpuSample(
    index=0,
    uuid="GPU-1",
    name="New Card",
    memory_total_bytes=24 << 30,
    memory_used_bytes=6 << 30,
    utilization_ratio=0.37,
    temperature_c=61,
    power_w=215.5,
    power_limit_w=300,
)
BARE = GpuSample(index=1, uuid="GPU-2", name="Old Card", memory_total_bytes=8 << 30, memory_used_bytes=0)


@pytest.fixture
def machine(monkeypatch):
    """Imitate what a reader finds; waiting takes no time."""

    def imitate(*gpus: GpuSample, problem: str | None = None) -> None:
        snapshot = Snapshot(gpus=gpus, host=HOST, gpu_problem=problem)
        monkeypatch.setattr(machine_room.SnapshotReader, "read", lambda self: snapshot)
        monkeypatch.setattr(machine_room.time, "sleep", lambda seconds: None)

    return imitate


def run(*words: str):
    return CliRunner().invoke(cli.app, list(words), env={"COLUMNS": "120"})


def test_the_table_shows_each_gpu_and_the_host(machine):
    machine(FULL, BARE)
    result = run("watch", "--count", "1")
    assert result.exit_code == 0
    first, second, host = (next(row for row in result.output.splitlines() if name in row) for name in ("New Card", "Old Card", "host"))
    assert all(cell in first for cell in ("6.0 GiB", "24.0 GiB", "37%", "61", "216/300"))
    assert second.count(" - ") == 3  # load, temperature and power that it does not report
    assert "12.0 GiB" in host


def test_without_a_gpu_the_reason_stands_below_the_host(machine):
    machine(problem="no NVIDIA driver answers (not found)")
    output = run("watch", "--count", "1").output
    assert "host" in output
    assert "no NVIDIA driver answers (not found)" in output


def test_json_is_one_object_per_reading(machine):
    machine(FULL)
    lines = run("watch", "--count", "3", "--json").output.splitlines()
    assert len(lines) == 3
    found = json.loads(lines[0])
    assert found["gpus"][0]["memory_used_bytes"] == 6 << 30
    assert found["host"]["process_resident_bytes"] == 1 << 28


def test_ctrl_c_ends_a_watch_without_a_trace(machine, monkeypatch):
    machine(FULL)

    def interrupt(seconds: float) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(machine_room.time, "sleep", interrupt)
    result = run("watch")
    assert result.exit_code == 0
    assert "Traceback" not in result.output
    assert "Aborted" not in result.output


@pytest.mark.parametrize("words", [("watch", "--interval", "0"), ("watch", "--count", "0"), ("observe",)])
def test_wrong_words_end_with_two(words):
    assert run(*words).exit_code == 2


def test_detect_lists_the_processor_and_gives_json_to_programs():
    assert "cpu" in run("detect").output
    assert json.loads(run("detect", "--json").output)["memory_bytes"] > 0


def test_the_version_is_the_packages():
    assert run("--version").output.strip() == __version__


def test_an_error_of_ours_is_one_line(monkeypatch, capsys):
    def broken() -> None:
        raise DeviceError("the driver is gone")

    monkeypatch.setattr("shared_utils.devices.detect_devices", broken)
    with pytest.raises(SystemExit) as stop:
        cli.main(["detect"])
    assert stop.value.code == 1
    assert capsys.readouterr().err == "error: the driver is gone\n"


# --- models -----------------------------------------------------------------------------------------
MODEL_FILE = """
import torch


def small():
    torch.manual_seed(0)
    return torch.nn.Sequential(torch.nn.Linear(64, 256), torch.nn.ReLU(), torch.nn.Linear(256, 8)), torch.ones(16, 64)


def wrong():
    return 5

def fails():
    raise ValueError("no such data")
"""


@pytest.fixture
def own_model(tmp_path, monkeypatch) -> str:
    (tmp_path / "my_models.py").write_text(MODEL_FILE)
    monkeypatch.chdir(tmp_path)
    return "my_models:small"


def outcome(*words: str) -> tuple[int, str]:
    """Exit status and what stands on standard error, as the shell gets them."""
    import contextlib
    import io

    errors = io.StringIO()
    with contextlib.redirect_stderr(errors), pytest.raises(SystemExit) as stop:
        cli.main(list(words))
    return int(stop.value.code or 0), errors.getvalue()


def test_a_model_of_ones_own_is_estimated_to_the_byte(own_model):
    found = json.loads(run("estimate", own_model, "--optimizer", "sgd", "--for", "cpu", "--json").stdout)
    parameters = (64 * 256 + 256 + 256 * 8 + 8) * 4
    assert found["parameters"] == parameters // 4
    assert found["by_category_bytes"]["parameters"] == parameters
    assert found["by_category_bytes"]["inputs"] == 16 * 64 * 4
    assert found["peak_bytes"] == sum(found["by_category_bytes"].values())
    assert len(found["timeline"]["phase"]) == len(found["timeline"]["categories"]["parameters"])


def test_estimate_and_profile_agree_on_a_small_model(own_model):
    estimated = json.loads(run("estimate", own_model, "--for", "cpu", "--json").stdout)
    measured = json.loads(run("profile", own_model, "--json").stdout)
    assert (estimated["method"], measured["method"]) == ("estimated", "measured")
    assert estimated["peak_bytes"] == pytest.approx(measured["peak_bytes"], rel=0.03)


def test_tables_name_the_model_and_its_peak_and_files_are_written(own_model, tmp_path):
    files = [tmp_path / name for name in ("p.json", "p.png", "p.html")]
    words = [word for option, path in zip(("--save", "--plot", "--html"), files, strict=True) for word in (option, str(path))]
    output = run("estimate", own_model, "--batch", "32", *words).output
    assert "my_models:small" in output
    assert "0.weight" in output
    assert json.loads(files[0].read_text())["method"] == "estimated"
    assert files[1].read_bytes().startswith(b"\x89PNG")
    assert "<html" in files[2].read_text()


def test_an_estimate_says_whether_a_gpu_has_room_for_more_than_the_tensors(own_model):
    found = json.loads(run("estimate", own_model, "--memory", "1GiB", "--json").stdout)
    need = found["device_need"]
    assert need["fits"]
    assert need["total_bytes"] > need["reserved_bytes"] + need["context_bytes"] > found["peak_bytes"]
    tight = run("estimate", own_model, "--memory", "128MiB")  # room for the tensors, none for the CUDA context
    assert tight.exit_code == 1
    assert "does not fit into 128.0 MiB" in tight.output


def test_benchmarks_are_listed_and_run_with_their_own_words(tmp_path, monkeypatch, capfd):
    from gpu_optimizer.cli import bench

    (tmp_path / "quick.py").write_text("import sys\nif __name__ == '__main__':\n    print('measured', sys.argv[1:])\n")
    (tmp_path / "broken.py").write_text("if __name__ == '__main__':\n    raise SystemExit(7)\n")
    (tmp_path / "part_of_another.py").write_text("x = 1\n")
    monkeypatch.setattr(bench, "_FOLDER", tmp_path)
    monkeypatch.setattr(bench.benchmarks, "__defaults__", (tmp_path,))
    assert set(json.loads(run("bench", "--json").stdout)) == {"quick", "broken"}
    assert run("bench", "quick", "--rounds", "3").exit_code == 0
    assert "measured ['--rounds', '3']" in capfd.readouterr().out
    assert run("bench", "broken").exit_code == 1


def test_the_largest_batch_is_found_and_confirmed(own_model):
    found = json.loads(run("batch-size", own_model, "--budget", "2MiB", "--optimizer", "sgd", "--json").stdout)
    assert found["measured_peak_bytes"] <= found["budget_bytes"] == 2 * 2**20
    assert found["batch_size"] > 16


def test_a_plan_is_made_written_and_priced(own_model, tmp_path):
    target = tmp_path / "plan.json"
    result = run("plan", own_model, "--budget", "1GiB", "--machine", "l4", "--save", str(target), "--json")
    assert json.loads(result.stdout)["budget_bytes"] == 2**30
    priced = json.loads(run("cost", "--plan", str(target), "--top", "3", "--json").stdout)
    assert len(priced["rows"]) == 3


def test_a_budget_that_nothing_fits_is_answered_with_the_smallest_that_does(own_model):
    result = run("plan", own_model, "--budget", "1KiB", "--machine", "l4", "--json")
    assert result.exit_code == 1
    found = json.loads(result.stdout)
    again = run("plan", own_model, "--budget", str(found["smallest_bytes"]), "--machine", "l4", "--json")
    assert again.exit_code == 0


def test_cost_names_the_cheapest_machine_that_fits():
    rows = json.loads(run("cost", "--memory", "30GiB", "--json").stdout)["rows"]
    hourly = [row["usd_per_hour"] for row in rows]
    assert hourly == sorted(hourly)
    assert all(row["fits_bytes"] >= 30 * 2**30 for row in rows)


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("estimate", "my_models:wrong"), "expected (model, sample)"),
        (("estimate", "my_models:none"), "name a function"),
        (("estimate", "no_such_module:f"), "give a module"),
        (("estimate", "my_models:fails"), "my_models:fails failed: ValueError: no such data (my_models.py:"),
        (("profile", "my_models:fails", "--plot", "no_folder/p.png"), "no_folder/p.png cannot be written"),
        (("profile", "my_models:fails", "--plot", "p.doc"), "ends in .png"),
        (("estimate", "my_models:fails", "--save", "."), "cannot be written"),
        (("plan", "my_models:fails", "--budget", "1GiB", "--save", "no_folder/p.json"), "cannot be written"),
        (("fragmentation", "missing.pickle", "--plot", "p.txt"), "ends in .png"),
        (("estimate", "missing.json"), "cannot be read"),
        (("estimate", "mlp", "--for", "cpu", "--memory", "1GiB"), "leave out --for cpu"),
        (("batch-size", "my_models:small"), "pass --budget"),
        (("plan", "my_models:small", "--budget", "many"), "budget"),
        (("plan", "my_models:small", "--budget", "1GiB", "--machine", "abacus"), "there is no machine 'abacus'"),
        (("fragmentation", "missing.pickle"), "missing.pickle"),
        (("bench", "none"), "there is no benchmark"),
    ],
)
def test_bad_input_is_one_line_that_says_what_is_right_and_status_two(own_model, words, says):
    status, errors = outcome(*words)
    assert status == 2
    assert says in errors
    assert errors.startswith("error: ")
    assert "Traceback" not in errors


def test_cost_needs_memory_or_a_plan():
    assert run("cost").exit_code == 2
    assert run("cost", "--memory", "1GiB", "--plan", "x.json").exit_code == 2


def test_a_snapshot_is_explained(tmp_path):
    from gpu_optimizer.profiling.allocator import AllocatorSimulator

    allocator = AllocatorSimulator()
    allocator.alloc("a", 3 << 20)
    (tmp_path / "memory.json").write_text(json.dumps(allocator.snapshot()))
    found = json.loads(run("fragmentation", str(tmp_path / "memory.json"), "--json").stdout)
    assert (found["reserved_bytes"], found["allocated_bytes"]) == (20 << 20, 3 << 20)
    assert "20 MiB reserved" in run("fragmentation", str(tmp_path / "memory.json")).output


# --- the machine ------------------------------------------------------------------------------------
def test_the_report_names_torch_the_driver_and_what_to_do(machine):
    machine(problem="no NVIDIA driver answers (not found)")
    output = run("report").output
    assert "torch" in output
    assert "no NVIDIA driver" in output
    found = json.loads(run("report", "--json").stdout)
    assert found["torch"]["version"]
    assert any("No GPU" in sentence for sentence in found["advice"])


@pytest.mark.parametrize(
    ("gpu", "torch", "says"),
    [
        (FULL, {"version": "2", "cuda": None, "cuda_usable": False}, "built without CUDA"),
        (FULL, {"version": "2", "cuda": "13.0", "cuda_usable": False}, "cannot use the GPU"),
        (replace(FULL, memory_used_bytes=20 << 30), {"version": "2", "cuda": "13", "cuda_usable": True}, "20.0 GiB of 24.0 GiB are held"),
        (replace(FULL, ecc=EccErrors(uncorrected=2)), {"version": "2", "cuda": "13", "cuda_usable": True}, "2 uncorrected"),
        (replace(FULL, clock_limits=("thermal_hardware",)), {"version": "2", "cuda": "13", "cuda_usable": True}, "improve its cooling"),
    ],
)
def test_advice_follows_from_what_was_read(gpu, torch, says):
    advice = machine_room.advise({}, Snapshot(gpus=(gpu,), host=HOST, gpu_problem=None), torch)
    assert any(says in sentence for sentence in advice)


def test_a_good_machine_gets_no_advice():
    torch = {"version": "2", "cuda": "13", "cuda_usable": True}
    assert machine_room.advise({}, Snapshot(gpus=(FULL,), host=HOST, gpu_problem=None), torch) == []


def test_help_of_every_command_loads_no_torch():
    code = "import sys, gpu_optimizer.cli; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
