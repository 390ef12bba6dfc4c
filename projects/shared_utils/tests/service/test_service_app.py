"""A service answers, refuses and reports as promised."""

from __future__ import annotations

import asyncio
import io
import json
import logging
import re

import pytest
from fastapi import APIRouter, Request, WebSocket
from fastapi.responses import HTMLResponse, StreamingResponse
from prometheus_client.parser import text_string_to_metric_families
from pydantic import BaseModel, Field

from shared_utils.errors import ConfigError, ModelError
from shared_utils.logging import setup_logging
from shared_utils.metrics import counter, create_registry
from shared_utils.service import Problem, ServiceSettings, create_service, local_client
from shared_utils.service.docs import CONTENT_SECURITY_POLICY, render_docs

pytestmark = pytest.mark.asyncio

TOKEN = "correct-horse-battery-staple"
MIB = 1 << 20
router = APIRouter(tags=["demo"])


class Order(BaseModel):
    people: int = Field(ge=1, le=16)
    note: str | None = None


class DomainError(Exception):
    """Text for users."""


@router.get("/v1/ok", summary="Says ok")
async def ok() -> dict[str, str]:
    return {"is": "ok"}


@router.post("/v1/orders")
async def order(body: Order, dry: bool = False) -> Order:
    """Takes an order."""
    return body


@router.put("/v1/raw")
async def raw(request: Request) -> dict[str, int]:
    return {"bytes": len(await request.body())}


@router.get("/v1/crash")
async def crash() -> None:
    raise RuntimeError(f"inner detail with token={TOKEN}")


@router.get("/v1/refuse/{kind}")
async def refuse(kind: str) -> None:
    errors = {
        "problem": Problem(409, "the stream runs already", type="urn:pose:stream-runs", extra={"stream": "cam", "status": 1}),
        "model": ModelError("run: pose-analyzer models fetch x"),
        "domain": DomainError("rtsp://admin:hunter2@cam/1 does not answer"),
    }
    raise errors[kind]


@router.get("/v1/page")
async def page() -> HTMLResponse:
    return HTMLResponse("<p>hi", headers={"Content-Security-Policy": "script-src 'self'"})


@router.get("/v1/broken-stream")
async def broken_stream() -> StreamingResponse:
    async def body():
        yield b"half"
        raise RuntimeError("gone")

    return StreamingResponse(body())


@router.websocket("/v1/live")
async def live(socket: WebSocket) -> None:
    await socket.accept()
    await socket.send_text("hello")
    await socket.close()


@router.websocket("/v1/closed")
async def closed(socket: WebSocket) -> None:
    raise Problem(409, "no stream of that name")


@router.websocket("/v1/crashing")
async def crashing(socket: WebSocket) -> None:
    raise RuntimeError("inner detail")


def make(**options):
    settings = ServiceSettings(**options.pop("settings", {}))
    return create_service(
        "Demo",
        "1.2.3",
        settings=settings,
        routers=[router],
        error_statuses={DomainError: 502},
        registry=create_registry(process=False),
        **options,
    )


@pytest.fixture
def log():
    root = logging.getLogger()
    level, handlers = root.level, root.handlers[:]
    stream = io.StringIO()
    setup_logging("DEBUG", json=True, stream=stream)
    yield lambda: [json.loads(line) for line in stream.getvalue().splitlines()]
    root.setLevel(level)
    root.handlers[:] = handlers
    logging.captureWarnings(False)


def problem(response, status: int) -> dict:
    """The body, after checking what RFC 9457 and we ask of every problem."""
    assert response.status_code == status
    assert response.headers["content-type"] == "application/problem+json"
    body = response.json()
    assert body["status"] == status
    assert body["type"]
    assert body["title"]
    assert body["instance"] == response.request.url.path
    assert body["request_id"] == response.headers["x-request-id"]
    return body


async def test_health_and_readiness():
    async def warm() -> None:
        return None

    async with local_client(make(readiness={"model": lambda: None, "store": warm})) as client:
        assert (await client.get("/healthz")).json() == {"status": "ok"}
        assert (await client.get("/readyz")).json() == {"status": "ready", "checks": {"model": "ok", "store": "ok"}}


