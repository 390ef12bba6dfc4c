"""A page that a service hands out: types, tags, policies, and names that lead nowhere else."""

from __future__ import annotations

import gzip
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient

from shared_utils.service import WebPage
from shared_utils.service.page import SHARED, WheelFile, content_security_policy


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("package") / "static"
    (folder / "js").mkdir(parents=True)
    (folder / "index.html").write_text('<html data-library="{version}">é</html>', encoding="utf-8")
    (folder / "js" / "main.js").write_text("export const a = 1;")
    (folder / "base.css").write_text("body { margin: 0 }")
    (folder / "icon.svg").write_text("<svg/>")
    (folder / "notes.txt").write_text("import nothing")
    (folder.parent / "secret.js").write_text("import secret")
    return folder


@pytest.fixture(scope="module")
def library(tmp_path_factory) -> WheelFile:
    """A wheel as it lies where it was installed."""
    place = tmp_path_factory.mktemp("installed")
    (place / "some_library" / "data").mkdir(parents=True)
    (place / "some_library" / "data" / "library.js").write_text("let x = 1;\n" * 1000)
    (place / "some_library-2.5.dist-info").mkdir()
    (place / "some_library-2.5.dist-info" / "METADATA").write_text("Metadata-Version: 2.1\nName: some-library\nVersion: 2.5\n")
    sys.path.insert(0, str(place))
    yield WheelFile("some_library", "data/library.js")
    sys.path.remove(str(place))


@pytest.fixture(scope="module")
def page(folder, library) -> WebPage:
    return WebPage(folder, wheel_files=(library,), fill={"version": library.version})


@pytest.fixture(scope="module")
def client(page) -> TestClient:
    app = FastAPI()
    app.include_router(page.router())
    return TestClient(app)


def test_the_document_comes_with_a_policy_that_lets_nothing_in_from_elsewhere(client):
    answer = client.get("/")
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    assert answer.text == '<html data-library="2.5">é</html>'
    policy = dict(part.split(" ", 1) for part in answer.headers["content-security-policy"].split("; "))
    assert policy["default-src"] == "'none'"
    assert policy["script-src"] == policy["style-src"] == policy["connect-src"] == "'self'"
    assert policy["frame-ancestors"] == policy["base-uri"] == policy["form-action"] == "'none'"
    assert "camera=()" in answer.headers["permissions-policy"]


def test_a_policy_is_widened_only_where_it_is_said():
    plain = content_security_policy()
    assert "unsafe" not in plain
    assert "media-src" not in plain
    wide = dict(part.split(" ", 1) for part in content_security_policy(img=("blob:",), media=("'self'",)).split("; "))
    assert wide["img-src"] == "'self' data: blob:"
    assert wide["media-src"] == "'self'"
    assert wide["script-src"] == "'self'"


@pytest.mark.parametrize(
    ("name", "media_type"),
    [
        ("js/main.js", "text/javascript; charset=utf-8"),
        ("base.css", "text/css; charset=utf-8"),
        ("icon.svg", "image/svg+xml"),
        ("shared/js/dom.js", "text/javascript; charset=utf-8"),
    ],
)
def test_files_have_the_type_that_browsers_insist_on(client, name, media_type):
    answer = client.get(f"/assets/{name}")
    assert answer.status_code == 200
    assert answer.headers["content-type"] == media_type


@pytest.mark.parametrize("path", ["/", "/assets/js/main.js", "/assets/shared/js/api.js"])
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
        "../secret.js",
        "..%2fsecret.js",
        "%2e%2e/%2e%2e/secret.js",
        "js/../../secret.js",
        "/etc/passwd",
        "js//main.js",
        "JS/main.js",
        "js/main.js/",
        "js",
        "",
        "index.html",
        "notes.txt",
        "js/main.js%00.css",
        "js\\main.js",
        "shared/../js/main.js/../../secret.js",
    ],
)
def test_only_names_on_the_list_are_served(client, page, name):
    answer = client.get(f"/assets/{name}")
    assert answer.status_code == 404
    assert b"import" not in answer.content
    assert not page.owns(f"/assets/{name}")


def test_what_may_be_read_without_a_token_is_the_page_and_nothing_else(page):
    assert page.owns("/")
    assert all(page.owns(f"/assets/{name}") for name in page.asset_paths())
    for path in ("/v1/streams", "/assets/", "/assets/js/../v1", "/metrics", "//", "/index.html", "js/main.js"):
        assert not page.owns(path)


def test_a_library_is_kept_for_ever_only_under_its_own_version(client):
    right = client.get("/assets/library.js?v=2.5", headers={"Accept-Encoding": "identity"})
    assert "immutable" in right.headers["cache-control"]
    assert right.headers["content-type"].startswith("text/javascript")
    for query in ("", "?v=0.0.1"):
        assert client.get(f"/assets/library.js{query}").headers["cache-control"] == "no-cache"


def test_a_library_travels_packed_to_those_who_can_unpack_it(client):
    plain = client.get("/assets/library.js", headers={"Accept-Encoding": "identity"})
    with client.stream("GET", "/assets/library.js", headers={"Accept-Encoding": "gzip"}) as answer:
        packed = b"".join(answer.iter_raw())
        assert answer.headers["content-encoding"] == "gzip"
        assert answer.headers["vary"] == "Accept-Encoding"
    assert gzip.decompress(packed) == plain.content
    assert len(packed) < len(plain.content) / 2
    known = client.get("/assets/library.js", headers={"Accept-Encoding": "gzip", "If-None-Match": answer.headers["etag"]})
    assert known.status_code == 304


def test_a_library_that_is_not_installed_is_not_there(folder):
    page = WebPage(folder, wheel_files=(WheelFile("no_such_package", "x.js"),))
    app = FastAPI()
    app.include_router(page.router())
    assert "x.js" not in page.asset_paths()
    assert not page.owns("/assets/x.js")
    assert TestClient(app).get("/assets/x.js").status_code == 404


def test_a_folder_without_a_document_is_no_page(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"index\.html"):
        WebPage(tmp_path)


def test_an_installed_package_has_the_shared_files(tmp_path):
    project = Path(__file__).resolve().parents[2]
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)]
    subprocess.run(command, cwd=project, check=True, capture_output=True)
    (wheel,) = tmp_path.glob("*.whl")
    inside = set(zipfile.ZipFile(wheel).namelist())
    files = [path for path in SHARED.rglob("*") if path.is_file()]
    assert len(files) >= 9
    assert {f"shared_utils/service/static/{path.relative_to(SHARED).as_posix()}" for path in files} <= inside
