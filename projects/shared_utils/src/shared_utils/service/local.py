"""Call a service within the process, without a socket."""

from __future__ import annotations

import httpx
from fastapi import FastAPI


def local_client(app: FastAPI, *, token: str | None = None) -> httpx.AsyncClient:
    """A client whose requests reach the application as if from this machine.

    Args:
        app: From `create_service`.
        token: Sent as bearer token; None sends none.

    Returns:
        An `httpx.AsyncClient`; use it with `async with`. The application's lifespan is not run.

    Example:
        >>> import asyncio
        >>> from shared_utils.service import create_service
        >>> async def ask() -> int:
        ...     async with local_client(create_service("Demo", "1.0")) as client:
        ...         return (await client.get("/healthz")).status_code
        >>> asyncio.run(ask())
        200
    """
    headers = {} if token is None else {"Authorization": f"Bearer {token}"}
    return httpx.AsyncClient(transport=httpx.ASGITransport(app=app), base_url="http://127.0.0.1", headers=headers)