async def test_a_part_that_is_not_ready_is_named_without_its_reason(log):
    def broken() -> None:
        raise OSError("cannot reach postgresql://u:hunter2@db/x")

    async def slow() -> None:
        await asyncio.Event().wait()

    app = make(readiness={"store": broken, "camera": slow, "model": lambda: None}, settings={"readiness_timeout_s": 1.0})
    async with local_client(app) as client:
        body = problem(await client.get("/readyz"), 503)
        assert body["checks"] == {"store": "failed", "camera": "failed", "model": "ok"}
        assert body["detail"] == "not ready: store, camera"
        assert (await client.get("/healthz")).status_code == 200
    reasons = {line["check"]: line["reason"] for line in log() if line["event"] == "not_ready"}
    assert reasons == {"store": "cannot reach postgresql://***@db/x", "camera": "TimeoutError"}


async def test_requests_are_counted_by_route_not_by_path():
    app = make()
    async with local_client(app) as client:
        await client.get("/v1/ok")
        await client.get("/v1/refuse/model")
        await client.get("/v1/refuse/domain")
        await client.get("/no/such/path")
        await client.request("BREW", "/v1/ok")
        text = (await client.get("/metrics")).text
    samples = {
        (s.labels["method"], s.labels["route"], s.labels["status"]): s.value
        for family in text_string_to_metric_families(text)
        for s in family.samples
        if s.name == "pose_http_requests_total"
    }
    assert samples == {
        ("GET", "/v1/ok", "200"): 1,
        ("GET", "/v1/refuse/{kind}", "503"): 1,
        ("GET", "/v1/refuse/{kind}", "502"): 1,
        ("GET", "unmatched", "404"): 1,
        ("other", "/v1/ok", "405"): 1,
    }
    assert 'pose_http_request_duration_seconds_count{method="GET",route="/v1/ok"} 1.0' in text
    assert "pose_http_requests_running 1.0" in text


async def test_metrics_are_those_of_the_service_s_registry():
    registry = create_registry(process=False)
    counter("gpu_steps_total", "Steps.", registry=registry).inc(5)
    app = create_service("Demo", "1", registry=registry, metrics_prefix="gpu")
    async with local_client(app) as client:
        response = await client.get("/metrics", headers={"Accept": "application/openmetrics-text"})
        assert response.headers["content-type"].startswith("application/openmetrics-text")
        assert "gpu_steps_total 5.0" in response.text
        assert (await client.get("/metrics")).headers["content-type"].startswith("text/plain")
    assert "python_info" in {m.name for m in create_service("Demo", "1").state.registry.collect()} | {"python_info"}


@pytest.mark.parametrize(
    ("method", "path", "status", "expected"),
    [
        ("GET", "/no/such", 404, {"title": "Not Found"}),
        ("DELETE", "/v1/ok", 405, {"title": "Method Not Allowed"}),
        ("GET", "/v1/refuse/problem", 409, {"type": "urn:pose:stream-runs", "detail": "the stream runs already", "stream": "cam"}),
        ("GET", "/v1/refuse/model", 503, {"detail": "run: pose-analyzer models fetch x"}),
        ("GET", "/v1/refuse/domain", 502, {"detail": "rtsp://***@cam/1 does not answer"}),
        ("GET", "/v1/crash", 500, {"title": "Internal Server Error"}),
    ],
)
async def test_every_error_is_a_problem(method, path, status, expected):
    async with local_client(make()) as client:
        body = problem(await client.request(method, path), status)
    assert {key: body[key] for key in expected} == expected


async def test_a_wrong_method_names_the_right_ones():
    async with local_client(make()) as client:
        assert (await client.delete("/v1/ok")).headers["allow"] == "GET"


async def test_an_invalid_request_is_told_what_is_wrong_but_not_echoed():
    async with local_client(make()) as client:
        body = problem(await client.post("/v1/orders?dry=perhaps", json={"people": 99, "note": "hunter2"}), 422)
        assert [e["location"] for e in body["errors"]] == ["query.dry", "body.people"]
        assert "less than or equal to 16" in body["detail"]
        assert "hunter2" not in json.dumps(body)
        assert problem(await client.post("/v1/orders", content=b"{not json"), 422)["errors"]


