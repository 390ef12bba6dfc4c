"""The service answers as its own OpenAPI document says, whatever it is asked (schemathesis)."""

from __future__ import annotations

import schemathesis
from hypothesis import HealthCheck, given, settings
from schemathesis.specs.openapi.checks import positive_data_acceptance

_EXAMPLES = 12
# What is a video, an exercise or a host that is let in, no schema can say.
_JUDGED_BY_CONTENT = {"POST /v1/analyses", "POST /v1/streams"}


def test_every_answer_is_one_that_the_document_tells_of(server, subtests):
    document = schemathesis.openapi.from_url(f"{server.address}/openapi.json")
    asked = 0
    for found in document.get_all_operations():
        operation = found.ok()
        excluded = [positive_data_acceptance] if operation.label in _JUDGED_BY_CONTENT else []
        with subtests.test(operation=operation.label):

            @settings(max_examples=_EXAMPLES, deadline=None, derandomize=True, database=None, suppress_health_check=list(HealthCheck))
            @given(case=operation.as_strategy())
            def ask(case):
                nonlocal asked
                asked += 1
                case.call_and_validate(timeout=30, excluded_checks=excluded)  # noqa: B023  # called at once

            ask()
        assert server.is_running
    assert asked > 100
    assert "Traceback" not in server.log
