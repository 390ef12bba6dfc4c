"""One slot per watcher: what a slow one misses, what it does not miss, and what a client may send."""

from __future__ import annotations

import asyncio
import json
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from pose_analyzer.api import messages
from pose_analyzer.api.messages import client_messages, json_schema, server_messages
from pose_analyzer.api.watchers import MAX_EVENTS, PREVIEW_WIDTHS, FrameOut, TokenBucket, Watcher


def frame(number: int, *, pictures: dict | None = None) -> FrameOut:
    return FrameOut(number, f'{{"type":"frame","frame_index":{number}', 0.0, pictures or {}, [f'"event of {number}"'])


@given(st.lists(st.booleans(), max_size=60))
def test_every_frame_is_sent_or_counted_and_every_event_sent(reads):
    """The obvious twin: walk through, frame by frame, reading or not."""
    watcher = Watcher(width=None, clock=lambda: 1.0)
    seen, skipped, events, started = 0, 0, [], None
    for number, is_read in enumerate([*reads, True], start=1):
        watcher.offer(frame(number))
        if is_read:
            [text] = watcher.take()
            said = json.loads(text)
            assert said["frame_index"] == number
            started = started or number
            seen, skipped, events = seen + 1, skipped + said["skipped"], events + said["events"]
    assert started is not None
    assert seen + skipped == len(reads) + 1 - (started - 1)
    assert events == [f"event of {number}" for number in range(1, len(reads) + 2)]


def test_events_beyond_the_limit_are_counted_oldest_first():
    watcher = Watcher(width=None)
    for number in range(1, MAX_EVENTS + 8):
        watcher.offer(frame(number))
    said = json.loads(watcher.take()[0])
    assert (said["events"][0], len(said["events"]), said["events_lost"]) == ("event of 8", MAX_EVENTS, 7)


def test_a_change_of_state_keeps_its_place_among_frames():
    watcher = Watcher(width=None)
    watcher.tell("live")
    watcher.offer(frame(1))
    watcher.tell("lost")
    assert [text[:5] for text in watcher.take()] == ["live", '{"typ', "lost"]
    watcher.offer(frame(2))
    watcher.tell("lost")
    watcher.offer(frame(3))
    assert [text[:5] for text in watcher.take()] == ["lost", '{"typ']


@pytest.mark.parametrize(("wish", "given_width"), [(960, 960), (1000, 960), (639, 480), (160, 160), (100_000, 3840)])
def test_a_wish_for_a_width_is_rounded_down(wish, given_width):
    assert Watcher(width=wish).width == given_width


@pytest.mark.parametrize(("wish", "picture"), [(960, b"wide"), (480, b"small"), (200, None), (None, None)])
def test_nobody_gets_a_wider_picture_than_wished_for(wish, picture):
    watcher = Watcher(width=wish)
    watcher.offer(frame(1, pictures={480: b"small", 640: b"wide"}))
    text, *rest = watcher.take()
    assert rest == ([] if picture is None else [picture])
    assert json.loads(text)["image"] == (picture is not None)
    assert list(PREVIEW_WIDTHS) == sorted(PREVIEW_WIDTHS)


def test_a_watcher_waits_until_there_is_something():
    async def run():
        watcher = Watcher(width=None)
        waiting = asyncio.create_task(watcher.wait())
        await asyncio.sleep(0)
        before = waiting.done()
        watcher.offer(frame(1))
        await waiting
        watcher.take()
        again = asyncio.create_task(watcher.wait())
        await asyncio.sleep(0)
        is_idle = not again.done()
        watcher.end()
        await again
        return before, is_idle

    assert asyncio.run(run()) == (False, True)


@given(st.lists(st.floats(0, 2), max_size=200), st.floats(0.5, 100))
def test_no_more_is_let_through_than_rate_and_burst_allow(pauses, rate_hz):
    now = [0.0]
    bucket = TokenBucket(rate_hz, burst_s=3.0, clock=lambda: now[0])
    passed = 0
    for pause in pauses:
        now[0] += pause
        passed += bucket.take()
    assert passed <= max(3.0 * rate_hz, 1.0) + now[0] * rate_hz + 1e-6


def test_the_schema_holds_every_message_and_says_what_its_fields_mean():
    schema = json_schema()
    kinds = {ref["$ref"].rsplit("/", 1)[-1] for direction in schema["properties"].values() for ref in direction["oneOf"]}
    assert kinds == {
        "HelloMessage", "FrameMessage", "StateMessage", "SummaryMessage", "ErrorMessage", "StartMessage", "PictureMessage", "StopMessage",
    }  # fmt: skip
    for name, definition in schema["$defs"].items():
        for field, described in definition.get("properties", {}).items():
            assert field == "type" or "description" in described, f"{name}.{field}"
    assert json.loads(json.dumps(schema)) == schema
    assert get_args(messages.StreamState) == ("starting", "live", "lost", "finished", "failed", "stopped")


@given(
    st.recursive(
        st.none() | st.booleans() | st.floats() | st.text(max_size=20), lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner)
    )
)
def test_whatever_json_a_client_sends_is_a_message_or_an_error(value):
    try:
        assert client_messages.validate_json(json.dumps(value)).type in ("start", "frame", "stop")
    except ValidationError:
        return


def test_a_message_of_another_version_is_none_of_ours():
    error = {"type": "error", "schema_version": "2.0", "stream_id": "s", "timestamp_s": None, "code": "busy", "detail": ""}
    with pytest.raises(ValidationError):
        server_messages.validate_python(error)
    assert server_messages.validate_python({**error, "schema_version": "1.0"}).type == "error"
