"""The page in a browser, in front of a server that says what a test wants to see drawn."""

from __future__ import annotations

import asyncio
import io
import json
import socket
import threading
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import uvicorn
from _pages import opened_pages
from fastapi import FastAPI, Request, WebSocket, WebSocketDisconnect
from fastapi.responses import JSONResponse
from PIL import Image, ImageDraw

from pose_analyzer.dashboard import PAGE

KEYPOINTS = ["nose", "left_hip", "left_knee", "left_ankle"]
SKELETON = {
    "name": "test",
    "keypoints": KEYPOINTS,
    "edges": [["left_hip", "left_knee"], ["left_knee", "left_ankle"]],
    "left": KEYPOINTS[1:],
    "right": [],
}
SQUAT = {
    "name": "squat",
    "description": "Down and up.",
    "kind": "repetitions",
    "signal_angle": "knee_flexion",
    "rest_deg": 10,
    "work_deg": 100,
}


class Say:
    """A server that says to every watcher what the test puts in."""

    def __init__(self) -> None:
        self.token: str | None = None
        self.made = "2026-01-01T00:00:00Z"
        self.events: list[dict[str, Any]] = []
        self.greets = True
        self.watchers: list[WebSocket] = []
        self.asked: list[str] = []
        self.loop: asyncio.AbstractEventLoop | None = None
        self.app = FastAPI()
        self.app.include_router(PAGE.router())
        self._routes()

    def view(self, state: str = "live") -> dict[str, Any]:
        return {
            "id": "demo",
            "name": "demo",
            "kind": "demo",
            "source": "demo",
            "exercise": "squat",
            "state": state,
            "error": None,
            "created_at": self.made,
        }

    def hello(self) -> dict[str, Any]:
        return {
            "type": "hello",
            "stream": self.view(),
            "skeleton": SKELETON,
            "exercise": SQUAT,
            "history": {"events": self.events, "series": {}},
        }

    def _routes(self) -> None:
        app = self.app

        @app.middleware("http")
        async def guard(request: Request, call_next):
            if self.token and request.url.path.startswith("/v1") and request.headers.get("authorization") != f"Bearer {self.token}":
                return JSONResponse({"title": "Unauthorized", "status": 401, "detail": "send the token"}, 401)
            return await call_next(request)

        @app.get("/v1/exercises")
        def exercises():
            return [{**SQUAT, "aliases": []}]

        @app.get("/v1/exercises/{name}")
        def exercise(name: str):
            return {"name": name, "cues": [{"angle": "knee_flexion", "rest_deg": 10, "work_deg": 100}], "limits": []}

        @app.get("/v1/files")
        def files():
            return {"items": []}

        @app.get("/v1/streams")
        def streams():
            return {"items": [], "next_cursor": None}

        @app.post("/v1/streams")
        async def create(request: Request):
            self.asked.append(json.dumps((await request.json())["source"]))
            return JSONResponse({"title": "Bad Gateway", "status": 502, "detail": "<img src=x onerror=alert(1)> does not answer"}, 502)

        @app.get("/v1/streams/{name}")
        def stream(name: str):
            return self.view()

        @app.websocket("/v1/streams/{name}/live")
        async def live(socket: WebSocket, name: str):
            protocols = socket.scope["subprotocols"]
            if self.token and protocols != ["bearer", self.token]:
                await socket.close(1008)
                return
            await socket.accept(subprotocol="bearer" if self.token else None)
            if self.greets:
                await socket.send_json(self.hello())
            self.watchers.append(socket)
            try:
                while True:
                    await socket.receive()
            except (WebSocketDisconnect, RuntimeError):
                self.watchers.remove(socket)

    def send(self, message: dict[str, Any], picture: bytes | None = None) -> None:
        async def go() -> None:
            for watcher in self.watchers:
                await watcher.send_json(message)
                if picture is not None:
                    await watcher.send_bytes(picture)

        assert self.loop is not None
        asyncio.run_coroutine_threadsafe(go(), self.loop).result(10)


