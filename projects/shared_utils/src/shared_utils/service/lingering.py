"""Reading on after a refusal: who still sends when the connection is closed never sees the answer.

A system that closes a connection with unread bytes resets it, and the reset may overtake the answer: instead of "too
large" the client reads "connection reset". HTTP servers therefore take in the rest for a moment before they close.
"""

from __future__ import annotations

import anyio
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

LINGER_BYTES = 4 * 2**20
"""Most that is read after an answer that closes the connection."""
LINGER_S = 2.0
"""Most that reading on takes, seconds."""


class LingerMiddleware:
    """Takes in what is left of a request's body before an answer with `Connection: close` is ended.

    Args:
        app: The application inside.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        exchange = _Exchange(receive, send)
        await self._app(scope, exchange.receive, exchange.send)


class _Exchange:
    """One request and its answer."""

    def __init__(self, receive: Receive, send: Send) -> None:
        self._receive, self._send = receive, send
        self._is_read = self._closes = False

    async def receive(self) -> Message:
        message = await self._receive()
        self._is_read = message["type"] != "http.request" or not message.get("more_body", False)
        return message

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self._closes = Headers(raw=list(message.get("headers", ()))).get("connection", "").lower() == "close"
        is_last = message["type"] == "http.response.body" and not message.get("more_body", False)
        if not (is_last and self._closes and not self._is_read):
            await self._send(message)
            return
        await self._send({**message, "more_body": True})
        await self._read_on()
        await self._send({"type": "http.response.body", "body": b"", "more_body": False})

    async def _read_on(self) -> None:
        left = LINGER_BYTES
        with anyio.move_on_after(LINGER_S):
            while left > 0 and not self._is_read:
                left -= len((await self.receive()).get("body", b""))
