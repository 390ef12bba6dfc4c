"""Properties of the service that hold for every body and every text."""

from __future__ import annotations

import asyncio

from fastapi import APIRouter, Request
from hypothesis import given
from hypothesis import strategies as st

from shared_utils.metrics import create_registry
from shared_utils.service import ServiceSettings, create_service, local_client
from shared_utils.service.docs import render_docs

LIMIT_BYTES = 200
router = APIRouter()


@router.put("/raw")
async def raw(request: Request) -> dict[str, int]:
    return {"bytes": len(await request.body())}


APP = create_service(
    "Demo", "1", settings=ServiceSettings(max_body_bytes=LIMIT_BYTES), routers=[router], registry=create_registry(process=False)
)


@given(st.integers(0, 300), st.integers(1, 64), st.booleans())
def test_a_body_is_limited_whole_and_in_chunks(length, chunk, stated):
    data = b"x" * length

    async def in_chunks():
        for start in range(0, length, chunk):
            yield data[start : start + chunk]

    async def ask():
        async with local_client(APP) as client:
            return await client.put("/raw", content=data if stated else in_chunks())

    response = asyncio.run(ask())
    if length <= LIMIT_BYTES:
        assert response.json() == {"bytes": length}
    else:
        assert response.status_code == 413
        assert response.headers["content-type"] == "application/problem+json"
        assert response.json()["detail"] == "a request body has at most 200 bytes"


@given(st.text())
def test_nothing_in_a_description_becomes_markup(text):
    evil = f"<img onerror=x>{text}"
    operation = {"summary": evil, "description": evil, "tags": [evil], "parameters": [{"name": evil, "schema": {}}]}
    document = {"info": {"title": evil, "version": evil, "description": evil}, "paths": {f"/{evil}": {"get": operation}}}
    assert "<img" not in render_docs(document)