class Server:
    """`Say` on a port of its own; may be taken down and brought back."""

    def __init__(self, say: Say) -> None:
        self.say = say
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"

    def up(self) -> None:
        self._server = uvicorn.Server(uvicorn.Config(self.say.app, port=self.port, log_level="error", timeout_graceful_shutdown=1))
        ready = threading.Event()

        async def serve() -> None:
            self.say.loop = asyncio.get_running_loop()
            task = asyncio.create_task(self._server.serve())
            while not self._server.started and not task.done():
                await asyncio.sleep(0.01)
            ready.set()
            await task

        self._thread = threading.Thread(target=lambda: asyncio.run(serve()), daemon=True)
        self._thread.start()
        assert ready.wait(20)

    def down(self) -> None:
        self._server.should_exit = True
        self._thread.join(20)
        assert not self._thread.is_alive()


@pytest.fixture
def server() -> Iterator[Server]:
    server = Server(Say())
    server.up()
    yield server
    server.down()


@pytest.fixture
def open_page(browser, server):
    """Opens the page; complaints of the browser about the page itself fail the test."""
    with opened_pages(browser, timeout_ms=15_000) as open_it:

        def go(width: int = 1280, height: int = 800, ratio: float = 1, at: str = "/", **options: Any):
            return open_it(server.url + at, width=width, height=height, device_scale_factor=ratio, **options)

        yield go


def picture_of(width: int, height: int, at: tuple[float, float], sent_width: int | None = None) -> bytes:
    """A black JPEG with one green disc, made in four times the size so that its middle is where it should be."""
    big = Image.new("RGB", (width * 4, height * 4))
    x, y, r = at[0] * 4, at[1] * 4, min(width, height) * 0.12
    ImageDraw.Draw(big).ellipse((x - r, y - r, x + r, y + r), fill=(0, 255, 0))
    sent = (sent_width or width, round(height * (sent_width or width) / width))
    out = io.BytesIO()
    big.resize(sent, Image.Resampling.BOX).save(out, "JPEG", quality=95)
    return out.getvalue()


def frame(
    time_s: float, points: dict[str, tuple[float, float]], *, size=(640, 480), events=(), track: int = 1, count: int = 0
) -> dict[str, Any]:
    keypoints = [[*points[name], 1.0] if name in points else None for name in KEYPOINTS]
    xs, ys = zip(*points.values(), strict=True) if points else ((0, 1), (0, 1))
    person = {
        "track_id": track,
        "box": [min(xs), min(ys), max(xs) + 1, max(ys) + 1],
        "score": 0.9,
        "keypoints": keypoints,
        "angles": {"left_knee_flexion_deg": 42.0},
        "repetition": {"count": count, "phase": "down", "progress": 0.5, "signal_deg": 42.0},
    }
    return {
        "type": "frame",
        "stream_id": "demo",
        "timestamp_s": time_s,
        "frame_index": int(time_s * 30),
        "width": size[0],
        "height": size[1],
        "age_s": 0.01,
        "fps": 30.0,
        "people": [person] if points else [],
        "events": list(events),
        "skipped": 0,
        "image": True,
    }


def rep(n: int, start_s: float) -> dict[str, Any]:
    return {
        "type": "rep_completed",
        "stream_id": "demo",
        "track_id": 1,
        "start_s": start_s,
        "end_s": start_s + 2,
        "value": n,
        "unit": "",
        "frames": [1],
        "message": f"Repetition {n}",
        "data": {"eccentric_s": 1.2, "concentric_s": 0.8, "range_deg": 91.0},
    }


# Middle of the green disc in the picture and of what is drawn above it, in the canvases' own pixels.
_MIDDLES = """() => {
  const middle = (canvas, wanted) => {
    const { width, height } = canvas;
    const data = canvas.getContext("2d").getImageData(0, 0, width, height).data;
    let [sum, sx, sy] = [0, 0, 0];
    for (let y = 0; y < height; y += 1) for (let x = 0; x < width; x += 1) {
      const w = wanted(data, (y * width + x) * 4);
      sum += w; sx += w * (x + 0.5); sy += w * (y + 0.5);
    }
    return sum > 0 ? [sx / sum, sy / sum] : null;
  };
  const [picture, overlay] = [document.getElementById("picture"), document.getElementById("overlay")];
  const rect = (c) => { const r = c.getBoundingClientRect(); return [r.x, r.y, r.width, r.height]; };
  return {
    picture: middle(picture, (d, i) => Math.max(0, d[i + 1] - d[i] - d[i + 2] - 120)),
    overlay: middle(overlay, (d, i) => d[i + 3]),
    same: JSON.stringify(rect(picture)) === JSON.stringify(rect(overlay))
      && picture.width === overlay.width && picture.height === overlay.height,
    size: [overlay.width, overlay.height, rect(overlay)[2], rect(overlay)[3]],
  };
}"""


