"""What this page asks for beyond the rules that `shared_utils.service.page` is tested for."""

from __future__ import annotations

import re

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient

from pose_analyzer.dashboard import PAGE, PLOTLY


@pytest.fixture(scope="module")
def client() -> TestClient:
    app = FastAPI()
    app.include_router(PAGE.router())
    return TestClient(app)


def test_the_policy_lets_in_the_camera_recordings_and_what_plotly_needs(client):
    headers = client.get("/").headers
    policy = dict(part.split(" ", 1) for part in headers["content-security-policy"].split("; "))
    assert "unsafe" not in headers["content-security-policy"]
    # The hash of nothing at all, as plotly.js adds an empty style element.
    assert policy["style-src"] == "'self' 'sha256-47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU='"
    assert policy["img-src"].split() == ["'self'", "data:", "blob:"]
    assert policy["media-src"].split() == ["'self'", "blob:"]
    assert policy["script-src"] == policy["connect-src"] == "'self'"
    assert "camera=(self)" in headers["permissions-policy"]


def test_plotly_is_loaded_under_the_version_that_is_installed(client):
    if not PLOTLY.version:
        pytest.skip("the plotly wheel is not installed")
    version = re.search(r'data-plotly="([^"]+)"', client.get("/").text)
    assert version is not None
    assert version[1] == PLOTLY.version
    answer = client.get(f"/assets/{PLOTLY.name}?v={version[1]}", headers={"Accept-Encoding": "identity"})
    assert "immutable" in answer.headers["cache-control"]
    assert b"plotly" in answer.content[:200]
