"""The registry's rows, where files are looked for, and what a missing one says."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from pathlib import Path

import pytest

from shared_utils.addresses import is_loopback
from shared_utils.errors import ModelError
from shared_utils.models import (
    ModelEntry,
    ModelTask,
    file_sha256,
    find_model,
    get_model,
    list_models,
    load_registry,
    models_dir,
    verify,
)
from shared_utils.models.address import check_url
from shared_utils.skeletons import get_skeleton


@pytest.fixture
def home(tmp_path, monkeypatch):
    """No models folder and an empty cache."""
    monkeypatch.delenv("POSE_MODELS_DIR", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("HOME", str(tmp_path))
    return tmp_path


def make(**changes) -> ModelEntry:
    values = {"name": "tiny", "task": "pose", "file": "tiny.onnx", "licence": "MIT", "source": "test", "input": "1x3x8x8"}
    return ModelEntry(**{**values, **changes})


@pytest.mark.parametrize("entry", list_models(), ids=lambda e: e.name)
def test_every_row_is_usable(entry):
    assert entry.licence
    assert entry.source
    assert entry.input
    assert entry.url or entry.in_wheel or entry.notes, "a file nobody can get needs a word"
    if entry.skeleton:
        get_skeleton(entry.skeleton)
    assert (entry.task == ModelTask.POSE) == (entry.skeleton is not None)


def test_agpl_weights_are_marked():
    assert all(m.licence == "AGPL-3.0" for m in list_models() if "ultralytics" in (m.url or ""))
    assert len([m for m in list_models() if m.licence == "AGPL-3.0"]) == 15


@pytest.mark.parametrize("entry", [m for m in list_models() if m.in_wheel], ids=lambda e: e.name)
def test_a_file_in_an_installed_wheel_is_the_stated_one(entry, home):
    path = find_model(entry.name)
    assert path.stat().st_size == entry.size_bytes
    assert hashlib.sha256(path.read_bytes()).hexdigest() == entry.sha256 == verify(path, entry)


def test_finding_a_file_in_a_wheel_does_not_import_it():
    code = "import sys; from shared_utils.models import find_model; find_model('blazepose_detector'); print('mediapipe' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip() == "False"


def test_an_unknown_name_gets_the_nearest_one():
    with pytest.raises(ModelError, match="did you mean blazepose_landmark_heavy"):
        get_model("blazepose_heavy")
    with pytest.raises(ModelError, match="there are blazepose_detector"):
        get_model("zzzzzz")


def test_models_are_listed_by_task():
    assert {m.name for m in list_models(ModelTask.PERSON_DETECTION)} == {"blazepose_detector", "yolox_nano"}
    with pytest.raises(ModelError, match="no task 'segmentation'"):
        list_models("segmentation")


def test_a_missing_model_names_the_command_that_fetches_it(home):
    with pytest.raises(ModelError, match=r"pose-analyzer models fetch movenet_lightning \(Apache-2.0, 2.9 MB\)"):
        find_model("movenet_lightning")


def test_a_missing_model_without_an_address_says_where_it_belongs(home):
    with pytest.raises(ModelError, match=r"put osnet_x0_25_msmt17.onnx into .*pose-analyzer"):
        find_model("osnet_x0_25_msmt17")


def test_a_missing_wheel_says_so(home):
    with pytest.raises(ModelError, match="inside the package no_such_package_here"):
        find_model(make(in_wheel=("no_such_package_here", "a/b.onnx")))


def test_folders_are_searched_in_order(home, monkeypatch, tmp_path):
    cache, chosen, given = home / "cache/pose-analyzer/models", tmp_path / "chosen", tmp_path / "given"
    for folder, text in ((cache, "cache"), (chosen, "chosen"), (given, "given")):
        folder.mkdir(parents=True)
        (folder / "tiny.onnx").write_text(text)
    entry = make()
    if sys.platform == "linux":
        assert models_dir() == cache
        assert find_model(entry).read_text() == "cache"
    monkeypatch.setenv("POSE_MODELS_DIR", str(chosen))
    assert models_dir() == chosen
    assert find_model(entry).read_text() == "chosen"
    assert find_model(entry, folder=given).read_text() == "given"


def test_a_path_is_taken_as_it_is(home, tmp_path, monkeypatch):
    weights = tmp_path / "mine.onnx"
    weights.write_text("x")
    assert find_model(weights) == weights
    assert find_model(str(weights)) == weights
    assert find_model(tmp_path) == tmp_path
    monkeypatch.chdir(tmp_path)
    assert find_model("mine.onnx") == Path("mine.onnx")
    with pytest.raises(ModelError, match="no weights at"):
        find_model(tmp_path / "absent.onnx")
    with pytest.raises(ModelError, match="no weights at"):
        find_model("models/absent.onnx")


def test_a_cut_file_is_named_not_returned(home, tmp_path):
    (tmp_path / "tiny.onnx").write_bytes(b"12345")
    with pytest.raises(ModelError, match=r"has 5 bytes, expected 6; delete it and run: pose-analyzer models fetch tiny"):
        find_model(make(size_bytes=6), folder=tmp_path)


def test_verify_refuses_other_content(tmp_path):
    path = tmp_path / "tiny.onnx"
    path.write_bytes(b"abc")
    digest = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"  # FIPS 180-2, appendix B.1
    assert verify(path, make(sha256=digest)) == digest
    assert verify(path, make()) == digest
    with pytest.raises(ModelError, match="is not tiny"):
        verify(path, make(sha256="0" * 64))
    path.with_name("tiny.onnx.sha256").write_text("1" * 64)
    with pytest.raises(ModelError, match="is not tiny"):
        verify(path, make())


def test_a_hash_is_remembered_until_the_file_changes(tmp_path):
    path = tmp_path / "weights"
    path.write_bytes(b"abc")
    os.utime(path, (1_000_000_000, 1_000_000_000))
    first = file_sha256(path)
    path.write_bytes(b"abd")
    os.utime(path, (1_000_000_000, 1_000_000_000))
    assert file_sha256(path) == first, "same size and time: not read again"
    os.utime(path, (1_000_000_001, 1_000_000_001))
    assert file_sha256(path) == hashlib.sha256(b"abd").hexdigest()


def test_a_file_changed_just_now_is_always_read_again(tmp_path):
    path = tmp_path / "weights"
    for content in (b"abc", b"abd", b"abe"):
        path.write_bytes(content)
        assert file_sha256(path) == hashlib.sha256(content).hexdigest()


def test_an_unreadable_file_is_a_model_error(tmp_path):
    with pytest.raises(ModelError, match="cannot read"):
        file_sha256(tmp_path / "absent")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"name": "../up"}, "a name has letters"),
        ({"task": "juggling"}, "task 'juggling' is none of"),
        ({"file": "a/b.onnx"}, "bare file name"),
        ({"file": ".."}, "bare file name"),
        ({"sha256": "abc"}, "64 lower-case hex"),
        ({"size_bytes": 0}, "must be positive"),
        ({"in_wheel": ("mediapipe", "../../etc/passwd")}, "path inside it"),
        ({"in_wheel": ("os;x", "a")}, "path inside it"),
        ({"url": "http://example.org/a"}, "https only"),
        ({"url": "ftp://example.org/a"}, "https only"),
        ({"url": "https://user:pass@example.org/a"}, "carries credentials"),
        ({"url": "https://[1:2"}, "not an address"),
    ],
)
def test_a_wrong_row_is_refused(changes, message):
    with pytest.raises(ModelError, match=message) as error:
        make(**changes)
    assert "pass@" not in str(error.value)


def test_only_this_machine_may_do_without_tls():
    check_url("http://localhost:80/a")
    check_url("http://[::1]/a")
    assert not is_loopback("127.0.0.1.example.org")
    assert not is_loopback("10.0.0.1")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("models: [", "cannot read"),
        ("[1]", "expected a mapping"),
        ("models: {a: 1}", "must be a mapping"),
        ("models: {a: {task: pose, colour: red}}", "model 'a'"),
        (
            "models:\n  a: &a {task: pose, file: f, licence: MIT, source: s, input: i}\n  b: *a\n",
            "under one file name 'f'",
        ),
    ],
)
def test_a_wrong_registry_names_the_row(tmp_path, text, message):
    path = tmp_path / "registry.yaml"
    path.write_text(text)
    with pytest.raises(ModelError, match=message):
        load_registry(path)


def test_a_registry_of_one_s_own_can_be_read(tmp_path):
    path = tmp_path / "registry.yaml"
    path.write_text("models: {a: {task: pose, file: f, licence: MIT, source: s, input: i, in_wheel: [pkg, x/f]}}")
    assert load_registry(path)["a"].in_wheel == ("pkg", "x/f")
