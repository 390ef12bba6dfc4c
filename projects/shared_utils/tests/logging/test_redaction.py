"""No credential survives, whatever it is wrapped in; everything else does."""

from __future__ import annotations

import json
import string
from pathlib import PurePosixPath
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr

from shared_utils.redaction import MASK, is_secret_key, redact, redact_value

# Every secret below holds this, so that "is it still there" is one question.
MARK = "Hunter2"
UNRESERVED = string.ascii_letters + string.digits + "-._~"

users = st.text(UNRESERVED, max_size=8)
plain_secrets = st.builds(lambda a, b: a + MARK + b, st.text(UNRESERVED, max_size=8), st.text(UNRESERVED, max_size=8))
# What cameras accept though RFC 3986 does not: @, quotes, brackets, commas, raw in the password.
wild = st.text(UNRESERVED + "!$&'()*+,;=:@[]{}|\"%^`<>\\", max_size=8)
wild_secrets = st.builds(lambda a, b: a + MARK + b, wild, wild)
hosts = st.sampled_from(["10.0.0.7", "cam.local:554", "[fe80::1]:554", "example.org"])
schemes = st.sampled_from(["rtsp", "rtsps", "http", "https", "rtmp", "srt", "postgresql", "postgresql+psycopg", "ftp", "custom+x"])
paths = st.sampled_from(["", "/", "/stream1", "/a/b?x=1", "/user@home/live"])
secret_names = st.sampled_from(
    ["token", "access_token", "password", "passwd", "pwd", "api_key", "apikey", "api-key", "X-Api-Key", "client_secret", "db.password"]
)


@st.composite
def addresses(draw, secrets=wild_secrets):
    return f"{draw(schemes)}://{draw(users)}:{draw(secrets)}@{draw(hosts)}{draw(paths)}"


@st.composite
def queries(draw):
    name = draw(secret_names | st.sampled_from(["key", "sig", "auth", "jwt", "signature", "sid"]))
    return f"{draw(schemes)}://{draw(hosts)}/live{draw(st.sampled_from(['?', '?fps=5&', '?a=b;']))}{name}={draw(plain_secrets)}&end=1"


@st.composite
def assignments(draw):
    name, secret = draw(secret_names), draw(plain_secrets)
    return draw(st.sampled_from(["{}={}", "{}: {}", "{}='{}'", '{} = "{}"', '"{}": "{}"', "'{}': '{}'", "--{}={}"])).format(name, secret)


@st.composite
def headers(draw):
    scheme = draw(st.sampled_from(["Bearer", "Basic", "Digest", "Token", "bearer"]))
    return draw(st.sampled_from(["Authorization: {} {}", "authorization={} {}", "'authorization': '{} {}'"])).format(
        scheme, draw(plain_secrets)
    )


carriers = addresses() | queries() | assignments() | headers()


@given(carriers, st.text(max_size=20), st.text(max_size=20))
def test_no_credential_survives_in_text(carrier, before, after):
    assert MARK not in redact(f"{before} {carrier} {after}")


@given(addresses(plain_secrets) | queries() | headers())
def test_no_credential_survives_in_json_and_repr_of_text(carrier):
    assert MARK not in redact(json.dumps({"source": carrier, "n": 1}))
    assert MARK not in redact(repr([carrier, carrier]))


@given(addresses(), st.sampled_from(["https://proxy/?url={}&x=1", "{}", "target={}"]))
def test_no_credential_survives_percent_encoded(address, wrap):
    assert MARK not in redact(wrap.format(quote(address, safe="")))


@given(
    st.recursive(
        carriers, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3), max_leaves=6
    )
)
def test_no_credential_survives_at_any_depth(value):
    assert MARK not in json.dumps(redact_value({"event": value}))


@given(secret_names, st.one_of(plain_secrets, st.lists(plain_secrets), st.dictionaries(st.text(), plain_secrets), st.integers()))
def test_whatever_stands_under_a_secret_s_name_is_masked(name, value):
    assert redact_value({"outer": [{name: value}]}) == {"outer": [{name: MASK}]}


@given(carriers)
def test_redacting_twice_changes_nothing_more(carrier):
    assert redact(redact(carrier)) == redact(carrier)


@given(st.text(st.characters(exclude_characters="@=:%", exclude_categories=["Cs"])))
def test_text_that_cannot_hold_a_credential_is_left_alone(text):
    lowered = text.lower()
    if not any(word in lowered for word in ("bearer", "basic", "digest", "authorization")):
        assert redact(text) == text


