"""The service answers as its own OpenAPI document says, whatever it is asked (schemathesis)."""

from __future__ import annotations

from _contract import ask_everything

# What is a video, an exercise or a host that is let in, no schema can say.
_JUDGED_BY_CONTENT = {"POST /v1/analyses", "POST /v1/streams"}


def test_every_answer_is_one_that_the_document_tells_of(server, subtests):
    def still_runs() -> None:
        assert server.is_running

    assert ask_everything(server.address, subtests, judged_by_content=_JUDGED_BY_CONTENT, timeout_s=30, after=still_runs) > 100
    assert "Traceback" not in server.log
