"""Whether a service answers as its own OpenAPI document says, whatever it is asked (schemathesis)."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Any

EXAMPLES = 12


def ask_everything(
    address: str, subtests: Any, *, judged_by_content: Collection[str] = (), timeout_s: float = 60, after: Callable[[], None] = lambda: None
) -> int:
    """Ask every operation of the document; an answer that it does not tell of fails the subtest of that operation.

    Args:
        address: Of the service.
        subtests: pytest's fixture.
        judged_by_content: Operations, such as `POST /v1/plans`, that may refuse what fits the schema.
        timeout_s: Most that one answer may take.
        after: Called after each operation.

    Returns:
        How many requests were made.
    """
    import schemathesis
    from hypothesis import HealthCheck, given, settings
    from schemathesis.specs.openapi.checks import positive_data_acceptance

    asked = 0
    for found in schemathesis.openapi.from_url(f"{address}/openapi.json").get_all_operations():
        operation = found.ok()
        excluded = [positive_data_acceptance] if operation.label in judged_by_content else []
        with subtests.test(operation=operation.label):

            @settings(max_examples=EXAMPLES, deadline=None, derandomize=True, database=None, suppress_health_check=list(HealthCheck))
            @given(case=operation.as_strategy())
            def ask(case):
                nonlocal asked
                asked += 1
                case.call_and_validate(timeout=timeout_s, excluded_checks=excluded)  # noqa: B023  # called at once

            ask()
        after()
    return asked