def watched(server: Server, page: Any) -> None:
    page.wait_for_function("() => document.querySelector('#score-title').textContent === 'Squat'")
    while not server.say.watchers:
        page.wait_for_timeout(20)


def drawn(page: Any) -> None:
    """Wait until everything asked for has been laid out and painted."""
    page.evaluate("() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(() => requestAnimationFrame(done))))")


@pytest.mark.parametrize("mirrored", [False, True], ids=["as seen", "mirrored"])
@pytest.mark.parametrize(
    ("window", "ratio", "source"),
    [
        ((1440, 900), 1, (640, 480)),
        ((1440, 900), 2, (1920, 1080)),
        ((1024, 768), 1.5, (640, 480)),
        ((390, 844), 3, (640, 480)),
        ((390, 844), 1, (1080, 1920)),
        ((2200, 1000), 1.25, (720, 1280)),
    ],
    ids=lambda v: "x".join(map(str, v)) if isinstance(v, tuple) else str(v),
)
def test_the_skeleton_lies_on_the_picture_at_every_size(server, open_page, window, ratio, source, mirrored):
    page = open_page(*window, ratio)
    watched(server, page)
    at = (source[0] * 0.32, source[1] * 0.61)
    server.say.send(frame(1.0, {"left_knee": at}, size=source), picture_of(*source, at, sent_width=min(source[0], 960)))
    page.wait_for_selector('[data-testid=state][data-state="live"]')
    page.get_by_test_id("labels").click()  # the number beside the joint would move the middle of what is drawn
    if mirrored:
        page.get_by_test_id("mirror").click()
    drawn(page)
    found = page.evaluate(_MIDDLES)
    assert found["same"]
    assert found["size"][0] == pytest.approx(found["size"][2] * ratio, abs=1)  # sharp: one pixel of the canvas is one of the screen
    # Expected from the box alone: the picture whole, centred, mirrored or not.
    scale = min(found["size"][0] / source[0], found["size"][1] / source[1])
    across = source[0] - at[0] if mirrored else at[0]
    expected = (
        (found["size"][0] - source[0] * scale) / 2 + across * scale,
        (found["size"][1] - source[1] * scale) / 2 + at[1] * scale,
    )
    assert found["overlay"] == pytest.approx(expected, abs=0.75)
    assert found["picture"] == pytest.approx(expected, abs=max(1.0, 0.75 * scale))


def test_it_stays_so_when_the_window_changes(server, open_page):
    page = open_page(1440, 900)
    watched(server, page)
    at = (200.0, 300.0)
    server.say.send(frame(1.0, {"left_knee": at}), picture_of(640, 480, at))
    page.wait_for_selector('[data-testid=state][data-state="live"]')
    page.get_by_test_id("labels").click()
    for size in ((1024, 768), (700, 900), (390, 844), (1300, 760)):
        page.set_viewport_size({"width": size[0], "height": size[1]})
        drawn(page)
        found = page.evaluate(_MIDDLES)
        assert np.hypot(*np.subtract(found["overlay"], found["picture"])) < 1.0, size


def test_numbers_and_rows_follow_the_messages(server, open_page):
    page = open_page()
    watched(server, page)
    picture = picture_of(64, 48, (20, 20))
    legs = {"left_hip": (300.0, 200.0), "left_knee": (320.0, 300.0), "left_ankle": (300.0, 400.0)}
    server.say.send(frame(1.0, legs), picture)
    server.say.send(frame(3.0, legs, events=[rep(1, 1.0)], count=1), picture)
    page.wait_for_function("() => document.querySelector('[data-testid=counter]').textContent === '1'")
    assert page.get_by_test_id("phase").inner_text() == "Going down"
    assert page.get_by_test_id("tempo-down").inner_text() == "1.2"
    assert page.get_by_test_id("tempo-up").inner_text() == "0.8"
    assert page.get_by_test_id("range").inner_text() == "91"
    assert page.get_by_test_id("event-row").count() == 1
    assert page.get_by_test_id("announcer").inner_text() == "Repetition 1, 2.0 seconds, range 91 degrees"
    page.wait_for_function("() => document.getElementById('overlay').getAttribute('aria-label').includes('knee flexion 42 degrees')")


