"""Routes of the streams: REST to start, list and stop them, and both WebSockets."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query, Request, Response, WebSocket
from pydantic import BaseModel, Field

from pose_analyzer.api.live_stream import SessionSink
from pose_analyzer.api.messages import EventView, StreamView
from pose_analyzer.api.stream_manager import StreamManager
from pose_analyzer.api.stream_sources import StreamRequest
from pose_analyzer.api.watchers import PREVIEW_WIDTHS
from shared_utils.data_models import EventType
from shared_utils.service import Problem
from shared_utils.service.problems import problem_response

__all__ = ["SessionSink", "StreamManager", "streams_router"]

Limit = Annotated[int, Query(ge=1, le=500, description="Most items of an answer.")]
Cursor = Annotated[str | None, Query(max_length=20, pattern=r"^\d+$", description="`next_cursor` of the page before.")]


class StreamPage(BaseModel):
    """Some streams."""

    items: list[StreamView]
    next_cursor: str | None = Field(description="Where the next page begins; null: there is none.")


class StreamEventPage(BaseModel):
    """Some events of a stream."""

    items: list[EventView]
    next_cursor: str | None = Field(description="Where the next page begins; null: there is none.")


def streams_router(manager: StreamManager) -> APIRouter:
    """The routes.

    Args:
        manager: Whose streams they show.
    """
    router = APIRouter(prefix="/v1", tags=["streams"])
    _add_streams(router, manager)
    _add_events(router, manager)
    _add_sockets(router, manager)
    return router


def _add_streams(router: APIRouter, manager: StreamManager) -> None:
    @router.post("/streams", status_code=201, responses={code: {"description": why} for code, why in _REFUSALS.items()})
    async def create_stream(body: StreamRequest, request: Request, response: Response) -> StreamView:
        """Start measuring a camera, a recording at its pace, or the demo. It begins at once; `state` tells what became of it."""
        stream = await manager.create(body)
        response.headers["Location"] = str(request.app.url_path_for("read_stream", stream_id=stream.id))
        return stream.view()

    @router.get("/streams")
    async def list_streams(limit: Limit = 50, cursor: Cursor = None) -> StreamPage:
        """All streams, the demo first, then the newest; the last 20 that have ended are among them."""
        start = int(cursor or 0)
        found = manager.streams()
        items = [stream.view() for stream in found[start : start + limit]]
        return StreamPage(items=items, next_cursor=str(start + limit) if start + limit < len(found) else None)

    @router.get("/streams/{stream_id}", responses={404: {"description": "There is no such stream."}})
    async def read_stream(stream_id: str) -> StreamView:
        """One stream as it is now."""
        return manager.get(stream_id).view()

    @router.delete("/streams/{stream_id}", status_code=204, responses={404: {"description": "There is no such stream."}})
    async def delete_stream(stream_id: str) -> None:
        """Stop a stream and forget it."""
        await manager.delete(stream_id)


def _add_events(router: APIRouter, manager: StreamManager) -> None:
    @router.get("/streams/{stream_id}/events", responses={404: {"description": "There is no such stream."}})
    async def list_stream_events(
        stream_id: str,
        limit: Limit = 50,
        cursor: Cursor = None,
        type: Annotated[EventType | None, Query(description="Only this kind.")] = None,  # noqa: A002  # its name in the query
    ) -> StreamEventPage:
        """What happened so far, oldest first; the last 1000 are kept."""
        stream = manager.get(stream_id)
        # The cursor counts all events ever, so that it stays right when the oldest go.
        first = stream.event_count - len(stream.events)
        numbered = [(first + i, event) for i, event in enumerate(stream.events)]
        found = [(n, event) for n, event in numbered if n >= int(cursor or 0) and (type is None or event["type"] == type)]
        items = [EventView.model_validate(event) for _, event in found[:limit]]
        return StreamEventPage(items=items, next_cursor=str(found[limit][0]) if len(found) > limit else None)


def _add_sockets(router: APIRouter, manager: StreamManager) -> None:
    @router.websocket("/streams/{stream_id}/live")
    async def watch_stream(
        socket: WebSocket,
        stream_id: str,
        images: bool = False,
        width: Annotated[int | None, Query(ge=PREVIEW_WIDTHS[0], le=PREVIEW_WIDTHS[-1])] = None,
    ) -> None:
        """Everything measured, as it happens; with `images` the pictures, too, at most `width` px wide."""
        try:
            await manager.serve_watcher(socket, stream_id, images=images, width=width)
        except Problem as problem:
            await socket.send_denial_response(problem_response(socket.scope, problem))

    @router.websocket("/live")
    async def push_pictures(socket: WebSocket) -> None:
        """The client sends its own pictures and gets what was measured in them."""
        await manager.serve_pusher(socket)


_REFUSALS = {403: "The camera's host is not let in.", 404: "There is no such recording.", 429: "Too many streams run."}