async def test_a_crash_leaks_nothing_and_its_log_line_carries_the_id(log):
    async with local_client(make()) as client:
        response = await client.get("/v1/crash", headers={"X-Request-ID": "abc-1"})
    body = problem(response, 500)
    assert body["request_id"] == "abc-1"
    assert "inner detail" not in response.text
    assert "Traceback" not in response.text
    (line,) = [line for line in log() if line["event"] == "request_failed"]
    assert line["request_id"] == "abc-1"
    assert "inner detail with token=***" in line["exception"]
    assert TOKEN not in json.dumps(log())


async def test_a_stream_that_breaks_is_not_ended_as_if_it_were_whole(log):
    async with local_client(make()) as client:
        with pytest.raises(RuntimeError, match="gone"):
            await client.get("/v1/broken-stream")
    assert [line["event"] for line in log() if line["level"] == "error"] == ["request_failed"]


@pytest.mark.parametrize(
    ("given_id", "kept"), [("abc-1_2.3", True), ("a" * 64, True), ("a" * 65, False), ("a b", False), ("a\tb", False), ("", False)]
)
async def test_a_request_id_is_kept_where_it_is_harmless(given_id, kept):
    async with local_client(make()) as client:
        answered = (await client.get("/v1/ok", headers={"X-Request-ID": given_id})).headers["x-request-id"]
    assert (answered == given_id) == kept
    assert re.fullmatch(r"[A-Za-z0-9._-]{1,64}", answered)


async def test_request_ids_differ():
    async with local_client(make()) as client:
        ids = {(await client.get("/v1/ok")).headers["x-request-id"] for _ in range(20)}
    assert len(ids) == 20


async def test_a_request_is_one_log_line_without_credentials(log):
    async with local_client(make()) as client:
        await client.get(f"/v1/ok?token={TOKEN}&x=1")
        await client.get("/healthz")
    lines = [line for line in log() if line["event"] == "request"]
    assert [(line["level"], line["path"], line["status"]) for line in lines] == [
        ("info", "/v1/ok?token=***&x=1", 200),
        ("debug", "/healthz", 200),
    ]
    assert lines[0]["duration_ms"] >= 0


async def test_answers_carry_safety_headers_and_pages_may_set_their_own():
    async with local_client(make()) as client:
        headers = (await client.get("/v1/ok")).headers
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["x-frame-options"] == "DENY"
        assert headers["content-security-policy"] == "default-src 'none'; frame-ancestors 'none'"
        assert headers["cache-control"] == "no-store"
        page_headers = (await client.get("/v1/page")).headers
        assert page_headers["content-security-policy"] == "script-src 'self'"


# --- token -----------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Authorization": f"Bearer {TOKEN}"}, 200),
        ({"Authorization": f"bearer  {TOKEN} "}, 200),
        ({}, 401),
        ({"Authorization": "Bearer wrong"}, 401),
        ({"Authorization": f"Basic {TOKEN}"}, 401),
        ({"Authorization": TOKEN}, 401),
        ({"Authorization": "Bearer "}, 401),
        ({"Authorization": f"Bearer {TOKEN}x"}, 401),
        ({"Authorization": b"Bearer \xff\xfe"}, 401),
        ({"X-Token": TOKEN}, 401),
        ({"Cookie": f"token={TOKEN}"}, 401),
        ({"Sec-WebSocket-Protocol": f"bearer, {TOKEN}"}, 401),
    ],
)
async def test_with_a_token_only_its_holder_comes_in(headers, status):
    async with local_client(make(settings={"token": TOKEN})) as client:
        response = await client.get("/v1/ok", headers=headers)
    assert response.status_code == status
    if status == 401:
        assert problem(response, 401)["detail"].startswith("send the service's token")
        assert response.headers["www-authenticate"].startswith("Bearer")


