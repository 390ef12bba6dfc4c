"""The environment check finds what is missing, wrong or too much, and says it for people and machines."""

from __future__ import annotations

import json
import sys

import validate_env


def test_pins_are_read_with_their_local_versions():
    text = "av==15.0 --hash=sha256:00\ntorch @ https://host/whl/cpu/torch-2.13.0%2Bcpu-cp311-cp311-x.whl --hash=sha256:00\n"
    assert validate_env.read_pins(text) == {"av": "15.0", "torch": "2.13.0+cpu"}


def test_each_difference_is_one_finding():
    pins = {"a": "1", "b": "2", "c": "3"}
    installed = {"a": "1", "b": "2.1", "stranger": "9", "pip": "26", "own-two": "0.1.0"}
    assert validate_env.compare(pins, {"own-one", "own-two"}, installed) == [
        "b is 2.1, the set says 2",
        "c 3 is not installed",
        "own-one (this repository) is not installed",
        "stranger 9 is installed but not in the set",
    ]


def test_an_absent_system_library_is_named_by_its_package():
    libraries = {"libc.so.6": "libc6", "libsurely-not-here.so.1": "libsurely1"}
    assert "libsurely1" in validate_env.missing_system_libraries(libraries)


def test_an_import_that_fails_is_a_finding_and_the_others_go_on(capsys):
    seconds, problems = validate_env.try_imports(["no_such_module_at_all", "json"], quiet=True)
    assert list(seconds) == ["json"]
    assert problems == ["import no_such_module_at_all: ModuleNotFoundError: No module named 'no_such_module_at_all'"]
    assert capsys.readouterr().out == ""


def test_the_command_prints_one_json_object(shell, root):
    result = shell(sys.executable, root / "scripts/validate_env.py", "--no-import", "--json")
    found = json.loads(result.stdout)
    assert found["ok"] == (result.returncode == 0)
    assert isinstance(found["problems"], list)
