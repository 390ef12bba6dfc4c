"""Logs of ours and of others, on one stream, without credentials."""

from __future__ import annotations

import io
import json
import logging
import subprocess
import sys
import warnings

import pytest
import structlog
from hypothesis import given
from hypothesis import strategies as st

from shared_utils.errors import ConfigError
from shared_utils.logging import get_logger, setup_logging

SECRET = "Hunter2"
ADDRESS = f"rtsp://admin:{SECRET}@10.0.0.7/1"


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture(autouse=True)
def _restore():
    root = logging.getLogger()
    level, handlers = root.level, root.handlers[:]
    yield
    root.setLevel(level)
    root.handlers[:] = handlers
    logging.captureWarnings(False)


@pytest.fixture
def out():
    stream = io.StringIO()
    setup_logging("DEBUG", json=True, stream=stream)
    return stream


def lines(stream: io.StringIO) -> list[dict]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_a_line_is_one_json_object_with_time_level_and_name(out):
    get_logger("room").info("stream_opened", fps=25.0, source=ADDRESS)
    (line,) = lines(out)
    assert line["event"] == "stream_opened"
    assert line["fps"] == 25.0
    assert line["level"] == "info"
    assert line["logger"] == "room"
    assert line["source"] == "rtsp://***@10.0.0.7/1"
    assert line["timestamp"].endswith("Z")


def test_the_standard_library_s_logs_take_the_same_way(out):
    logging.getLogger("other.library").warning("cannot open %s", ADDRESS, extra={"password": SECRET, "url": ADDRESS})
    (line,) = lines(out)
    assert line["event"] == "cannot open rtsp://***@10.0.0.7/1"
    assert line["logger"] == "other.library"
    assert line["password"] == "***"
    assert SECRET not in out.getvalue()


@pytest.mark.parametrize("as_json", [True, False])
@pytest.mark.parametrize("logger", [get_logger("a"), logging.getLogger("b")], ids=["ours", "standard"])
def test_exceptions_are_shown_without_credentials(as_json, logger):
    stream = io.StringIO()
    setup_logging("INFO", json=as_json, stream=stream)
    try:
        try:
            raise OSError(f"no answer from {ADDRESS}")
        except OSError as error:
            raise RuntimeError(f"gave up; token={SECRET}") from error
    except RuntimeError:
        logger.exception("failed")
    text = stream.getvalue()
    assert "Traceback" in text
    assert "no answer from rtsp://***@10.0.0.7/1" in text
    assert SECRET not in text


def test_warnings_are_logs(out):
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        logging.captureWarnings(True)
        warnings.warn(f"slow answer from {ADDRESS}", stacklevel=1)
    assert "slow answer from rtsp://***@" in out.getvalue()


def test_context_reaches_every_line(out):
    with structlog.contextvars.bound_contextvars(request_id="r1", token=SECRET):
        get_logger("a").info("one")
        logging.getLogger("b").info("two")
    assert [(line["request_id"], line["token"]) for line in lines(out)] == [("r1", "***")] * 2


def test_the_level_holds_for_both_kinds():
    stream = io.StringIO()
    setup_logging("warning", json=True, stream=stream)
    get_logger("a").info("quiet")
    logging.getLogger("b").info("quiet")
    get_logger("a").warning("loud")
    logging.getLogger("b").error("loud")
    assert [line["event"] for line in lines(stream)] == ["loud", "loud"]


def test_request_lines_of_http_clients_need_debug():
    stream = io.StringIO()
    setup_logging("INFO", json=True, stream=stream)
    logging.getLogger("httpx").info("HTTP Request: GET ...")
    assert stream.getvalue() == ""
    setup_logging("DEBUG", json=True, stream=stream)
    logging.getLogger("httpx").info("HTTP Request: GET ...")
    assert len(lines(stream)) == 1


def test_a_second_call_replaces_the_first_and_nobody_else_s_handler():
    foreign = logging.StreamHandler(io.StringIO())
    logging.getLogger().addHandler(foreign)
    first, second = io.StringIO(), io.StringIO()
    setup_logging("INFO", json=True, stream=first)
    setup_logging("INFO", json=True, stream=second)
    get_logger("a").info("hello")
    assert first.getvalue() == ""
    assert len(lines(second)) == 1
    assert foreign in logging.getLogger().handlers


def test_a_terminal_gets_lines_for_people_and_a_pipe_gets_json():
    terminal, pipe = Terminal(), io.StringIO()
    setup_logging("INFO", stream=terminal)
    get_logger("a").info("stream_opened", source=ADDRESS)
    setup_logging("INFO", stream=pipe)
    get_logger("a").info("stream_opened", source=ADDRESS)
    assert "stream_opened" in terminal.getvalue()
    assert "\x1b[" in terminal.getvalue()
    assert SECRET not in terminal.getvalue()
    assert lines(pipe)[0]["event"] == "stream_opened"


def test_standard_error_is_the_default(capsys):
    setup_logging("INFO", json=True)
    get_logger("a").info("hello")
    captured = capsys.readouterr()
    assert captured.out == ""
    assert json.loads(captured.err)["event"] == "hello"


def test_values_json_cannot_hold_become_text(out):
    get_logger("a").info("x", value=object, numbers={1, 2})
    assert "class 'object'" in lines(out)[0]["value"]


def test_a_closed_stream_does_not_stop_the_work():
    stream = io.StringIO()
    setup_logging("INFO", json=True, stream=stream)
    stream.close()
    get_logger("a").info("hello", source=ADDRESS)  # raises nothing
    assert stream.closed


def test_an_unknown_level_is_an_error_that_lists_them():
    with pytest.raises(ConfigError, match=r"unknown log level 'LOUD'; there are NOTSET, .*DEBUG, INFO"):
        setup_logging("LOUD")
    setup_logging(logging.ERROR, stream=io.StringIO())
    assert logging.getLogger().level == logging.ERROR


def test_before_setup_warnings_reach_standard_error_without_credentials():
    code = (
        "from shared_utils.logging import get_logger\n"
        f"get_logger('a').info('quiet'); get_logger('a').warning('slow', source={ADDRESS!r})\n"
        "try:\n    raise OSError('token=" + SECRET + "')\n"
        "except OSError:\n    get_logger('a').exception('failed')"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == ""
    assert "slow" in done.stderr
    assert "failed" in done.stderr
    assert "quiet" not in done.stderr
    assert SECRET not in done.stderr


names = st.sampled_from(["source", "url", "detail", "x"])


@given(
    st.dictionaries(names, st.sampled_from([ADDRESS, [ADDRESS], {"password": SECRET}, f"http://h/?token={SECRET}", {ADDRESS: 1}])),
    st.booleans(),
)
def test_no_credential_survives_in_a_line(facts, as_json):
    stream = io.StringIO()
    setup_logging("INFO", json=as_json, stream=stream)
    get_logger("a").info(f"opening {ADDRESS}", **facts)
    logging.getLogger("b").info("opening %s", facts)
    assert SECRET not in stream.getvalue()
    assert stream.getvalue().count("opening") == 2
