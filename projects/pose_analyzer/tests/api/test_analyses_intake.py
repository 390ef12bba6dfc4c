"""What is let in and what is not, over HTTP; nothing that is refused leaves anything behind."""

from __future__ import annotations

import resource
import socket
from pathlib import Path

import cv2
import numpy as np
import pytest
from _analyses_app import serving

from pose_analyzer.api.labels import label_of_file
from pose_analyzer.video import VideoWriter

LIMIT = 300_000


@pytest.fixture(scope="module")
def service(tmp_path_factory):
    """Small limits: 300 kB, 2 s, 200 x 200 px."""
    data_dir = tmp_path_factory.mktemp("service") / "data"
    with serving(data_dir, max_upload_bytes=LIMIT, max_duration_s=2.0, max_pixels=40_000, url_hosts=["videos.example.org"]) as running:
        yield running


@pytest.fixture(autouse=True)
def _nothing_is_left(service):
    yield
    assert service.files() == set()
    assert service.get("/v1/analyses").json()["items"] == []


def clip(folder: Path, *, seconds: float = 1.0, width: int = 64, height: int = 48) -> bytes:
    path = folder / "clip.mp4"
    with VideoWriter(path, width=width, height=height, fps=10) as writer:
        for number in range(round(seconds * 10)):
            writer.write(np.full((height, width, 3), number, np.uint8), number / 10)
    return path.read_bytes()


def problem(answer, status: int) -> str:
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    return answer.json()["detail"]


@pytest.mark.parametrize(
    ("content", "name", "status"),
    [
        (b"A shopping list, not a video. " * 40, "clip.mp4", 415),  # judged by content, whatever its name
        (b"%PDF-1.7\n" + bytes(3000), "clip.mp4", 415),
        (b"", "clip.mp4", 422),
        (b"\0\0\0\x20ftypisom\0\0\2\0isomiso2avc1mp41", "clip.mp4", 422),  # a head without a body
    ],
)
def test_what_cannot_be_decoded_is_refused_before_it_is_taken_in(service, content, name, status):
    detail = problem(service.upload(content, name), status)
    assert str(service.data_dir) not in detail


def test_a_picture_that_is_too_large_is_refused(service):
    content = cv2.imencode(".png", np.zeros((600, 600), np.uint8))[1].tobytes()
    assert "max_pixels" in problem(service.upload(content, "photo.png"), 422)


def test_a_recording_that_announces_to_be_too_long_is_refused(service, tmp_path):
    assert "max_duration_s" in problem(service.upload(clip(tmp_path, seconds=4)), 422)


def test_a_file_above_the_limit_is_refused_by_its_announced_length(service):
    # Nothing is sent but the head; the answer does not wait for the rest.
    with socket.create_connection(("127.0.0.1", int(service.address.rsplit(":", 1)[1]))) as line:
        line.settimeout(20)
        line.sendall(
            b"POST /v1/analyses HTTP/1.1\r\nHost: localhost\r\nContent-Type: multipart/form-data; boundary=x\r\n"
            b"Content-Length: 9000000\r\n\r\n"
        )
        assert line.recv(100).startswith(b"HTTP/1.1 413 ")


def test_a_file_above_the_limit_is_refused_where_it_passes_it(service):
    head = b'--x\r\nContent-Disposition: form-data; name="file"; filename="a.mp4"\r\n\r\n'
    chunks = [head, *[bytes(50_000)] * 20]  # without a length: chunked
    answer = service.post("/v1/analyses", content=iter(chunks), headers={"Content-Type": "multipart/form-data; boundary=x"})
    assert "max_upload_bytes" in problem(answer, 413)


def form(*parts: bytes, end: bytes = b"--x--\r\n") -> bytes:
    return b"".join(b"--x\r\n" + part + b"\r\n" for part in parts) + end


NAME = b'Content-Disposition: form-data; name="name"\r\n\r\nx'
FILE = b'Content-Disposition: form-data; name="file"; filename="a.mp4"\r\n\r\ncontent'


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (form(NAME), "file: is missing"),
        (form(FILE, FILE), "more than one"),
        (form(b'Content-Disposition: form-data; name="other"\r\n\r\nx', FILE), "no field 'other'"),
        (
            form(b'Content-Disposition: form-data; name="name"\r\n\r\nx', b'Content-Disposition: form-data; name="name"\r\n\r\ny', FILE),
            "twice",
        ),
        (form(b"Content-Disposition: form-data\r\n\r\nx"), "needs a name"),
        (form(b"X: y\r\n\r\nx"), "needs a name"),
        (form(b'Content-Disposition: form-data; name="name"\r\n\r\n' + b"x" * 5000, FILE), "at most 4096 bytes"),
        (form(FILE, end=b""), "closing boundary"),
        (b"--y\r\nnot the boundary", "no form"),
        (b"", "closing boundary"),
    ],
)
def test_forms_that_are_none_are_refused_with_the_reason(service, content, said):
    answer = service.post("/v1/analyses", content=content, headers={"Content-Type": "multipart/form-data; boundary=x"})
    assert said in problem(answer, 422)