@pytest.mark.parametrize(
    "text",
    [
        "rtsp://10.0.0.7:554/stream",
        "https://example.org/user@home/clip.mp4",
        "https://example.org:8080/user@home",
        "user@example.org wrote",
        "keypoints=17 tokens 5",
        "at 12:30 the key was found",
        "basic authentication is off",
        "C:\\videos\\a.mp4",
        "ratio 4:3",
        "a=b&c=d",
        "def f(x: int = 3): ...",
    ],
)
def test_ordinary_text_stays(text):
    assert redact(text) == text


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("rtsp://admin:hunter2@10.0.0.7/1", "rtsp://***@10.0.0.7/1"),
        ("rtsp://admin@10.0.0.7/1", "rtsp://***@10.0.0.7/1"),
        ("rtsp://admin:a@b@c@10.0.0.7/1", "rtsp://***@10.0.0.7/1"),
        ("rtsp://admin:pass/word#1@10.0.0.7/1", "rtsp://***@10.0.0.7/1"),
        ("rtsp://admin:12/secret@10.0.0.7/1", "rtsp://***@10.0.0.7/1"),  # could be a port; in a stream it is none
        ("http://admin:pass/word@cam/1", "http://***@cam/1"),
        ("admin:hunter2@10.0.0.7:554/1", "***@10.0.0.7:554/1"),
        ("postgresql://u:p@db:5432/x failed", "postgresql://***@db:5432/x failed"),
        ("?token=abc&fps=5#top", "?token=***&fps=5#top"),
        ('{"password": "a \\" b", "n": 3}', '{"password": ***, "n": 3}'),
        ("Authorization: Basic dXNlcjpwYXNz", "Authorization: ***"),
        ("sent Basic dXNlcjpwYXNz", "sent Basic ***"),
        ('{"password": "cut o', '{"password": ***'),
        ("https://p/?u=rtsp%3A%2F%2Fa%3Ab%40c%2F1", "https://p/?u=rtsp%3A%2F%2F***%40c%2F1"),
        ("u=https%3A%2F%2Fh%2F%3Ftoken%3Dabc%26x%3D1", "u=https%3A%2F%2Fh%2F%3Ftoken%3D***%26x%3D1"),
    ],
)
def test_what_is_left_tells_where_it_was(text, expected):
    assert redact(text) == expected


def test_plain_values_keep_their_kind():
    value = {"n": 1, "x": 0.5, "on": True, "none": None, "list": [1, "a"], "password": None, 3: "c"}
    assert redact_value(value) == value


def test_other_kinds_become_safe():
    class Leaky:
        def __repr__(self) -> str:
            return "Camera(rtsp://a:hunter2@b)"

    class Broken:
        def __repr__(self) -> str:
            raise RuntimeError

    class Fine:
        pass

    fine = Fine()
    assert redact_value(Leaky()) == "Camera(rtsp://***@b)"
    assert redact_value(Broken()) == "<Broken without a text>"
    assert redact_value(fine) is fine
    assert redact_value(b"http://a:hunter2@b\xff") == "http://***@b\\xff"
    assert redact_value(PurePosixPath("/x/token=hunter2")) == "/x/token=***"
    assert redact_value({"a:hunter2@b": 1}) == {"***@b": 1}
    assert redact_value(({"a"}, (1,))) == [["a"], [1]]
    assert "hunter2" not in str(redact_value(SecretStr("hunter2")))
    assert "hunter2" not in str(redact_value(ValueError("http://a:hunter2@b")))


def test_endless_values_end():
    loop: list[object] = []
    loop.append(loop)
    assert "…" in repr(redact_value(loop))


@pytest.mark.parametrize(
    "name", ["password", "DB_PASSWORD", "accessToken", "x-api-key", "Authorization", "Cookie", "auth", "private_key", "pin"]
)
def test_names_of_secrets_are_known(name):
    assert is_secret_key(name)


@pytest.mark.parametrize("name", ["keypoints", "tokens", "max_tokens", "token_count", "author", "monkey", "compass", "pinky", "track_id"])
def test_names_of_other_things_are_not_secrets(name):
    assert not is_secret_key(name)


@pytest.mark.parametrize(
    "piece",
    [
        "rtsp://a:",
        "://x:y",
        "a:b@",
        "token=",
        "%3A%2F%2Fa",
        "aaaa",
        '"password": "',
        "authorization",
        "basic A",
        "?a",
        " ",
        "=",
        "'",
        "api_key",
    ],
)
def test_hostile_text_does_not_stop_the_log(piece):
    """With quadratic patterns this takes minutes and runs into the suite's time limit."""
    text = piece * (200_000 // len(piece))
    assert redact(text + "@")
