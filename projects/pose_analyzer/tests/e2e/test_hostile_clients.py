"""Hostile uploads and messages: each gets the right refusal, the service stays up and small."""

from __future__ import annotations

import contextlib
import io
import json
import random
import struct
import wave
import zipfile
import zlib
from collections.abc import Iterator

import cv2
import httpx
import numpy as np
import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import ClientConnection, connect

# What the service process may grow by under everything that follows; a picture of 40 megapixels alone takes more.
GROWTH_BYTES = 150_000_000


@pytest.fixture(scope="module")
def clip(squat_clip) -> bytes:
    return squat_clip.read_bytes()


def png(width: int, height: int) -> bytes:
    """A PNG of one colour that says it is as large as told; the data are a few kilobytes."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    packer = zlib.compressobj(9)
    row = bytes(1 + (width + 7) // 8)
    body = b"".join(packer.compress(row) for _ in range(min(height, 4000))) + packer.flush()
    head = struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", body) + chunk(b"IEND", b"")


def sound() -> bytes:
    out = io.BytesIO()
    with wave.open(out, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(8000)
        file.writeframes(bytes(16000))
    return out.getvalue()


def archive() -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("bomb", bytes(10_000_000))
    return out.getvalue()


def uploads(clip: bytes) -> list[tuple[str, bytes, str]]:
    """Fifty files that are no video a person could mean: what, content, file name."""
    dice = random.Random(7)
    playlist = b"#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\n"
    concat = b"ffconcat version 1.0\nfile '/etc/passwd'\n"
    svg = b'<svg xmlns="http://www.w3.org/2000/svg"><image href="file:///etc/passwd"/></svg>'
    files: list[tuple[str, bytes, str]] = [
        ("empty", b"", "clip.mp4"),
        ("one byte", b"\0", "clip.mp4"),
        ("text", b"This is not a video. " * 50, "clip.mp4"),
        ("html", b"<html><script>alert(1)</script></html>", "clip.mp4"),
        ("shell script", b"#!/bin/sh\nrm -rf /\n", "clip.mp4"),
        ("elf", b"\x7fELF" + dice.randbytes(5000), "clip.mp4"),
        ("pdf", b"%PDF-1.7\n" + dice.randbytes(5000), "clip.mp4"),
        ("json", b'{"a": 1}', "clip.json"),
        ("noise", dice.randbytes(100_000), "clip.mp4"),
        ("zeros", bytes(1_000_000), "clip.mp4"),
        ("zip bomb", archive(), "clip.mp4"),
        ("sound only", sound(), "clip.mp4"),
        ("png of 30000 x 30000", png(30000, 30000), "clip.png"),
        ("png of 100000 x 100000", png(100_000, 100_000), "clip.mp4"),
        ("playlist of local files", playlist + b"file:///etc/passwd\n", "clip.m3u8"),
        ("playlist of another host", playlist + b"http://127.0.0.1:9/secret.ts\n", "clip.mp4"),
        ("concat list", concat, "clip.txt"),
        ("concat list named mp4", concat, "clip.mp4"),
        ("svg with a local file", svg, "clip.svg"),
        ("sdp", b"v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nt=0 0\nm=video 9 RTP/AVP 96\n", "clip.sdp"),
        ("mp4 head alone", clip[:40], "clip.mp4"),
        ("mp4 without index", clip[: len(clip) // 3].replace(b"moov", b"xxxx"), "clip.mp4"),
        ("raw pictures of 30000 x 30000", b"YUV4MPEG2 W30000 H30000 F25:1 C420\nFRAME\n" + bytes(100_000), "clip.y4m"),
        ("sample table of lies", clip.replace(b"stsz", b"stsz", 1).replace(b"stco", b"xxxx"), "clip.mp4"),
        ("no track", clip.replace(b"trak", b"free"), "clip.mp4"),
        ("polyglot: html then zip", b"<html>" + archive(), "clip.html"),
        ("polyglot: gif head then script", b"GIF89a=1;alert(1);//" + b"\0" * 50, "clip.gif"),
        ("jpeg cut short", cv2.imencode(".jpg", np.zeros((64, 64, 3), np.uint8))[1].tobytes()[:200], "clip.jpg"),
        ("avi head of lies", b"RIFF\xff\xff\xff\xffAVI LIST\xff\xff\xff\xffhdrl" + dice.randbytes(300), "clip.avi"),
        ("matroska head alone", b"\x1a\x45\xdf\xa3" + dice.randbytes(400), "clip.mkv"),
        ("mpeg-ts of noise", b"".join(b"\x47" + dice.randbytes(187) for _ in range(200)), "clip.ts"),
        ("flv head", b"FLV\x01\x05\0\0\0\x09" + dice.randbytes(300), "clip.flv"),
        ("midi", b"MThd\0\0\0\x06\0\x01\0\x01\0\x60", "clip.mid"),
        ("gzip", zlib.compress(bytes(3_000_000)), "clip.gz"),
    ]
    names = ("../../etc/passwd", "..\\..\\boot.ini", "a" * 5000 + ".mp4", "\0.mp4", "con", "-rf", "%s%n.mp4", "http://127.0.0.1:9/x.mp4")
    files += [(f"named {name[:20]!r}", b"not a video", name) for name in names]
    while len(files) < 50:
        files.append((f"noise behind a video's first {len(files)} bytes", clip[: len(files)] + dice.randbytes(3000), "clip.mp4"))
    return files


def test_fifty_hostile_uploads_are_refused_and_change_nothing(server, clip):
    before = server.memory_bytes()
    answers = {}
    with httpx.Client(base_url=server.address, timeout=60) as client:
        for what, content, name in uploads(clip):
            answer = client.post("/v1/analyses", files={"file": (name, content, "video/mp4")}, data={"exercise": "squat"})
            answers[what] = answer.status_code
            if answer.is_client_error:
                assert answer.headers["content-type"] == "application/problem+json", what
                assert "Traceback" not in answer.text
                assert str(server.data_dir) not in answer.text, what
        assert len(answers) == 50
        assert {what: code for what, code in answers.items() if code not in (413, 415, 422)} == {}
        assert client.get("/v1/analyses").json()["items"] == []
        assert client.get("/readyz").status_code == 200
    assert server.memory_bytes() - before < GROWTH_BYTES
    left = [path for path in server.data_dir.rglob("*") if path.is_file() and not path.name.startswith("pose.")]
    assert left == []


def test_an_upload_without_end_is_cut_off_where_the_limit_lies(server):
    sent = 0

    def body() -> Iterator[bytes]:
        nonlocal sent
        head = b'--x\r\nContent-Disposition: form-data; name="file"; filename="a.mp4"\r\n\r\n'
        yield head
        for _ in range(2000):
            sent += 1 << 20
            yield bytes(1 << 20)

    before = server.memory_bytes()
    try:
        answer = httpx.post(
            f"{server.address}/v1/analyses", content=body(), headers={"Content-Type": "multipart/form-data; boundary=x"}, timeout=60
        )
        assert answer.status_code == 413
    except httpx.TransportError:
        pass  # it hung up on us, which is an answer too
    assert sent < 200 << 20
    assert server.memory_bytes() - before < GROWTH_BYTES
    assert httpx.get(f"{server.address}/healthz").status_code == 200


def test_bodies_that_are_no_form_are_refused(server):
    kinds = [
        ({"Content-Type": "multipart/form-data"}, b"x"),
        ({"Content-Type": "multipart/form-data; boundary=x"}, b"--y\r\n\r\nno such part"),
        ({"Content-Type": "multipart/form-data; boundary=x"}, b'--x\r\nContent-Disposition: form-data; name="other"\r\n\r\n1\r\n--x--\r\n'),
        ({"Content-Type": "application/json"}, b"{"),
        ({"Content-Type": "application/json"}, b'{"url": 7}'),
        ({"Content-Type": "application/json"}, b"[" * 50_000),
        ({"Content-Type": "text/plain"}, b"hello"),
        ({}, b""),
    ]
    for headers, content in kinds:
        answer = httpx.post(f"{server.address}/v1/analyses", content=content, headers=headers, timeout=30)
        assert answer.is_client_error, (headers, content[:30], answer.status_code)


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1:9/clip.mp4",
        "http://169.254.169.254/latest/meta-data",
        "file:///etc/passwd",
        "concat:/etc/passwd",
        "http://user:secret@example.org/x.mp4",
        "rtsp://127.0.0.1/x",
        "not a url",
        "http://[::1]:9/x.mp4",
        "",
    ],
)
def test_recordings_are_fetched_only_from_hosts_on_the_list(server, url):
    answer = httpx.post(f"{server.address}/v1/analyses", json={"url": url, "exercise": "squat"}, timeout=30)
    assert answer.status_code in (403, 422)
    assert "secret" not in answer.text


def jpeg(width: int = 64, height: int = 64) -> bytes:
    return cv2.imencode(".jpg", np.full((height, width, 3), 90, np.uint8))[1].tobytes()


def messages() -> list[tuple[str, bytes | str]]:
    """Two hundred messages that no browser of ours sends."""
    dice = random.Random(11)
    whole = jpeg()
    texts: list[str] = [
        "", "{", "null", "[]", "7", '"start"', "{}", '{"type": 7}', '{"type": "no such"}', '{"type": "start", "exercise": 7}',
        '{"type": "start", "exercise": "../../etc/passwd"}',
        '{"type": "start", "max_people": 100000}', '{"type": "start", "max_people": -1}',
        '{"type": "frame"}', '{"type": "frame", "frame_id": "x"}', '{"type": "frame", "frame_id": -1}',
        '{"type": "frame", "timestamp_s": NaN}',
        '{"type": "frame", "frame_id": 1, "timestamp_s": 1e999}',
        '{"type": "frame", "frame_id": 99999999999999999999999}',
        "[" * 20_000, json.dumps({"type": "x" * 100_000}), json.dumps({"type": "start", "name": "\u0000" * 1000}),
    ]  # fmt: skip
    pictures: list[bytes] = [
        b"", b"\xff", whole[:100], whole[:-20], b"\xff\xd8\xff" + dice.randbytes(2000), png(40_000, 40_000), png(64, 64)[:60],
        b"GIF89a" + dice.randbytes(300), b"RIFF\x10\0\0\0WEBPVP8 " + dice.randbytes(100), dice.randbytes(50_000), sound(), archive(),
        b"<svg onload='alert(1)'/>", jpeg(1, 1), jpeg(4000, 1),
    ]  # fmt: skip
    found: list[tuple[str, bytes | str]] = [(f"text {text[:40]!r}", text) for text in texts]
    found += [(f"binary {picture[:12]!r}", picture) for picture in pictures]
    while len(found) < 200:
        damaged = bytearray(whole)
        for _ in range(30):
            damaged[dice.randrange(2, len(damaged))] = dice.randrange(256)
        found.append((f"damaged picture {len(found)}", bytes(damaged[: dice.randrange(20, len(damaged))])))
    return found


def live(server) -> ClientConnection:
    return connect(server.address.replace("http", "ws", 1) + "/v1/live", max_size=None, open_timeout=30, legacy=True)


def answer_to(socket: ClientConnection, *, within_s: float = 20.0) -> dict | None:
    """The next message, None when the service hung up."""
    try:
        message = socket.recv(timeout=within_s)
    except ConnectionClosed:
        return None
    return json.loads(message)


def push_until_closed(socket: ClientConnection, parts: list[bytes]) -> None:
    """Send all, then read until the service hangs up."""
    with contextlib.suppress(ConnectionClosed):
        for part in parts:
            socket.send(part)
        while True:
            socket.recv(timeout=30)


def test_two_hundred_hostile_messages_are_answered_or_hung_up_on(server):
    before = server.memory_bytes()
    unexpected = {}
    socket = live(server)
    try:
        for what, message in messages():
            try:
                socket.send(message)
                # Something it must answer, so that silence to the hostile one cannot be waited for without end.
                socket.send(json.dumps({"type": "start"}))
                socket.send(jpeg())
                while (said := answer_to(socket)) is not None and said["type"] not in ("frame",):
                    if said["type"] not in ("error", "hello", "state"):
                        unexpected[what] = said
            except ConnectionClosed:
                said = None
            if said is None:
                if socket.close_code not in (1000, 1003, 1007, 1008, 1009, 1011, 1013):
                    unexpected[what] = socket.close_code
                if socket.close_code == 1011:
                    unexpected[what] = "the service failed"
                socket = live(server)
        assert unexpected == {}
    finally:
        socket.close()
    assert httpx.get(f"{server.address}/readyz", timeout=30).status_code == 200
    assert server.memory_bytes() - before < GROWTH_BYTES
    assert "Traceback" not in server.log


def test_a_message_that_is_too_large_ends_the_connection_as_such(server):
    with live(server) as socket:
        push_until_closed(socket, [bytes(40 << 20)])
        assert socket.close_code == 1009


def test_a_flood_is_cut_off_and_others_are_served(server):
    with live(server) as calm:
        with live(server) as flood:
            push_until_closed(flood, [jpeg()] * 20_000)
            assert flood.close_code == 1008
        calm.send(jpeg())
        kinds = []
        while "frame" not in kinds:
            kinds.append((answer_to(calm) or {"type": "closed"})["type"])
            assert kinds[-1] != "closed"


@pytest.mark.parametrize("path", ["/v1/live", "/v1/streams/demo/live"])
def test_pages_of_other_sites_cannot_open_a_socket(server, path):
    with pytest.raises(InvalidStatus) as refused:
        connect(server.address.replace("http", "ws", 1) + path, origin="https://evil.example")  # pyright: ignore[reportArgumentType]
    assert refused.value.response.status_code == 403


def test_streams_of_hostile_sources_are_refused(server):
    sources = [
        {"kind": "file", "name": "../../etc/passwd"},
        {"kind": "file", "name": "/etc/passwd"},
        {"kind": "file", "analysis_id": "../../x"},
        {"kind": "file", "analysis_id": "0" * 32},
        {"kind": "file"},
        {"kind": "rtsp", "url": "file:///etc/passwd"},
        {"kind": "rtsp", "url": "rtsp://"},
        {"kind": "rtsp", "url": "concat:a|b"},
        {"kind": "webcam", "index": -1},
        {"kind": "webcam", "index": "/dev/mem"},
        {"kind": "no such"},
        {},
        "demo",
    ]
    with httpx.Client(base_url=server.address, timeout=30) as client:
        running = len(client.get("/v1/streams").json()["items"])
        for source in sources:
            answer = client.post("/v1/streams", json={"source": source})
            assert answer.is_client_error, (source, answer.status_code, answer.text[:200])
        assert len(client.get("/v1/streams").json()["items"]) == running