@pytest.mark.parametrize("kind", ["multipart/form-data", "multipart/form-data; boundary=", "multipart/form-data; boundary=" + "x" * 500])
def test_a_form_without_a_usable_boundary_is_refused(service, kind):
    assert "boundary" in problem(service.post("/v1/analyses", content=b"x", headers={"Content-Type": kind}), 422)


@pytest.mark.parametrize("headers", [{}, {"Content-Type": "text/plain"}, {"Content-Type": "application/x-www-form-urlencoded"}])
def test_other_kinds_of_body_are_refused(service, headers):
    assert problem(service.post("/v1/analyses", content=b"file=x", headers=headers), 415)


@pytest.mark.parametrize("name", ["sqat", "../../etc/passwd", "config/exercises/squat.yaml", "/etc/hosts.yml", "\0", "x" * 3000])
def test_exercises_are_names_and_no_paths(service, tmp_path, name):
    detail = problem(service.upload(clip(tmp_path), exercise=name), 422)
    assert "squat" in detail
    assert "squat" in problem(service.post("/v1/analyses", json={"url": "https://videos.example.org/a.mp4", "exercise": name}), 422)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"[]",
        b"7",
        b'{"url": 7}',
        b'{"link": "https://videos.example.org/a.mp4"}',
        b"[" * 50_000,
        b'{"url": "ftp://videos.example.org/a"}',
        b'{"url": "https://"}',
        b'{"url": "https://[/"}',
        b'{"url": "https://videos.example.org:99999/a"}',
        b'{"url": "https://videos.example.org/a b"}',
        b'{"url": "\xff"}',
    ],
)
def test_requests_for_an_address_that_make_no_sense_are_refused(service, body):
    assert problem(service.post("/v1/analyses", content=body, headers={"Content-Type": "application/json"}), 422)


def test_a_request_for_an_address_has_a_limit_of_its_own(service):
    assert "at most" in problem(service.post("/v1/analyses", json={"url": "https://videos.example.org/" + "x" * 100_000}), 413)


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1/a.mp4",
        "http://169.254.169.254/latest/meta-data",
        "http://[::1]/a.mp4",
        "https://example.org/a.mp4",
        "https://videos.example.org.evil.example/a.mp4",
        "https://videos.example.org@evil.example/a.mp4",
        "https://videos.example.org:8443/a.mp4",  # a port of its own has to be listed
        "http://user:hunter22@evil.example/a.mp4",
    ],
)
def test_recordings_are_fetched_only_from_listed_hosts(service, url):
    answer = service.post("/v1/analyses", json={"url": url})
    problem(answer, 403)
    assert "hunter22" not in answer.text


def test_a_full_disk_is_told_as_such(tmp_path):
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    with serving(tmp_path / "data") as service:
        # The kernel refuses to let any file of this process grow beyond a megabyte.
        resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, before[1]))
        try:
            assert "disk is full" in problem(service.upload(bytes(3 << 20)), 507)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, before)
        assert service.files() == set()


def test_an_upload_for_which_there_is_no_room_is_refused_before_it_is_sent(service, monkeypatch):
    usage = type("Usage", (), {"free": 1000})
    monkeypatch.setattr("pose_analyzer.api.uploads.shutil.disk_usage", lambda _folder: usage)
    assert "no room" in problem(service.upload(b"x" * 5000), 507)


def test_an_upload_that_breaks_off_leaves_nothing(tmp_path):
    with serving(tmp_path / "data") as service:
        with socket.create_connection(("127.0.0.1", int(service.address.rsplit(":", 1)[1]))) as line:
            line.sendall(
                b"POST /v1/analyses HTTP/1.1\r\nHost: localhost\r\nContent-Type: multipart/form-data; boundary=x\r\n"
                b"Content-Length: 9000000\r\n\r\n" + form(FILE, end=b"")[:-2] + bytes(4 << 20)
            )
            service.wait("/healthz", lambda _: bool(service.files()))
        assert service.until_files_are(set()) == set()


def test_an_upload_that_stands_still_does_not_keep_its_place(service, monkeypatch):
    monkeypatch.setattr("pose_analyzer.api.uploads.SILENCE_S", 0.2)
    with socket.create_connection(("127.0.0.1", int(service.address.rsplit(":", 1)[1]))) as line:
        line.settimeout(20)
        line.sendall(
            b"POST /v1/analyses HTTP/1.1\r\nHost: localhost\r\nContent-Type: multipart/form-data; boundary=x\r\n"
            b"Content-Length: 200000\r\n\r\n" + form(FILE, end=b"")
        )
        assert line.recv(100).startswith(b"HTTP/1.1 408 ")


@pytest.mark.parametrize(
    ("sent", "label"),
    [
        ("../../../etc/cron.d/x.mp4", "x.mp4"),
        ("..\\..\\boot.ini", "boot.ini"),
        ("a\r\nSet-Cookie: x=1", "a Set-Cookie: x=1"),
        ("\u202egpj.exe", "gpj.exe"),
        ("  Kniebeuge\u00a0Süd  ", "Kniebeuge Süd"),
        ("x" * 5000, "x" * 200),
        ("..", "recording"),
        ("", "recording"),
    ],
)
def test_names_of_clients_are_labels_and_nothing_else(sent, label):
    assert label_of_file(sent) == label
