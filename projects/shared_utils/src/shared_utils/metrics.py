"""Prometheus metrics with names that follow the rules.

`create_registry` gives a registry of one's own (nothing global), `counter`, `gauge` and `histogram`
check names and labels before they make a metric. The rules are Prometheus' own (practices/naming):
a prefix of ours, base units, the unit as suffix, `_total` on counters and on nothing else.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import pairwise

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, PlatformCollector, ProcessCollector

from shared_utils.errors import ValidationError
from shared_utils.redaction import redact

PREFIXES = ("pose_", "gpu_")
# 1 ms to 10 s, about 1-2-5 per decade, finer where one frame at 30/s and a person's patience lie.
LATENCY_BUCKETS_S = (0.001, 0.002, 0.005, 0.01, 0.02, 0.033, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0)

# Labels with a value per person, track or request make a time series each: that is data, not a metric.
FORBIDDEN_LABELS = frozenset(
    {"track_id", "person_id", "member_id", "user", "user_id", "session_id", "request_id", "frame", "url", "path", "pid"}
)
_BASE_UNITS = {
    "milliseconds": "seconds",
    "ms": "seconds",
    "microseconds": "seconds",
    "us": "seconds",
    "minutes": "seconds",
    "hours": "seconds",
    "kilobytes": "bytes",
    "kb": "bytes",
    "megabytes": "bytes",
    "mb": "bytes",
    "mib": "bytes",
    "gb": "bytes",
    "gib": "bytes",
    "bits": "bytes",
    "percent": "ratio",
    "pct": "ratio",
    "milliwatts": "watts",
    "mw": "watts",
    "fahrenheit": "celsius",
    "second": "seconds",
    "byte": "bytes",
}
_RESERVED_SUFFIXES = ("_count", "_sum", "_bucket", "_created")
_MAX_LABEL = 120


def create_registry(*, process: bool = True) -> CollectorRegistry:
    """A registry of one's own; two services in one process do not mix.

    Args:
        process: Add memory, CPU time and open files of this process, and the Python version.

    Example:
        >>> registry = create_registry(process=False)
        >>> counter("pose_frames_total", "Frames analysed.", registry=registry).inc()
        >>> registry.get_sample_value("pose_frames_total")
        1.0
    """
    registry = CollectorRegistry(auto_describe=True)
    if process:
        ProcessCollector(registry=registry)
        PlatformCollector(registry=registry)
    return registry


def counter(name: str, help: str, labels: Sequence[str] = (), *, registry: CollectorRegistry) -> Counter:  # noqa: A002  # Prometheus' word
    """A number that only grows; its name ends in `_total`.

    Raises:
        ValidationError: The name, help or a label breaks the rules; the text says which and what would be right.
    """
    _check(name, help, labels)
    if not name.endswith("_total"):
        raise ValidationError(f"counter {name}: the name of a counter ends in _total, for example {name}_total")
    return Counter(name, help, labels, registry=registry)


def gauge(name: str, help: str, labels: Sequence[str] = (), *, registry: CollectorRegistry) -> Gauge:  # noqa: A002
    """A number that goes up and down.

    Raises:
        ValidationError: As for `counter`.
    """
    _check(name, help, labels)
    if name.endswith("_total"):
        raise ValidationError(f"gauge {name}: only counters end in _total; write {name.removesuffix('_total')}")
    return Gauge(name, help, labels, registry=registry)


def histogram(
    name: str,
    help: str,  # noqa: A002
    labels: Sequence[str] = (),
    *,
    registry: CollectorRegistry,
    buckets: Sequence[float] = LATENCY_BUCKETS_S,
) -> Histogram:
    """A distribution.

    Args:
        name: Ends in its unit; with the default buckets in `_seconds`.
        help: One sentence.
        labels: Names of labels.
        registry: Where it belongs.
        buckets: Upper bounds, ascending. Default: latencies from 1 ms to 10 s.

    Raises:
        ValidationError: As for `counter`, or the buckets do not ascend.
    """
    _check(name, help, labels)
    if name.endswith("_total"):
        raise ValidationError(f"histogram {name}: only counters end in _total; write {name.removesuffix('_total')}")
    if buckets is LATENCY_BUCKETS_S and not name.endswith("_seconds"):
        raise ValidationError(f"histogram {name}: the default buckets are seconds; end the name in _seconds or pass buckets")
    if not buckets or any(low >= high for low, high in pairwise(buckets)):
        raise ValidationError(f"histogram {name}: buckets must ascend, got {tuple(buckets)}")
    return Histogram(name, help, labels, registry=registry, buckets=tuple(buckets))


@contextmanager
def stage_timer(
    stages: Histogram, stage: str, *, clock: Callable[[], float] = time.perf_counter, labels: Sequence[str] = ()
) -> Iterator[None]:
    """Observe how long the block takes, also when it fails.

    Args:
        stages: Histogram in seconds whose last label is the stage.
        stage: Value of that label.
        clock: Seconds that only grow; a test passes its own.
        labels: Values of the labels before it.

    Example:
        >>> registry = create_registry(process=False)
        >>> stages = histogram("pose_stage_duration_seconds", "Time per stage.", ["stage"], registry=registry)
        >>> with stage_timer(stages, "detect"):
        ...     pass
        >>> registry.get_sample_value("pose_stage_duration_seconds_count", {"stage": "detect"})
        1.0
    """
    started = clock()
    try:
        yield
    finally:
        stages.labels(*labels, stage).observe(max(clock() - started, 0.0))


def safe_label(source: object) -> str:
    """The name of a source as a label's value: no credentials, no control characters, not endless.

    Example:
        >>> safe_label("rtsp://admin:secret@10.0.0.7/1?token=abc")
        'rtsp://***@10.0.0.7/1?token=***'
    """
    text = re.sub(r"[\x00-\x1f\x7f-\x9f]+", " ", redact(str(source))).strip()
    text = text.encode("utf-8", "replace").decode("utf-8")
    return text if len(text) <= _MAX_LABEL else text[: _MAX_LABEL - 1] + "…"


def check_name(name: str) -> None:
    """Check the rules that hold for every metric.

    Raises:
        ValidationError: A rule is broken; the text says which and what would be right.

    Example:
        >>> check_name("pose_decode_ms")
        Traceback (most recent call last):
        shared_utils.errors.ValidationError: metric pose_decode_ms: use the base unit seconds, not ms
    """
    if not re.fullmatch(r"[a-z][a-z0-9]*(_[a-z0-9]+)*", name):
        raise ValidationError(f"metric {name}: a name is lower-case words joined by single underscores")
    if not name.startswith(PREFIXES):
        raise ValidationError(f"metric {name}: a name begins with {' or '.join(PREFIXES)}")
    if name.endswith(_RESERVED_SUFFIXES):
        raise ValidationError(f"metric {name}: the ending _{name.rsplit('_', 1)[-1]} is Prometheus' own")
    for word in name.removesuffix("_total").split("_")[1:]:
        if word in _BASE_UNITS:
            raise ValidationError(f"metric {name}: use the base unit {_BASE_UNITS[word]}, not {word}")


def _check(name: str, help_text: str, labels: Sequence[str]) -> None:
    check_name(name)
    if not help_text.strip():
        raise ValidationError(f"metric {name}: say in one sentence what it measures")
    if isinstance(labels, str):
        raise ValidationError(f"metric {name}: labels is a list of names, got the text {labels!r}")
    for label in labels:
        if not re.fullmatch(r"[a-z][a-z0-9]*(_[a-z0-9]+)*", label) or label in {"le", "quantile"}:
            raise ValidationError(f"metric {name}: label {label!r} is not a name Prometheus takes; use lower-case words")
        if label in FORBIDDEN_LABELS:
            raise ValidationError(f"metric {name}: label {label!r} would make a time series per value; store that as an event instead")
