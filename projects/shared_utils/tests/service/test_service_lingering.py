"""An answer that closes the connection waits for the rest of the body, within bounds."""

from __future__ import annotations

from typing import Any

import anyio
import pytest
from starlette.responses import Response

from shared_utils.service import ServiceSettings, create_service, lingering
from shared_utils.service.lingering import LingerMiddleware


class Client:
    """Sends pieces of a body; keeps what it is told and how many pieces had been taken by then."""

    def __init__(self, pieces: int, *, size: int = 1000, stalls_after: int | None = None) -> None:
        self.pieces, self.size, self.stalls_after = pieces, size, stalls_after
        self.taken = 0
        self.told: list[tuple[dict[str, Any], int]] = []

    async def receive(self) -> dict[str, Any]:
        if self.taken == self.stalls_after:
            await anyio.sleep_forever()
        self.taken += 1
        return {"type": "http.request", "body": b"x" * self.size, "more_body": self.taken < self.pieces}

    async def send(self, message: dict[str, Any]) -> None:
        self.told.append((message, self.taken))

    def ask(self, app: Any, *headers: tuple[bytes, bytes]) -> None:
        scope = {"type": "http", "method": "POST", "path": "/x", "headers": list(headers), "query_string": b"", "client": ("127.0.0.1", 1)}
        anyio.run(app, scope, self.receive, self.send)

    @property
    def text(self) -> bytes:
        return b"".join(message.get("body", b"") for message, _ in self.told)


def refusing(**headers: str) -> LingerMiddleware:
    return LingerMiddleware(Response("no", 413, headers=headers))


def test_the_rest_is_read_after_the_answer_and_before_its_end():
    client = Client(pieces=20)
    client.ask(refusing(Connection="close"))
    assert client.text == b"no"
    assert [taken for _, taken in client.told] == [0, 0, 20]  # head and text at once, the end when all is read
    assert [message.get("more_body") for message, _ in client.told[1:]] == [True, False]


def test_an_answer_that_keeps_the_connection_waits_for_nothing():
    client = Client(pieces=20)
    client.ask(refusing())
    assert (client.text, client.taken) == (b"no", 0)


def test_an_endless_body_is_read_no_further_than_agreed():
    client = Client(pieces=10**9, size=2**20)
    client.ask(refusing(Connection="close"))
    assert client.taken == lingering.LINGER_BYTES // 2**20
    assert client.told[-1][0]["more_body"] is False


def test_a_client_that_stalls_is_not_waited_for_long(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(lingering, "LINGER_S", 0.01)
    client = Client(pieces=20, stalls_after=3)
    client.ask(refusing(Connection="close"))
    assert (client.text, client.taken) == (b"no", 3)
    assert client.told[-1][0]["more_body"] is False


@pytest.mark.parametrize("headers", [[(b"content-length", b"20000")], []], ids=["stated", "in pieces"])
def test_the_service_does_so_for_a_body_that_is_too_large(headers: list[tuple[bytes, bytes]]):
    app = create_service("Demo", "1", settings=ServiceSettings(max_body_bytes=1500))

    @app.post("/x")
    async def take(body: dict[str, Any]) -> None:
        """Wants all of it."""

    client = Client(pieces=20)
    client.ask(app, (b"host", b"127.0.0.1"), (b"content-type", b"application/json"), *headers)
    assert client.told[0][0]["status"] == 413
    assert client.taken == 20