def test_the_server_goes_and_comes_back_and_nothing_is_told_twice(server, open_page):
    page = open_page()
    watched(server, page)
    picture = picture_of(64, 48, (20, 20))
    server.say.send(frame(3.0, {"left_knee": (20.0, 20.0)}, events=[rep(1, 1.0)], count=1), picture)
    page.wait_for_selector("[data-testid=event-row]")
    server.down()
    page.wait_for_selector('[data-testid=state][data-state="lost"]')
    assert "Next try" in page.get_by_test_id("notice").inner_text() or "Trying" in page.get_by_test_id("notice").inner_text()
    server.say.watchers.clear()
    server.say.events = [rep(1, 1.0)]
    server.up()
    page.wait_for_function("() => document.querySelector('[data-testid=state]').dataset.state !== 'lost'", timeout=30_000)
    watched(server, page)
    server.say.send(frame(3.0, {"left_knee": (20.0, 20.0)}, events=[rep(1, 1.0)], count=1), picture)
    server.say.send(frame(6.0, {"left_knee": (20.0, 20.0)}, events=[rep(2, 4.0)], count=2), picture)
    page.wait_for_function("() => document.querySelector('[data-testid=counter]').textContent === '2'")
    assert page.get_by_test_id("event-row").count() == 2


def test_a_token_is_asked_for_kept_in_the_tab_and_sent_both_ways(server, open_page):
    server.say.token = "a-long-enough-token"
    page = open_page()
    page.get_by_test_id("token-dialog").wait_for()
    page.get_by_test_id("token-input").fill("wrong")
    page.get_by_test_id("token-go").click()
    page.get_by_text("not the right one").wait_for()
    page.get_by_test_id("token-input").fill(server.say.token)
    page.get_by_test_id("token-go").click()
    watched(server, page)
    server.say.send(frame(1.0, {"left_knee": (20.0, 20.0)}), picture_of(64, 48, (20, 20)))
    page.wait_for_selector('[data-testid=state][data-state="live"]')
    assert page.evaluate("() => sessionStorage.length") == 1
    assert server.say.token not in page.evaluate("() => JSON.stringify(localStorage)") + page.url


def test_what_the_server_says_is_shown_as_text(server, open_page):
    page = open_page()
    watched(server, page)
    page.get_by_test_id("source-rtsp").click()
    page.get_by_test_id("rtsp-url").fill("rtsp://user:secret@10.0.0.7/stream")
    page.get_by_test_id("rtsp-go").click()
    page.wait_for_selector('[data-testid=state][data-state="error"]')
    notice = page.get_by_test_id("notice")
    assert "<img src=x onerror=alert(1)> does not answer" in notice.inner_text()
    assert notice.locator("img").count() == 0
    assert "secret" not in page.locator("body").inner_text()
    assert "secret" in server.say.asked[-1]  # the server needs it, the page forgets it
    assert page.get_by_test_id("rtsp-url").input_value() == ""


def test_cues_come_from_form_events_and_from_the_page_itself(server, open_page):
    page = open_page()
    watched(server, page)
    cue = {**rep(1, 0.5), "type": "form_deviation", "value": None, "message": "Knees over toes", "data": {}}
    server.say.send(frame(1.0, {"left_knee": (20.0, 20.0)}, events=[cue]), picture_of(64, 48, (20, 20)))
    page.get_by_test_id("cue").get_by_text("Knees over toes").wait_for()
    page.evaluate("() => poseAnalyzer.cues.show({ text: 'Well done', level: 'good' })")
    assert page.get_by_test_id("cue").last.get_attribute("data-level") == "good"


