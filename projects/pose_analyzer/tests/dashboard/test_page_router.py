from __future__ import annotations

import gzip
import re

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient

from pose_analyzer.dashboard import CONTENT_SECURITY_POLICY, asset_paths, is_page_path, page_router

PLOTLY = "plotly.min.js"


@pytest.fixture(scope="module")
def client() -> TestClient:
    app = FastAPI()
    app.include_router(page_router())
    return TestClient(app)


def test_the_page_comes_with_a_policy_that_lets_nothing_in_from_elsewhere(client):
    answer = client.get("/")
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    assert answer.headers["content-security-policy"] == CONTENT_SECURITY_POLICY
    policy = dict(part.split(" ", 1) for part in CONTENT_SECURITY_POLICY.split("; "))
    assert policy["default-src"] == "'none'"
    assert policy["script-src"] == policy["connect-src"] == "'self'"
    assert policy["frame-ancestors"] == policy["base-uri"] == policy["form-action"] == "'none'"
    assert "unsafe" not in CONTENT_SECURITY_POLICY
    # The hash of nothing at all, as plotly.js adds an empty style element.
    assert "'sha256-47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU='" in policy["style-src"]


@pytest.mark.parametrize(
    ("name", "media_type"),
    [
        ("js/main.js", "text/javascript; charset=utf-8"),
        ("css/base.css", "text/css; charset=utf-8"),
        ("icon.svg", "image/svg+xml"),
    ],
)
def test_files_have_the_type_that_browsers_insist_on(client, name, media_type):
    answer = client.get(f"/assets/{name}")
    assert answer.status_code == 200
    assert answer.headers["content-type"] == media_type


@pytest.mark.parametrize("path", ["/", "/assets/js/main.js"])
def test_own_files_are_asked_for_anew_and_not_sent_twice(client, path):
    first = client.get(path)
    assert first.headers["cache-control"] == "no-cache"
    again = client.get(path, headers={"If-None-Match": first.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")
    other = client.get(path, headers={"If-None-Match": '"something-else"'})
    assert other.status_code == 200
    # A cache in between may have made the tag weak.
    assert client.get(path, headers={"If-None-Match": f'"x", W/{first.headers["etag"]}'}).status_code == 304


def test_head_tells_what_get_would_send(client):
    got, told = client.get("/assets/js/main.js"), client.head("/assets/js/main.js")
    assert told.headers["content-length"] == str(len(got.content))
    assert told.content == b""


@pytest.mark.parametrize(
    "name",
    [
        "../__init__.py",
        "..%2f__init__.py",
        "%2e%2e/%2e%2e/settings.py",
        "js/../../assets.py",
        "js/../../../settings.py",
        "/etc/passwd",
        "js//main.js",
        "JS/main.js",
        "js/main.js/",
        "js",
        "",
        "index.html",
        "js/main.js%00.css",
        "js\\main.js",
    ],
)
def test_only_names_on_the_list_are_served(client, name):
    answer = client.get(f"/assets/{name}")
    assert answer.status_code == 404
    assert b"import" not in answer.content


def test_plotly_is_kept_for_ever_only_under_its_own_version(client):
    if PLOTLY not in asset_paths():
        pytest.skip("the plotly wheel is not installed")
    version = re.search(r'data-plotly="([^"]+)"', client.get("/").text)
    assert version is not None
    right = client.get(f"/assets/{PLOTLY}?v={version[1]}", headers={"Accept-Encoding": "identity"})
    assert "immutable" in right.headers["cache-control"]
    assert right.headers["content-type"].startswith("text/javascript")
    for query in ("", "?v=0.0.1"):
        assert client.get(f"/assets/{PLOTLY}{query}").headers["cache-control"] == "no-cache"


def test_plotly_travels_packed_to_those_who_can_unpack_it(client):
    if PLOTLY not in asset_paths():
        pytest.skip("the plotly wheel is not installed")
    plain = client.get(f"/assets/{PLOTLY}", headers={"Accept-Encoding": "identity"})
    with client.stream("GET", f"/assets/{PLOTLY}", headers={"Accept-Encoding": "gzip"}) as answer:
        packed = b"".join(answer.iter_raw())
        assert answer.headers["content-encoding"] == "gzip"
        assert answer.headers["vary"] == "Accept-Encoding"
    assert gzip.decompress(packed) == plain.content
    assert len(packed) < len(plain.content) / 2
    known = client.get(f"/assets/{PLOTLY}", headers={"Accept-Encoding": "gzip", "If-None-Match": answer.headers["etag"]})
    assert known.status_code == 304


def test_a_page_without_a_token_may_be_read_and_nothing_else():
    assert all(is_page_path(f"/assets/{name}") for name in asset_paths())
    for path in ("/v1/streams", "/assets/", "/assets/js/../v1", "/assets/secret.js", "/metrics", "//", "/index.html"):
        assert not is_page_path(path)
