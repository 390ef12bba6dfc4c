"""The page in a real browser (headless Chromium) on a real service: what a person who opens it gets to see and do."""

from __future__ import annotations

import contextlib
import os
import re
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest
from _pages import chromium
from _pose_server import Server

# Two workers and a browser share two cores in CI.
PATIENCE_MS = 60_000


@pytest.fixture(scope="module")
def launch():
    """Starts browsers."""
    with chromium() as start:
        yield start


@pytest.fixture(scope="module")
def browser(launch):
    with contextlib.closing(launch()) as started:
        yield started


@pytest.fixture
def page(browser, server) -> Iterator:
    """A page that tells of every complaint of the browser (script errors, refused by policy, failed loads)."""
    context = browser.new_context(viewport={"width": 1280, "height": 860}, accept_downloads=True)
    opened = context.new_page()
    opened.set_default_timeout(PATIENCE_MS)
    complaints: list[str] = []
    opened.on("console", lambda message: complaints.append(message.text) if message.type == "error" else None)
    opened.on("pageerror", lambda error: complaints.append(str(error)))
    opened.complaints = complaints
    yield opened
    context.close()


def wait_for(what: Callable[[], bool], *, seconds: float = 60.0) -> None:
    """Until it holds; fails when it does not within the time."""
    deadline = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.1)


def count_on(page) -> int:
    return int(page.get_by_test_id("counter").inner_text())


def is_painted(page, canvas: str) -> bool:
    """Whether a canvas shows more than one colour."""
    return page.evaluate(
        """id => {
          const c = document.querySelector(`[data-testid="${id}"]`);
          if (!c || !c.width || !c.height) return false;
          const d = c.getContext("2d").getImageData(0, 0, c.width, c.height).data;
          for (let i = 4; i < d.length; i += 4)
            if (d[i] !== d[0] || d[i + 1] !== d[1] || d[i + 2] !== d[2] || d[i + 3] !== d[3]) return true;
          return false;
        }""",
        canvas,
    )


def test_the_demo_plays_at_once_and_counts(page, server):
    page.goto(server.address)
    wait_for(lambda: is_painted(page, "picture-canvas"))
    wait_for(lambda: is_painted(page, "overlay-canvas"))
    wait_for(lambda: is_painted(page, "strips"))
    before = count_on(page)
    wait_for(lambda: count_on(page) > before)
    assert page.get_by_test_id("event-row").count() >= 1
    assert page.get_by_test_id("phase").inner_text().strip() not in ("", "–")
    assert page.complaints == []


def test_everything_can_be_reached_by_keyboard(page, server):
    page.goto(server.address)
    wait_for(lambda: is_painted(page, "picture-canvas"))
    reached = set()
    for _ in range(40):
        page.keyboard.press("Tab")
        reached.add(page.evaluate("document.activeElement.dataset.testid ?? document.activeElement.id ?? ''"))
    wanted = {"source-demo", "source-webcam", "source-upload", "source-rtsp", "source-sessions", "exercise", "theme", "help"}
    assert wanted - reached == set()
    page.keyboard.press("?")
    page.get_by_test_id("help-dialog").wait_for(state="visible")
    page.keyboard.press("Escape")
    page.get_by_test_id("help-dialog").wait_for(state="hidden")


def test_a_clip_is_uploaded_watched_and_replayed(page, server, squat_clip, tmp_path):
    page.goto(server.address)
    page.get_by_test_id("source-upload").click()
    page.get_by_test_id("upload-input").set_input_files(str(squat_clip))
    page.get_by_test_id("upload-exercise").select_option("squat")
    page.get_by_test_id("upload-name").fill("Monday <b>squats</b>")
    page.get_by_test_id("upload-go").click()
    page.get_by_test_id("view-replay").wait_for(state="visible")
    page.get_by_test_id("replay-video").wait_for(state="visible")
    assert page.get_by_test_id("replay-count").inner_text() == "3"
    assert "Monday <b>squats</b>" in page.get_by_test_id("view-replay").inner_text()  # a name is text, not markup
    video = "document.querySelector('[data-testid=\"replay-video\"]')"
    wait_for(lambda: page.evaluate(f"{video}.readyState >= 2 && {video}.duration > 3"))
    page.locator("[data-testid='plot'] .scatterlayer").first.wait_for(state="visible")
    # Choosing the second repetition leads there.
    page.get_by_test_id("replay-events").get_by_role("button", name=re.compile(r"Repetition\s2")).click()
    wait_for(lambda: page.evaluate(f"{video}.currentTime > 1"))
    starts = {"video": b"ftyp", "plot": b"\x89PNG", "events": b"", "csv": b"", "parquet": b"PAR1", "result": b"{"}
    for kind, start in starts.items():
        page.get_by_test_id("export").click()
        with page.expect_download() as download:
            page.get_by_test_id(f"export-{kind}").click()
        content = Path(download.value.path()).read_bytes()
        assert start in content[:12], kind
        assert len(content) > 100, kind
        if page.get_by_test_id("export-csv").is_visible():
            page.get_by_test_id("export").click()
    assert page.complaints == []
    page.get_by_test_id("tab-sessions").click()
    page.get_by_test_id("session-row").first.wait_for(state="visible")
    page.get_by_test_id("session-open").first.click()
    page.get_by_test_id("replay-video").wait_for(state="visible")
    page.get_by_test_id("tab-sessions").click()
    page.get_by_test_id("session-delete").first.click()
    page.get_by_test_id("confirm-go").click()
    page.get_by_test_id("session-row").first.wait_for(state="detached")
    assert httpx.get(f"{server.address}/v1/analyses").json()["items"] == []


