"""The model fetcher as a person uses it, against a web server on this machine."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import download_models
import pytest

from shared_utils.models import ModelEntry, ModelTask

CONTENT = bytes(range(256)) * 64


class Handler(BaseHTTPRequestHandler):
    """Serves CONTENT under every path, from where the client asks."""

    def log_message(self, *args: object) -> None:
        pass

    def do_GET(self) -> None:
        asked = self.headers.get("Range")
        start = int(asked.removeprefix("bytes=").rstrip("-")) if asked else 0
        self.server.starts.append(start)  # type: ignore[attr-defined]
        self.send_response(206 if asked else 200)
        self.send_header("Content-Length", str(len(CONTENT) - start))
        if asked:
            self.send_header("Content-Range", f"bytes {start}-{len(CONTENT) - 1}/{len(CONTENT)}")
        self.end_headers()
        self.wfile.write(CONTENT[start:])


@pytest.fixture
def server() -> Iterator[ThreadingHTTPServer]:
    httpd = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    httpd.starts = []  # type: ignore[attr-defined]
    thread = threading.Thread(target=httpd.serve_forever, daemon=True)
    thread.start()
    yield httpd
    httpd.shutdown()
    thread.join()
    httpd.server_close()


@pytest.fixture
def models(server, monkeypatch, tmp_path):
    """A registry of four models; downloads go to tmp_path."""
    right = hashlib.sha256(CONTENT).hexdigest()
    address = f"http://127.0.0.1:{server.server_port}"

    def entry(name: str, **fields) -> ModelEntry:
        fields = {"url": f"{address}/{name}", "sha256": right, "licence": "MIT", "size_bytes": len(CONTENT)} | fields
        return ModelEntry(name=name, task=ModelTask.POSE, file=f"{name}.onnx", source="this test", input="none", **fields)

    known = [
        entry("good"),
        entry("other"),
        entry("forged", sha256="0" * 64),
        entry("copyleft", licence="AGPL-3.0"),
        entry("nowhere", url=None),
    ]
    monkeypatch.setattr(download_models, "list_models", lambda: tuple(known))
    monkeypatch.setenv("POSE_MODELS_DIR", str(tmp_path))
    return tmp_path


def test_a_named_model_is_fetched_and_then_listed_as_here(models, capsys):
    assert download_models.main(["good"]) == 0
    assert (models / "good.onnx").read_bytes() == CONTENT
    capsys.readouterr()
    assert download_models.main(["--list", "--json"]) == 0
    listed = {row["name"]: row for row in json.loads(capsys.readouterr().out)}
    assert listed["good"]["path"] == str(models / "good.onnx")
    assert listed["other"]["path"] is None


def test_the_list_says_size_licence_and_what_is_here(models, capsys):
    download_models.main(["good"])
    capsys.readouterr()
    assert download_models.main(["--list"]) == 0
    text = capsys.readouterr().out
    line = next(row for row in text.splitlines() if " copyleft " in row)
    assert "AGPL-3.0" in line
    assert "0.0" in line
    assert "1 of 5 are here" in text
    assert "no address" in next(row for row in text.splitlines() if " nowhere " in row)


def test_a_wrong_hash_is_refused_and_the_next_model_still_comes(models, capsys):
    assert download_models.main(["forged", "good"]) == 1
    assert sorted(path.name for path in models.glob("[!.]*")) == ["good.onnx"]
    assert "nothing was kept" in capsys.readouterr().err


def test_an_interrupted_download_goes_on_where_it_stopped(models, server):
    (models / "good.onnx.part").write_bytes(CONTENT[:1000])
    assert download_models.main(["good"]) == 0
    assert server.starts == [1000]
    assert (models / "good.onnx").read_bytes() == CONTENT


def test_all_permissive_leaves_copyleft_and_those_without_address(models):
    assert download_models.main(["--all-permissive"]) == 1  # one of them is forged
    assert sorted(path.name for path in models.glob("*.onnx")) == ["good.onnx", "other.onnx"]


def test_a_named_copyleft_model_comes_with_its_licence(models, capsys):
    assert download_models.main(["copyleft"]) == 0
    assert "AGPL-3.0: read it before you use this in a product" in capsys.readouterr().err


def test_a_model_without_address_is_told_where_to_put(models, capsys):
    assert download_models.main(["nowhere"]) == 1
    assert "nowhere.onnx" in capsys.readouterr().err


@pytest.mark.parametrize(("words", "sentence"), [(["goood"], "unknown model goood; there are: good"), ([], "name a model")])
def test_wrong_words_end_with_two(models, capsys, words, sentence):
    with pytest.raises(SystemExit) as stop:
        download_models.main(words)
    assert stop.value.code == 2
    assert sentence in capsys.readouterr().err
