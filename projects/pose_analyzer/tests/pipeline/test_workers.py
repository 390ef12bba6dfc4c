"""Measuring processes: what they send arrives, and whatever they do wrong is an end with a reason."""

from __future__ import annotations

import asyncio
import contextlib
import os
import struct
import subprocess
import sys
import textwrap

import psutil
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pose_analyzer.errors import WorkerError
from pose_analyzer.pipeline.workers import WorkerLimits, WorkerPool, WorkerProcess
from pose_analyzer.pipeline.workers.messages import MAX_PAYLOAD_BYTES, decode_header, decode_lengths, encode

HEADERS = st.dictionaries(
    st.text(),
    st.recursive(st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(), st.lists),
)


def child(code: str) -> list[str]:
    """A process that is not one of ours."""
    return [sys.executable, "-c", textwrap.dedent(code)]


def until_end(*command: str, silence_s: float = 30.0, order: dict | None = None) -> tuple[list, WorkerProcess]:
    """Everything that a process says, and the process after its end."""

    async def run():
        worker = await WorkerProcess.start(command=command or None, limits=WorkerLimits(memory_bytes=4 * 2**30))
        if order is not None:
            await worker.send(order)
        said = []
        while (message := await worker.receive(silence_s=silence_s)) is not None:
            said.append(message)
        await worker.stop(grace_s=0.2)
        return said, worker

    return asyncio.run(run())


@given(HEADERS, st.binary(max_size=200))
def test_a_message_arrives_as_it_was_sent(fields, payload):
    header = {**fields, "type": "x"}
    data = encode(header, payload)
    lengths = decode_lengths(data[:8])
    assert decode_header(data[8 : 8 + lengths[0]]) == header
    assert data[8 + lengths[0] :] == payload
    assert lengths[1] == len(payload)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), object(), {1, 2}])
def test_what_json_does_not_hold_is_refused_by_the_sender(value):
    with pytest.raises(WorkerError, match="JSON"):
        encode({"type": "x", "value": value})


@given(st.binary(max_size=300))
def test_no_bytes_are_taken_for_a_header_unless_they_are_one(data):
    with contextlib.suppress(WorkerError):
        assert isinstance(decode_header(data)["type"], str)


def test_an_unknown_order_is_answered_with_what_would_be_right():
    said, worker = until_end(order={"type": "dance"})
    assert said[-1][0]["code"] == "refused"
    assert "analyze, stream and push" in said[-1][0]["detail"]
    assert worker.end == said[-1][0]["detail"]


@pytest.mark.parametrize("order", [{"type": "stream"}, {"type": "stream", "stream_id": "x", "source": {"kind": "file"}}, {"type": "push"}])
def test_an_incomplete_order_names_what_is_missing(order):
    _, worker = until_end(order=order)
    assert worker.end is not None
    assert "order is wrong at" in worker.end


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        ("import os, signal; os.kill(os.getpid(), signal.SIGSEGV)", "SIGSEGV"),
        ("import os, signal; os.kill(os.getpid(), signal.SIGKILL)", "out of memory"),
        ("raise SystemExit(9)", "status 9"),
        ("print('hello, I am a library that prints', flush=True); import time; time.sleep(60)", "garbage"),
        ("import os; os.write(1, bytes([0, 0, 0, 3, 0, 0, 0, 0]) + b'[1]'); import time; time.sleep(60)", "garbage"),
        ("import os; os.write(1, bytes([0, 0, 0, 9, 0, 0, 0, 0]) + b'{\"type\"'); raise SystemExit(1)", "status 1"),
        ("import os, time; os.close(1); time.sleep(60)", "closed its line"),
        ("import time; time.sleep(60)", "silent"),
    ],
    ids=["crash", "killed", "exit", "print", "no object", "half a message", "closed output", "silence"],
)
def test_what_a_process_does_wrong_is_an_end_with_a_reason(code, reason):
    said, worker = until_end(*child(code), silence_s=3.0)
    assert said == []
    assert reason in (worker.end or "")
    assert not worker.is_running


def test_a_payload_of_absurd_length_is_garbage_not_memory():
    code = f"import os, time; os.write(1, {struct.pack('>II', 20, MAX_PAYLOAD_BYTES + 1)!r}); time.sleep(60)"
    _, worker = until_end(*child(code))
    assert "garbage" in (worker.end or "")


