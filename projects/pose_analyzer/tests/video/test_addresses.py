"""How sources are named, and that credentials never show."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from pose_analyzer.errors import MissingSourceError
from pose_analyzer.video import Address, redact_url


@pytest.mark.parametrize(
    ("spec", "kind", "value", "stream_id"),
    [
        ("clips/squat.mp4", "path", "clips/squat.mp4", "squat"),
        (Path("a/b.c.mkv"), "path", "a/b.c.mkv", "b.c"),
        ("file:///clips/my%20clip.mp4", "path", "/clips/my clip.mp4", "my clip"),
        (0, "webcam", "0", "webcam-0"),
        ("1", "webcam", "1", "webcam-1"),
        ("webcam:", "webcam", "0", "webcam-0"),
        ("webcam:/dev/video3", "webcam", "/dev/video3", "webcam-video3"),
        ("rtsp://u:p@10.0.0.7:554/ch1?x=1", "url", "rtsp://u:p@10.0.0.7:554/ch1?x=1", "10.0.0.7:554/ch1"),
        ("HTTPS://host/a.mp4", "url", "HTTPS://host/a.mp4", "host/a.mp4"),
        ("C:\\clips\\a.mp4", "path", "C:\\clips\\a.mp4", None),
    ],
)
def test_a_source_is_told_by_how_it_is_written(spec, kind, value, stream_id):
    address = Address.parse(spec)
    assert (address.kind, address.value) == (kind, value)
    if stream_id is not None:
        assert address.stream_id == stream_id


def test_a_file_that_is_named_by_a_number_is_a_file(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "7").touch()
    assert Address.parse("7").kind == "path"


@pytest.mark.parametrize("spec", ["", " ", -1, True, None, 1.5, "gopher://x"])
def test_what_names_nothing_is_refused(spec):
    with pytest.raises(MissingSourceError):
        Address.parse(spec)


@settings(max_examples=50)
@given(
    user=st.text(st.characters(whitelist_categories=["L", "N"]), min_size=6, max_size=12),
    password=st.text(st.characters(min_codepoint=33, max_codepoint=126, blacklist_characters="/?#"), min_size=6, max_size=12),
)
def test_credentials_never_show(user, password):
    assume(password not in "rtsp://camera.local/stream")
    url = f"rtsp://{user}:{password}@camera.local/stream"
    address = Address.parse(url)
    told = [address.shown, address.stream_id, address.clean(f"[Errno 5] failed: '{url}' (password {password})"), redact_url(url)]
    for text in told:
        assert password not in text.replace("camera.local/stream", "")
        assert "camera.local/stream" in text


def test_an_error_that_quotes_a_token_is_cleaned():
    address = Address.parse("http://cam/video?api_token=swordfish&channel=2")
    assert "swordfish" not in address.clean("GET /video?api_token=swordfish&channel=2 failed: swordfish")
    assert "channel=2" in address.shown
