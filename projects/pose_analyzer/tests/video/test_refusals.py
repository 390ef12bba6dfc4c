"""Everything that is no readable video is refused by its own clear error, at once."""

from __future__ import annotations

import os
import socket
import struct
import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest
from _video_clips import make_clip, make_sound

from pose_analyzer.errors import (
    DamagedSourceError,
    EmptySourceError,
    MissingSourceError,
    NotAVideoError,
    SourceError,
    UnreadableSourceError,
)
from pose_analyzer.video import open_source


def png(width: int, height: int) -> bytes:
    """A PNG that announces a size and holds next to nothing."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(b"\0" * 100)) + chunk(b"IEND", b"")


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(MissingSourceError, match="no such file") as caught:
        open_source(tmp_path / "nowhere.mp4")
    assert "nowhere.mp4" in str(caught.value)
    assert isinstance(caught.value, FileNotFoundError)


def test_a_wrong_extension_in_the_name_brings_a_hint(tmp_path):
    make_clip(tmp_path / "squat.mov", frames=1)
    with pytest.raises(MissingSourceError, match=r"did you mean squat\.mov"):
        open_source(tmp_path / "squat.mp4")


@pytest.mark.parametrize("spec", ["", "   ", "a\0b", "x" * 5000, "gopher://host/x", "nowhere/at/all.mp4", -1])
def test_an_impossible_name_is_missing(spec):
    with pytest.raises(MissingSourceError):
        open_source(spec)


def test_a_file_without_bytes_is_empty(tmp_path):
    path = tmp_path / "empty.mp4"
    path.touch()
    with pytest.raises(EmptySourceError, match="0 bytes"):
        open_source(path)


def test_a_video_without_a_frame_is_empty(tmp_path):
    import av

    path = tmp_path / "none.mov"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=25)
        stream.width, stream.height = 64, 48
        container.start_encoding()
    with pytest.raises(EmptySourceError):
        open_source(path)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"my training notes\n" * 50, "plain text"),
        ("Übungen: Kniebeuge\n".encode() * 400, "plain text"),
        (b"<!DOCTYPE html><html><body>404</body></html>", "web page"),
        (b"%PDF-1.7\n" + bytes(range(256)) * 20, "PDF"),
        (b"PK\x03\x04" + bytes(range(256)) * 20, "ZIP"),
        (bytes(10_000), "zero bytes"),
        (b"\x7fELF" + bytes(range(256)) * 20, "program"),
        (np.random.default_rng(3).bytes(50_000), "unknown kind"),
        (b"1\n00:00:01,000 --> 00:00:02,000\nhello\n\n2\n00:00:03,000 --> 00:00:04,000\nyou\n", "subtitle"),
        (b"x", "plain text"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_another_kind_of_file_named_like_a_video_is_no_video(tmp_path, content, words):
    path = tmp_path / "squat.mp4"
    path.write_bytes(content)
    with pytest.raises(NotAVideoError, match=words):
        open_source(path)


@pytest.mark.parametrize(
    "content",
    [
        b"ffconcat version 1.0\nfile secret.ts\n",
        b"#EXTM3U\n#EXT-X-VERSION:3\n#EXT-X-TARGETDURATION:10\n#EXTINF:10,\nsecret.ts\n#EXT-X-ENDLIST\n",
        b"v=0\no=- 0 0 IN IP4 127.0.0.1\ns=No\nc=IN IP4 127.0.0.1\nt=0 0\nm=video 5004 RTP/AVP 96\na=rtpmap:96 H264/90000\n",
    ],
    ids=["concat", "hls", "sdp"],
)
def test_a_playlist_dressed_as_a_video_opens_nothing_else(tmp_path, monkeypatch, content):
    make_clip(tmp_path / "secret.ts", form="mpegts", frames=5)
    monkeypatch.chdir(tmp_path)
    Path("trap.mp4").write_bytes(content)
    with pytest.raises(NotAVideoError):
        open_source("trap.mp4")


@pytest.mark.parametrize("name", ["voice.m4a", "voice.wav", "voice.mp3", "voice.mkv"])
def test_sound_without_pictures_is_no_video(tmp_path, name):
    codec = {"voice.wav": "pcm_s16le", "voice.mp3": "libmp3lame"}.get(name, "aac")
    path = make_sound(tmp_path / name, codec) if codec != "libmp3lame" else _mp3(tmp_path / name)
    renamed = path.rename(tmp_path / "video.mp4")
    with pytest.raises(NotAVideoError, match="sound only"):
        open_source(renamed)


def _mp3(path: Path) -> Path:
    import av

    if "libmp3lame" not in av.codec.codecs_available:
        pytest.skip("this FFmpeg has no MP3 encoder")
    return make_sound(path, "libmp3lame")


def test_a_folder_without_pictures_is_no_video(tmp_path):
    (tmp_path / "notes.txt").write_text("none")
    with pytest.raises(NotAVideoError, match="neither pictures nor videos"):
        open_source(tmp_path)


def test_a_folder_of_videos_says_to_give_them_one_by_one(tmp_path):
    make_clip(tmp_path / "a.mp4", frames=1)
    with pytest.raises(NotAVideoError, match=r"one by one.*a\.mp4"):
        open_source(tmp_path)


def test_an_unreadable_file_is_told_from_a_missing_one(tmp_path, monkeypatch):
    path = make_clip(tmp_path / "locked.mp4", frames=1)
    if os.geteuid() == 0:
        # Root may read everything, so the refusal has to be played.
        plain_open = Path.open

        def locked(self, *args, **kwargs):
            if self == path:
                raise PermissionError(13, "Permission denied")
            return plain_open(self, *args, **kwargs)

        monkeypatch.setattr(Path, "open", locked)
    else:
        path.chmod(0)
    with pytest.raises(UnreadableSourceError, match="permission") as caught:
        open_source(path)
    assert isinstance(caught.value, PermissionError)


def test_a_pipe_is_not_waited_for(tmp_path):
    path = tmp_path / "pipe"
    os.mkfifo(path)
    with pytest.raises(NotAVideoError, match="neither a file nor a folder"):
        open_source(path)


def test_a_video_whose_index_was_never_written_is_damaged(tmp_path):
    whole = make_clip(tmp_path / "whole.mp4", frames=30).read_bytes()
    path = tmp_path / "cut.mp4"
    path.write_bytes(whole[: len(whole) // 2])  # this muxer writes the index last
    with pytest.raises(DamagedSourceError, match="index"):
        open_source(path)


def test_a_video_of_which_nothing_can_be_decoded_is_damaged(tmp_path):
    data = bytearray(make_clip(tmp_path / "a.mp4", frames=10).read_bytes())
    start, end = data.index(b"mdat") + 4, data.index(b"moov") - 4
    data[start:end] = bytes(end - start)
    path = tmp_path / "zeroed.mp4"
    path.write_bytes(data)
    with pytest.raises(DamagedSourceError, match="not one picture"):
        open_source(path)


def test_a_damaged_picture_is_damaged(tmp_path):
    path = tmp_path / "half.jpg"
    path.write_bytes(cv2.imencode(".jpg", np.zeros((50, 50, 3), np.uint8))[1].tobytes()[:100])
    with pytest.raises(DamagedSourceError):
        open_source(path)


@pytest.mark.parametrize(("width", "height"), [(30_000, 30_000), (2**31 - 1, 2**31 - 1), (100_000, 1)])
def test_a_hostile_size_is_refused_before_memory_is_taken(tmp_path, width, height):
    path = tmp_path / "bomb.png"
    path.write_bytes(png(width, height))
    with pytest.raises(DamagedSourceError):
        open_source(path)


def test_the_limit_of_pixels_can_be_set(tmp_path):
    path = make_clip(tmp_path / "a.mp4", frames=2)
    with pytest.raises(DamagedSourceError):
        open_source(path, max_pixels=64 * 48 - 1)
    with open_source(path, max_pixels=64 * 48) as source:
        assert len(list(source)) == 2


def test_an_apple_picture_says_how_to_export_it(tmp_path):
    path = tmp_path / "IMG_0001.HEIC"
    path.write_bytes(b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(100))
    with pytest.raises(NotAVideoError, match="JPEG"):
        open_source(path)


def test_a_webcam_that_is_not_there_names_those_that_are(monkeypatch, tmp_path):
    from pose_analyzer.video import cameras

    monkeypatch.setattr(cameras.sys, "platform", "linux")
    monkeypatch.setattr(cameras, "_DEVICES", tmp_path / "dev")
    monkeypatch.setattr(cameras, "_DEVICE_NAMES", tmp_path / "names")
    with pytest.raises(MissingSourceError, match="no webcam"):
        open_source(7)
    (tmp_path / "names" / "video2").mkdir(parents=True)
    (tmp_path / "names" / "video2" / "name").write_text("Front Desk Cam\n")
    (tmp_path / "dev").mkdir()
    (tmp_path / "dev" / "video2").touch()
    with pytest.raises(MissingSourceError, match=r"webcam:2 \(Front Desk Cam\)"):
        open_source("webcam:7")


def test_a_stream_that_nobody_serves_is_missing_and_its_password_stays_secret():
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
    for scheme in ("rtsp", "http", "tcp"):
        with pytest.raises(MissingSourceError) as caught:
            open_source(f"{scheme}://admin:hunter2@127.0.0.1:{port}/live?token=swordfish", open_timeout_s=5)
        assert "hunter2" not in str(caught.value)
        assert "swordfish" not in str(caught.value)
        assert caught.value.__cause__ is None
        assert f"127.0.0.1:{port}" in str(caught.value)


def test_a_server_that_answers_with_words_is_no_video():
    import threading
    from http.server import BaseHTTPRequestHandler, HTTPServer

    class Words(BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(200)
            self.send_header("Content-Length", "600")
            self.end_headers()
            self.wfile.write(b"hello " * 100)

        def log_message(self, *args):
            pass

    server = HTTPServer(("127.0.0.1", 0), Words)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        with pytest.raises(NotAVideoError):
            open_source(f"http://127.0.0.1:{server.server_port}/clip.mp4")
    finally:
        server.shutdown()
        server.server_close()


def test_every_refusal_is_one_sentence_of_ours(tmp_path):
    for content in (b"", b"text", bytes(100), b"\0\0\0\x18ftypmp42" + bytes(50)):
        path = tmp_path / "a.mp4"
        path.write_bytes(content)
        with pytest.raises(SourceError) as caught:
            open_source(path)
        assert "\n" not in str(caught.value)
        assert str(path) in str(caught.value)