async def test_two_authorization_headers_are_none():
    async with local_client(make(settings={"token": TOKEN})) as client:
        pairs = [("Authorization", f"Bearer {TOKEN}"), ("Authorization", "Bearer other")]
        assert (await client.get("/v1/ok", headers=pairs)).status_code == 401


async def test_a_token_in_the_address_does_not_count():
    async with local_client(make(settings={"token": TOKEN})) as client:
        for name in ("token", "access_token", "authorization"):
            assert (await client.get(f"/v1/ok?{name}={TOKEN}")).status_code == 401


async def test_the_token_guards_all_but_health():
    async with local_client(make(settings={"token": TOKEN})) as client:
        assert (await client.get("/healthz")).status_code == 200
        assert (await client.get("/readyz")).status_code == 200
        for path in ("/metrics", "/docs", "/openapi.json", "/no/such", "/healthz/"):
            assert (await client.get(path)).status_code == 401, path


async def test_an_open_page_is_read_without_the_token_but_nothing_is_written():
    app = make(settings={"token": TOKEN}, open_paths=lambda path: path == "/v1/ok")
    async with local_client(app) as client:
        assert (await client.get("/v1/ok")).status_code == 200
        assert (await client.post("/v1/ok")).status_code == 401
        assert (await client.get("/v1/ok/")).status_code == 401
        assert (await client.post("/v1/orders", json={"people": 2})).status_code == 401


@pytest.mark.parametrize("host", ["0.0.0.0", "192.168.1.5", "::", "example.org"])
async def test_listening_for_others_needs_a_token(host):
    with pytest.raises(ConfigError, match=f"listening on {re.escape(host)} needs a token"):
        make(settings={"host": host})
    make(settings={"host": host, "token": TOKEN})


@pytest.mark.parametrize("token", ["short", "x" * 15, "with spaces in between", "tést-tést-tést-tést"])
async def test_a_weak_or_unsendable_token_is_refused(token):
    with pytest.raises(ValueError, match="token"):
        ServiceSettings(token=token)


async def call(app, *, kind="http", method="GET", path="/v1/ok", server=("127.0.0.1", 8000), headers=()):
    """Speak ASGI by hand, for what a client library would not send."""
    sent = []
    messages = [{"type": "websocket.connect"}] if kind == "websocket" else [{"type": "http.request", "body": b"", "more_body": False}]

    async def receive():
        return messages.pop(0) if messages else {"type": f"{kind}.disconnect", "code": 1000}

    async def send(message):
        sent.append(message)

    scope = {
        "type": kind,
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": method,
        "scheme": "ws" if kind == "websocket" else "http",
        "path": path,
        "raw_path": path.encode(),
        "query_string": b"",
        "root_path": "",
        "headers": [(name.lower().encode(), value.encode()) for name, value in headers],
        "server": server,
        "client": ("127.0.0.1", 5),
        "subprotocols": [],
    }
    if kind == "websocket":
        del scope["method"]
    await app(scope, receive, send)
    return sent


@pytest.mark.parametrize(
    ("server", "host", "status"),
    [
        (("127.0.0.1", 8000), "localhost:8000", 200),
        (("127.0.0.1", 8000), "127.0.0.1", 200),
        (("::1", 8000), "[::1]:8000", 200),
        (("::ffff:127.0.0.1", 8000), "127.0.0.1:8000", 200),
        (("/run/pose.sock", None), "localhost", 200),
        (None, "localhost", 200),
        (("192.168.1.5", 8000), "localhost", 403),
        (("127.0.0.1", 8000), "evil.example", 403),
        (("127.0.0.1", 8000), "localhost.evil.example", 403),
        (("127.0.0.1", 8000), "localhost@evil.example", 403),
        (("127.0.0.1", 8000), "", 403),
    ],
)
async def test_without_a_token_only_this_machine_comes_in(server, host, status):
    sent = await call(make(), server=server, headers=[("Host", host)])
    assert sent[0]["status"] == status


async def test_a_listed_name_goes_too():
    app = make(settings={"allowed_hosts": ("pose.lan",)})
    assert (await call(app, headers=[("Host", "POSE.lan:80")]))[0]["status"] == 200