def test_what_is_no_video_is_refused_with_the_reason(page, server, tmp_path):
    wrong = tmp_path / "holiday.mp4"
    wrong.write_bytes(b"This is a letter. " * 100)
    page.goto(server.address)
    page.get_by_test_id("source-upload").click()
    page.get_by_test_id("upload-input").set_input_files(str(wrong))
    page.get_by_test_id("upload-go").click()
    page.locator("#upload-problem").wait_for(state="visible")
    assert "not a video" in page.locator("#upload-problem").inner_text()


@pytest.fixture(scope="module")
def webcam_clip(tmp_path_factory) -> Path:
    """The athlete as Chromium's imitated webcam wants it: raw pictures, played in a loop."""
    import cv2

    from pose_analyzer.synthetic import scene_for

    path = tmp_path_factory.mktemp("webcam") / "athlete.y4m"
    with path.open("wb") as file:
        file.write(b"YUV4MPEG2 W480 H360 F15:1 Ip A1:1 C420jpeg\n")
        for frame, _ in scene_for("squat", reps=3, azimuth_deg=40, width=480, height=360, fps=15).frames():
            file.write(b"FRAME\n" + cv2.cvtColor(frame.image, cv2.COLOR_RGB2YUV_I420).tobytes())
    return path


def test_the_webcam_counts_repetitions(launch, server, webcam_clip):
    flags = ("--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream", f"--use-file-for-fake-video-capture={webcam_clip}")
    with contextlib.closing(launch(args=tuple(flags))) as browser:
        page = browser.new_context(viewport={"width": 1024, "height": 800}, permissions=["camera"]).new_page()
        page.set_default_timeout(PATIENCE_MS)
        page.goto(server.address)
        page.get_by_test_id("exercise").select_option("squat")
        page.get_by_test_id("source-webcam").click()
        wait_for(lambda: "demo" not in page.get_by_test_id("source-name").inner_text().lower())
        wait_for(lambda: is_painted(page, "overlay-canvas"))
        wait_for(lambda: count_on(page) >= 2)


def test_the_page_recovers_when_the_service_was_killed(browser, tmp_path):
    first = Server(tmp_path / "data").start()
    page = browser.new_context().new_page()
    try:
        page.goto(first.address)
        wait_for(lambda: count_on(page) >= 1)
        first.kill()
        wait_for(lambda: page.get_by_test_id("state").get_attribute("data-state") not in ("live", "no-person", "slow"))
        wait_for(lambda: "again" in page.locator("body").inner_text() or "lost" in page.locator("body").inner_text().lower())
        with Server(tmp_path / "data", port=first.port):
            wait_for(lambda: page.get_by_test_id("state").get_attribute("data-state") in ("live", "no-person", "slow"), seconds=90)
            wait_for(lambda: is_painted(page, "picture-canvas"))
    finally:
        page.context.close()
        if first.is_running:
            first.kill()


def test_a_token_is_asked_for_once_and_never_stands_in_an_address(browser, tmp_path):
    token = "an-example-token-of-length"
    with Server(tmp_path / "data", token=token) as locked:
        context = browser.new_context()
        page = context.new_page()
        addresses: list[str] = []
        page.on("request", lambda request: addresses.append(request.url))
        page.on("websocket", lambda socket: addresses.append(socket.url))
        page.goto(locked.address)
        page.get_by_test_id("token-dialog").wait_for(state="visible", timeout=PATIENCE_MS)
        page.get_by_test_id("token-input").fill(token)
        page.get_by_test_id("token-go").click()
        wait_for(lambda: is_painted(page, "picture-canvas"))
        assert addresses != []
        assert [address for address in addresses if token in address] == []
        context.close()
    assert token not in locked.log


@pytest.mark.parametrize("width", [390, 1024, 1440])
def test_nothing_sticks_out_sideways(browser, server, width):
    context = browser.new_context(viewport={"width": width, "height": 844})
    page = context.new_page()
    page.goto(server.address)
    page.get_by_test_id("stage").wait_for(state="visible")
    wait_for(lambda: is_painted(page, "picture-canvas"))
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    if shots := os.environ.get("POSE_SCREENSHOTS"):
        wait_for(lambda: count_on(page) >= 3)
        page.screenshot(path=str(Path(shots) / f"page-{width}.png"))
    context.close()