def test_a_process_that_does_not_listen_is_ended_by_force():
    code = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print(end='', flush=True); time.sleep(60)"

    async def run():
        worker = await WorkerProcess.start(command=child(code))
        return await worker.stop(grace_s=0.1), psutil.pid_exists(worker.pid)

    status, is_there = asyncio.run(run())
    assert status < 0
    assert not is_there


def test_what_a_library_prints_does_not_reach_the_messages():
    code = """
        import os, sys
        from pose_analyzer.pipeline.workers.channel import Channel
        channel = Channel.of_this_process()
        os.write(1, b"native noise"); print("python noise", flush=True); os.system("echo noise of a child")
        channel.send({"type": "done"}, b"payload")
        channel.receive()
    """

    async def run():
        worker = await WorkerProcess.start(command=child(code))
        message = await worker.receive(silence_s=30)
        await worker.stop()
        return message, worker.stderr_tail

    message, log = asyncio.run(run())
    assert message == ({"type": "done"}, b"payload")
    assert "native noise" in log


def test_memory_beyond_the_limit_is_refused():
    if not sys.platform.startswith("linux"):
        pytest.skip("only Linux enforces the limit of address space")
    code = """
        import os
        from pose_analyzer.pipeline.workers.limits import WorkerLimits, confine
        confine(WorkerLimits(memory_bytes=2**30), os.getppid())
        try:
            block = bytearray(2**31)
        except MemoryError:
            print("refused")
    """
    assert subprocess.run(child(code), capture_output=True, text=True, timeout=60, check=True).stdout.strip() == "refused"


def test_a_secret_of_the_service_is_not_handed_on(monkeypatch):
    monkeypatch.setenv("HTTP_API_TOKEN", "0123456789abcdef")
    monkeypatch.setenv("POSE_HARMLESS", "yes")
    code = """
        import os
        from pose_analyzer.pipeline.workers.channel import Channel
        names = sorted(k for k in os.environ if k in ("HTTP_API_TOKEN", "POSE_HARMLESS"))
        Channel.of_this_process().send({"type": "x", "names": names})
    """
    said, _ = until_end(*child(code))
    assert said[0][0]["names"] == ["POSE_HARMLESS"]


def test_no_process_outlives_its_service():
    service = """
        import asyncio, time
        from pose_analyzer.pipeline.workers import WorkerProcess
        async def main():
            worker = await WorkerProcess.start()
            await worker.wait_ready()
            print(worker.pid, flush=True)
            await asyncio.sleep(60)
        asyncio.run(main())
    """
    parent = subprocess.Popen(child(service), stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    worker = psutil.Process(int(parent.stdout.readline()))
    parent.kill()
    parent.wait()
    worker.wait(timeout=30)  # raises TimeoutExpired if it lives on
    parent.stdout.close()


def test_credentials_in_a_log_line_are_taken_out():
    code = "import sys; print('cannot open rtsp://admin:hunter2@cam/1', file=sys.stderr); raise SystemExit(3)"
    _, worker = until_end(*child(code))
    assert "cam/1" in worker.stderr_tail
    assert "hunter2" not in worker.stderr_tail


def test_a_log_without_end_keeps_its_tail_only():
    code = "import sys\nfor i in range(20000): print('x' * 100, i, file=sys.stderr)\nraise SystemExit(3)"
    _, worker = until_end(*child(code))
    assert "19999" in worker.stderr_tail
    assert len(worker.stderr_tail) < 100_000


def test_a_pool_hands_out_its_spare_and_makes_another():
    async def run():
        pool = WorkerPool(spares=1, refill_after_s=0.0)
        await pool.start()
        spare = pool._waiting[0]
        taken = await pool.take()
        while not pool._waiting:
            await asyncio.sleep(0.01)
        other = pool._waiting[0]
        await taken.stop(grace_s=0)
        await pool.stop()
        return spare is taken, other is taken, other.is_running

    assert asyncio.run(run()) == (True, False, False)


def test_a_spare_that_died_while_it_waited_is_not_handed_out():
    async def run():
        pool = WorkerPool(spares=1, refill_after_s=60.0)
        await pool.start()
        spare = pool._waiting[0]
        os.kill(spare.pid, 9)
        while spare.is_running:
            await asyncio.sleep(0.01)
        taken = await pool.take(warm=False)
        is_good = await taken.wait_ready()
        await taken.stop(grace_s=0)
        await pool.stop()
        return is_good

    assert asyncio.run(run())
