"""Downloads against a real HTTP server on this machine that misbehaves on request."""

from __future__ import annotations

import errno
import hashlib
import io
import os
import shutil
import threading
import zipfile
from collections import namedtuple
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from shared_utils.errors import ModelError
from shared_utils.models import ModelEntry, ModelTask, fetch

CONTENT = bytes(range(256)) * 400


class Server(ThreadingHTTPServer):
    """Serves `content`; the attributes say how badly."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.content = CONTENT
        self.etag = '"v1"'
        self.ranges = True  # honour Range
        self.cut_after: list[int | None] = []  # per request: bytes after which the connection drops
        self.statuses: list[int] = []  # per request: answer with this status instead
        self.headers: dict[str, str] = {}
        self.say_length = True
        self.requests: list[dict[str, str]] = []
        self.started = threading.Event()
        self.go_on = threading.Event()
        self.go_on.set()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/weights/tiny.onnx"


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Server

    def log_message(self, *args: object) -> None:
        pass

    def do_GET(self) -> None:
        server = self.server
        server.requests.append({k.lower(): v for k, v in self.headers.items()} | {"path": self.path})
        server.started.set()
        server.go_on.wait(10)
        if server.statuses:
            self._answer(server.statuses.pop(0), b"", {})
            return
        body, status, extra = server.content, 200, {}
        wanted = self.headers.get("Range")
        fresh = self.headers.get("If-Range", server.etag) == server.etag
        if wanted and server.ranges and fresh:
            start = int(wanted.removeprefix("bytes=").rstrip("-"))
            if start >= len(body):
                self._answer(416, b"", {"Content-Range": f"bytes */{len(body)}"})
                return
            status, extra = 206, {"Content-Range": f"bytes {start}-{len(body) - 1}/{len(body)}"}
            body = body[start:]
        self._answer(status, body, extra, server.cut_after.pop(0) if server.cut_after else None)

    def _answer(self, status: int, body: bytes, extra: dict[str, str], cut: int | None = None) -> None:
        self.send_response(status)
        headers = {"ETag": self.server.etag, **extra, **self.server.headers}
        if self.server.say_length:
            headers["Content-Length"] = str(len(body))
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body if cut is None else body[:cut])
        if cut is not None or not self.server.say_length:
            self.close_connection = True


@pytest.fixture
def server(monkeypatch):
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with Server() as running:
        thread = threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
        thread.start()
        yield running
        running.shutdown()


@pytest.fixture
def waits():
    return []


@pytest.fixture
def get(server, tmp_path, waits):
    def run(entry: ModelEntry | None = None, **options):
        return fetch(entry or entry_for(server), folder=tmp_path, sleep=waits.append, **options)

    return run


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def entry_for(server: Server, **changes) -> ModelEntry:
    values = {"sha256": sha256(CONTENT), "size_bytes": len(CONTENT), **changes}
    return ModelEntry(
        name="tiny", task=ModelTask.POSE, file="tiny.onnx", licence="MIT", source="test", input="1x3x8x8", url=server.url, **values
    )


def kept(folder: Path) -> set[str]:
    return {p.name for p in folder.iterdir() if not p.name.endswith(".lock")}


def test_a_file_arrives_whole_with_progress(get, server, tmp_path):
    seen = []
    path = get(progress=lambda done, total: seen.append((done, total)))
    assert path == tmp_path / "tiny.onnx"
    assert path.read_bytes() == CONTENT
    assert seen[0] == (0, len(CONTENT))
    assert seen[-1] == (len(CONTENT), len(CONTENT))
    assert [d for d, _ in seen] == sorted(d for d, _ in seen)
    assert kept(tmp_path) == {"tiny.onnx"}


def test_a_right_file_is_not_downloaded_again_unless_forced(get, server):
    get()
    get()
    assert len(server.requests) == 1
    get(force=True)
    assert len(server.requests) == 2


def test_a_damaged_file_is_replaced(get, server, tmp_path):
    (tmp_path / "tiny.onnx").write_bytes(b"damaged")
    assert get().read_bytes() == CONTENT


def test_a_cut_body_is_resumed_where_it_stopped(get, server, waits):
    server.cut_after = [5000, 20000]
    assert get().read_bytes() == CONTENT
    assert [r.get("range") for r in server.requests] == [None, "bytes=5000-", "bytes=25000-"]
    assert [r.get("if-range") for r in server.requests] == [None, '"v1"', '"v1"']
    assert len(waits) == 2


def test_an_earlier_run_s_part_is_resumed(get, server, tmp_path):
    (tmp_path / "tiny.onnx.part").write_bytes(CONTENT[:1234])
    assert get().read_bytes() == CONTENT
    assert server.requests[0]["range"] == "bytes=1234-"


def test_a_part_that_is_whole_already_needs_no_bytes(get, server, tmp_path):
    (tmp_path / "tiny.onnx.part").write_bytes(CONTENT)
    assert get().read_bytes() == CONTENT
    assert len(server.requests) == 1


def test_a_part_longer_than_the_file_is_begun_anew(get, server, tmp_path):
    (tmp_path / "tiny.onnx.part").write_bytes(CONTENT + b"more")
    assert get().read_bytes() == CONTENT
    assert [r.get("range") for r in server.requests] == [f"bytes={len(CONTENT) + 4}-", None]


def test_a_server_that_ignores_ranges_sends_all_and_all_is_taken(get, server, tmp_path):
    server.ranges = False
    (tmp_path / "tiny.onnx.part").write_bytes(b"x" * 1000)
    assert get().read_bytes() == CONTENT


def test_a_part_of_another_version_is_begun_anew(get, server, tmp_path):
    server.cut_after = [5000]
    server.content, server.etag = CONTENT[::-1], '"v0"'

    def new_version(_wait_s: float) -> None:
        server.content, server.etag = CONTENT, '"v1"'

    path = fetch(entry_for(server), folder=tmp_path, sleep=new_version)
    assert path.read_bytes() == CONTENT
    assert server.requests[1]["if-range"] == '"v0"'


def test_a_wrong_part_without_a_version_is_begun_anew_once(get, server, tmp_path):
    (tmp_path / "tiny.onnx.part").write_bytes(b"wrong" * 10)
    assert get().read_bytes() == CONTENT
    assert len(server.requests) == 2


def test_wrong_content_is_refused_and_nothing_is_kept(get, server, tmp_path):
    server.content = CONTENT[::-1]
    with pytest.raises(ModelError, match=rf"{sha256(CONTENT[::-1])}.*{sha256(CONTENT)}"):
        get()
    assert kept(tmp_path) == set()


def test_another_length_is_refused_before_the_body(get, server, tmp_path):
    server.content = CONTENT + b"more"
    with pytest.raises(ModelError, match="nothing was kept"):
        get()
    assert kept(tmp_path) == set()


def test_a_short_body_of_unstated_length_counts_as_cut(get, server):
    server.say_length = False
    server.cut_after = [777]
    assert get().read_bytes() == CONTENT
    assert server.requests[1]["range"] == "bytes=777-"


def test_a_missing_file_fails_at_once(get, server, waits):
    server.statuses = [404]
    with pytest.raises(ModelError, match=r"404.*weights/tiny.onnx.*moved or was withdrawn"):
        get()
    assert waits == []


def test_a_busy_server_is_asked_again_after_the_time_it_names(get, server, waits):
    server.statuses = [503, 429]
    server.headers = {"Retry-After": "7"}
    assert get().read_bytes() == CONTENT
    assert waits == [7.0, 7.0]


def test_waits_grow_and_end(get, server, waits):
    server.statuses = [500] * 10
    with pytest.raises(ModelError, match=r"500.*tried 4 times"):
        get(retries=3)
    assert waits == [1.0, 2.0, 4.0]


def test_no_network_says_so(tmp_path, monkeypatch):
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with Server() as closed:
        entry = entry_for(closed)
    with pytest.raises(ModelError, match=r"cannot download from 127\.0\.0\.1: no connection.*check the network"):
        fetch(entry, folder=tmp_path, retries=1, sleep=lambda s: None)


def test_a_kept_part_is_mentioned_when_it_gives_up(get, server):
    server.cut_after = [100, 0, 0]
    with pytest.raises(ModelError, match="100 bytes are kept"):
        get(retries=1)


def test_a_redirect_is_followed_but_not_off_https(get, server, waits):
    server.statuses = [302]
    server.headers = {"Location": "http://example.org/evil.onnx"}
    with pytest.raises(ModelError, match="https only"):
        get()
    server.headers = {"Location": "/elsewhere/tiny.onnx"}
    server.statuses = [302]
    assert get().read_bytes() == CONTENT
    assert server.requests[-1]["path"] == "/elsewhere/tiny.onnx"


def test_endless_redirects_end(get, server):
    server.statuses = [302] * 50
    server.headers = {"Location": server.url}
    with pytest.raises(ModelError, match="redirects more than"):
        get()


def test_encoded_content_is_refused(get, server):
    server.headers = {"Content-Encoding": "gzip"}
    with pytest.raises(ModelError, match="gzip-encoded"):
        get()


def test_too_little_space_is_said_before_the_body(get, server, tmp_path, monkeypatch):
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage(10, 10, 10))
    with pytest.raises(ModelError, match=r"not enough space in .* 0\.1 MB needed"):
        get()
    assert "tiny.onnx" not in kept(tmp_path)


def test_a_disk_that_fills_up_is_one_sentence_and_gives_its_space_back(get, tmp_path, monkeypatch):
    def full(_descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(ModelError, match=r"no space left in .*POSE_MODELS_DIR"):
        get()
    assert "tiny.onnx.part" not in kept(tmp_path)


def test_a_folder_that_cannot_be_made_is_one_sentence(server, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ModelError, match="cannot write to"):
        fetch(entry_for(server), folder=tmp_path / "file" / "models")


def test_two_at_once_download_once(server, tmp_path):
    server.go_on.clear()
    results = []
    threads = [threading.Thread(target=lambda: results.append(fetch(entry_for(server), folder=tmp_path))) for _ in range(2)]
    threads[0].start()
    assert server.started.wait(10)
    threads[1].start()
    server.go_on.set()
    for thread in threads:
        thread.join(10)
    assert [p.read_bytes() == CONTENT for p in results] == [True, True]
    assert len(server.requests) == 1


def test_an_unknown_hash_is_pinned_at_the_first_download(get, server, tmp_path):
    entry = entry_for(server, sha256=None, size_bytes=None)
    get(entry)
    assert (tmp_path / "tiny.onnx.sha256").read_text() == f"{sha256(CONTENT)}  tiny.onnx\n"
    server.content = CONTENT[::-1]
    with pytest.raises(ModelError, match="as noted in"):
        get(entry, force=True)
    assert (tmp_path / "tiny.onnx").read_bytes() == CONTENT


def test_a_pinned_file_that_changed_on_disk_is_fetched_again(get, server, tmp_path):
    entry = entry_for(server, sha256=None, size_bytes=None)
    get(entry).write_bytes(b"rotten")
    assert get(entry).read_bytes() == CONTENT


def archive(**members: bytes) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as packed:
        for name, data in members.items():
            packed.writestr(name.replace("__", "/"), data)
    return buffer.getvalue()


def test_the_member_of_an_archive_is_unpacked_and_checked(get, server, tmp_path):
    server.content = archive(deploy__end2end_onnx=CONTENT, deploy__readme=b"hello")
    entry = entry_for(server, archive_member="end2end_onnx")
    assert get(entry).read_bytes() == CONTENT
    assert kept(tmp_path) == {"tiny.onnx"}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"this is no zip", "not a zip archive"),
        (archive(a__other=CONTENT), "holds 0 files"),
        (archive(a__end2end_onnx=CONTENT, b__end2end_onnx=CONTENT), "holds 2 files"),
        (archive(a__end2end_onnx=CONTENT[:-1]), "expected 102400"),
        (archive(a__end2end_onnx=CONTENT[::-1]), "nothing was kept"),
    ],
    ids=["not a zip", "member missing", "member twice", "member cut", "member wrong"],
)
def test_a_wrong_archive_is_refused_and_nothing_is_kept(get, server, tmp_path, content, message):
    server.content = content
    with pytest.raises(ModelError, match=message):
        get(entry_for(server, archive_member="end2end_onnx"))
    assert kept(tmp_path) == set()


def test_a_model_without_an_address_says_where_to_put_it(tmp_path):
    entry = ModelEntry(name="t", task=ModelTask.REID, file="t.onnx", licence="MIT", source="a friend", input="x", sha256=sha256(CONTENT))
    with pytest.raises(ModelError, match=r"no download address \(a friend\); put t\.onnx into"):
        fetch(entry, folder=tmp_path)
    (tmp_path / "t.onnx").write_bytes(CONTENT)
    assert fetch(entry, folder=tmp_path) == tmp_path / "t.onnx"


def test_an_unknown_name_is_an_error(tmp_path):
    with pytest.raises(ModelError, match="did you mean"):
        fetch("blazepose_detektor", folder=tmp_path)