@pytest.mark.parametrize(
    ("method", "origin", "status"),
    [
        ("POST", None, 200),
        ("POST", "http://127.0.0.1", 200),
        ("POST", "https://app.example", 200),
        ("POST", "https://evil.example", 403),
        ("POST", "null", 403),
        ("POST", "http://[", 403),
        ("GET", "https://evil.example", 405),
    ],
)
async def test_pages_of_other_origins_change_nothing(method, origin, status):
    app = make(settings={"cors_origins": ("https://app.example",)})
    async with local_client(app) as client:
        headers = {} if origin is None else {"Origin": origin}
        assert (await client.request(method, "/v1/orders", json={"people": 2}, headers=headers)).status_code == status


async def test_listed_origins_are_told_to_browsers():
    app = make(settings={"cors_origins": ("https://app.example",), "token": TOKEN})
    ask = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "authorization"}
    async with local_client(app) as client:
        allowed = await client.options("/v1/orders", headers={"Origin": "https://app.example", **ask})
        assert allowed.status_code == 200
        assert allowed.headers["access-control-allow-origin"] == "https://app.example"
        refused = await client.options("/v1/orders", headers={"Origin": "https://evil.example", **ask})
        problem(refused, 400)
        assert "access-control-allow-origin" not in refused.headers


@pytest.mark.parametrize("origin", ["*", "app.example", "https://app.example/path", "https://user@app.example", "https://*.example"])
async def test_what_is_no_origin_is_refused(origin):
    with pytest.raises(ValueError, match="is no origin"):
        ServiceSettings(cors_origins=(origin,))


# --- WebSockets ------------------------------------------------------------------------------------
HOST = ("Host", "127.0.0.1")


@pytest.mark.parametrize(
    ("token", "headers", "accepted"),
    [
        (None, [], True),
        (None, [("Origin", "http://127.0.0.1")], True),
        (None, [("Origin", "https://evil.example")], False),
        (TOKEN, [], False),
        (TOKEN, [("Authorization", f"Bearer {TOKEN}")], True),
        (TOKEN, [("Sec-WebSocket-Protocol", f"bearer, {TOKEN}")], True),
        (TOKEN, [("Sec-WebSocket-Protocol", "bearer, wrong")], False),
        (TOKEN, [("Sec-WebSocket-Protocol", TOKEN)], False),
    ],
)
async def test_a_websocket_is_guarded_like_a_request(token, headers, accepted):
    sent = await call(make(settings={"token": token}), kind="websocket", path="/v1/live", headers=[HOST, *headers])
    if accepted:
        assert [m["type"] for m in sent] == ["websocket.accept", "websocket.send", "websocket.close"]
        offered = any(name == "Sec-WebSocket-Protocol" for name, _ in headers)
        assert sent[0]["subprotocol"] == ("bearer" if offered else None)
    else:
        assert [(m["type"], m["code"]) for m in sent] == [("websocket.close", 1008)]
        assert TOKEN not in sent[0]["reason"]


async def test_a_websocket_s_problem_closes_it(log):
    sent = await call(make(), kind="websocket", path="/v1/closed", headers=[HOST])
    assert sent == [{"type": "websocket.close", "code": 1008, "reason": "no stream of that name"}]
    with pytest.raises(RuntimeError):
        await call(make(), kind="websocket", path="/v1/crashing", headers=[HOST])
    assert [line["event"] for line in log() if "websocket" in line["event"]] == ["websocket_closed", "websocket_failed", "websocket_closed"]


async def test_a_client_that_leaves_is_counted_as_such():
    app = make()

    async def vanish() -> None:
        raise asyncio.CancelledError

    app.add_api_route("/v1/vanish", vanish)
    with pytest.raises(asyncio.CancelledError):
        await call(app, path="/v1/vanish", headers=[HOST])
    assert app.state.registry.get_sample_value("pose_http_requests_total", {"method": "GET", "route": "/v1/vanish", "status": "499"}) == 1