def test_joints_that_form_feedback_names_light_up_and_the_cue_is_listed_and_spoken(server, open_page):
    page = open_page()
    watched(server, page)
    points = {"left_hip": (200.0, 100.0), "left_knee": (220.0, 240.0), "left_ankle": (200.0, 380.0)}
    pink = """() => {
      const c = document.getElementById("overlay"); let n = 0;
      const d = c.getContext("2d").getImageData(0, 0, c.width, c.height).data;
      for (let i = 0; i < d.length; i += 4) n += d[i + 3] > 200 && d[i] > 220 && d[i + 1] < 90 && d[i + 2] > 80 && d[i + 2] < 140;
      return n;
    }"""
    server.say.send(frame(1.0, points), picture_of(64, 48, (20, 20)))
    page.wait_for_selector('[data-testid=state][data-state="live"]')
    drawn(page)
    assert page.evaluate(pink) == 0
    page.evaluate("() => { globalThis.said = []; speechSynthesis.speak = (words) => said.push(words.text); }")
    page.get_by_test_id("voice").click()
    data = {"keypoints": ["left_hip", "left_knee", "left_ankle"], "level": "warn", "fault": "knee_valgus"}
    told = {
        **rep(1, 0.5),
        "type": "form_deviation",
        "value": 11.0,
        "message": "Left knee caves in 11 degrees; reference 2 ± 3",
        "data": data,
    }
    server.say.send(frame(1.1, points, events=[told]), picture_of(64, 48, (20, 20)))
    page.get_by_test_id("cue").get_by_text("Left knee caves in").wait_for()
    drawn(page)
    assert page.evaluate(pink) > 100
    assert page.evaluate("() => said") == ["Cues are spoken.", "Left knee caves in 11 degrees"]
    assert "Left knee caves in" in page.locator('tr[data-type="form_deviation"]').inner_text()


def test_an_empty_picture_says_that_nobody_is_there(server, open_page):
    page = open_page()
    watched(server, page)
    for i in range(8):
        server.say.send(frame(1.0 + i / 10, {}), picture_of(64, 48, (20, 20)))
    page.wait_for_selector('[data-testid=state][data-state="nobody"]')
    assert "Step into the picture" in page.get_by_test_id("state").inner_text()


def test_keys_open_what_they_say_and_can_be_switched_off(server, open_page):
    page = open_page()
    watched(server, page)
    page.keyboard.press("?")
    dialog = page.get_by_test_id("help-dialog")
    assert dialog.is_visible()
    for _ in range(6):  # the focus stays in the dialog
        page.keyboard.press("Tab")
        assert page.evaluate(
            "() => document.activeElement === document.body || document.getElementById('help-dialog').contains(document.activeElement)"
        )
    page.keyboard.press("Escape")
    assert not dialog.is_visible()
    page.keyboard.press("s")
    page.get_by_test_id("view-sessions").wait_for()
    page.keyboard.press("l")
    page.get_by_test_id("view-live").wait_for()
    page.keyboard.press("?")
    page.get_by_test_id("keys-on").uncheck()
    page.keyboard.press("Escape")
    page.keyboard.press("?")
    assert not dialog.is_visible()


def test_the_theme_follows_the_system_until_chosen(server, open_page):
    page = open_page(color_scheme="dark")
    dark = page.evaluate("() => getComputedStyle(document.body).backgroundColor")
    page.emulate_media(color_scheme="light")
    light = page.evaluate("() => getComputedStyle(document.body).backgroundColor")
    assert dark != light
    page.get_by_test_id("theme").click()
    assert page.evaluate("() => getComputedStyle(document.body).backgroundColor") == dark
    page.reload()
    assert page.evaluate("() => getComputedStyle(document.body).backgroundColor") == dark


_SMALL = """() => [...document.querySelectorAll('button, a, select, summary')]
  .filter((e) => e.offsetParent && !e.closest('dialog') && !e.classList.contains('skip'))
  .map((e) => [e.id || e.textContent, e.getBoundingClientRect()])
  .filter(([, r]) => r.height < 43.5 || r.width < 43.5)
  .map(([name, r]) => `${name}: ${r.width} x ${r.height}`)"""


@pytest.mark.parametrize("width", [320, 390, 768, 1024, 1440])
def test_nothing_sticks_out_and_fingers_find_every_control(server, open_page, width):
    page = open_page(width, 844)
    watched(server, page)
    for view in ("#/live", "#/sessions"):
        page.evaluate(f"() => {{ location.hash = '{view}'; }}")
        drawn(page)
        assert page.evaluate("() => document.documentElement.scrollWidth") <= width
        small = page.evaluate(_SMALL)
        assert small == []