# --- size ------------------------------------------------------------------------------------------
async def in_chunks(data: bytes, size: int):
    for start in range(0, len(data), size):
        yield data[start : start + size]


async def test_a_json_body_that_is_too_large_is_413_not_400():
    async with local_client(make(settings={"max_body_bytes": 50})) as client:
        body = json.dumps({"people": 2, "note": "x" * 100}).encode()
        response = await client.post("/v1/orders", content=in_chunks(body, 10), headers={"Content-Type": "application/json"})
    assert problem(response, 413)["detail"] == "a request body has at most 50 bytes"


async def test_only_the_route_for_uploads_takes_a_larger_body():
    app = make(settings={"max_body_bytes": 50}, larger_bodies={("PUT", "/v1/raw"): 200})
    async with local_client(app) as client:
        assert (await client.put("/v1/raw", content=b"x" * 200)).json() == {"bytes": 200}
        problem(await client.put("/v1/raw", content=b"x" * 201), 413)
        problem(await client.put("/v1/raw", content=in_chunks(b"x" * 201, 20)), 413)
        problem(await client.post("/v1/orders", content=b"x" * 51), 413)


# --- documentation ---------------------------------------------------------------------------------
async def test_the_documentation_needs_no_other_site():
    async with local_client(make(description="First.\n\nSecond.")) as client:
        response = await client.get("/docs")
    html = response.text
    assert response.headers["content-security-policy"] == CONTENT_SECURITY_POLICY
    assert "<script" not in html
    assert not re.search(r"(src|href)\s*=\s*[\"']?(https?:)?//", html)
    assert "@import" not in html
    assert "url(" not in html
    for text in (
        "Demo",
        "1.2.3",
        "<p>Second.</p>",
        "/v1/orders",
        "Takes an order.",
        "integer 1..16",
        "/healthz",
        "Says ok",
        "text or null",
    ):
        assert text in html, text


async def test_the_documentation_s_style_is_the_one_its_policy_allows():
    import base64
    import hashlib

    html = render_docs({"info": {}, "paths": {}})
    style = re.search(r"<style>(.*?)</style>", html, re.DOTALL)
    assert style is not None
    digest = base64.b64encode(hashlib.sha256(style[1].encode()).digest()).decode()
    assert f"'sha256-{digest}'" in CONTENT_SECURITY_POLICY


async def test_schemas_that_contain_themselves_end():
    reference = {"$ref": "#/components/schemas/Node"}
    node = {
        "type": "object",
        "properties": {"child": reference, "free": {"additionalProperties": {"type": "integer"}, "type": "object"}},
    }
    operation = {
        "requestBody": {"content": {"application/json": {"schema": {"type": "array", "items": reference}}}},
        "responses": {"200": {"content": {"application/json": {"schema": {"enum": ["a", "b"]}}}}},
        "parameters": [
            {"name": "k", "in": "query", "schema": {"const": 3}},
            {"name": "m", "schema": {"type": "array", "items": {"type": "string"}}},
        ],
    }
    html = render_docs({"components": {"schemas": {"Node": node}}, "paths": {"/x": {"post": operation}}})
    assert "…" in html
    assert "list of text" in html
    assert "<td>3</td>" in html
    assert "a\\&quot; or" in html


async def test_the_openapi_document_is_stable_and_tells_of_problems():
    plain, guarded = make().openapi(), make(settings={"token": TOKEN}).openapi()
    assert plain["paths"]["/v1/orders"]["post"]["operationId"] == "order"
    responses = plain["paths"]["/v1/orders"]["post"]["responses"]
    assert responses["default"]["content"] == {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}}
    assert set(responses) == {"200", "default"}
    assert plain["components"]["schemas"]["Problem"]["required"]
    assert "security" not in plain
    assert guarded["security"] == [{"token": []}]
    assert guarded["paths"]["/healthz"]["get"]["security"] == []
    assert make().openapi() == plain


async def test_openapi_json_is_served():
    async with local_client(make()) as client:
        document = (await client.get("/openapi.json")).json()
    assert document["info"] == {"title": "Demo", "version": "1.2.3"}
