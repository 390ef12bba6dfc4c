"""Names, buckets and labels of metrics."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import REGISTRY, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from shared_utils.errors import ValidationError
from shared_utils.metrics import LATENCY_BUCKETS_S, check_name, counter, create_registry, gauge, histogram, safe_label, stage_timer


@pytest.fixture
def registry():
    return create_registry(process=False)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("frames_total", "begins with pose_ or gpu_"),
        ("pose_decode_ms", "base unit seconds, not ms"),
        ("pose_decode_milliseconds", "base unit seconds"),
        ("gpu_memory_used_mib", "base unit bytes, not mib"),
        ("gpu_utilisation_percent", "base unit ratio"),
        ("gpu_power_usage_milliwatts", "base unit watts"),
        ("pose_sent_kb_total", "base unit bytes"),
        ("poseFrames", "lower-case words"),
        ("pose__frames", "lower-case words"),
        ("pose_frames_", "lower-case words"),
        ("pose_people_count", "_count is Prometheus' own"),
        ("pose_x_bucket", "Prometheus' own"),
        ("", "lower-case words"),
    ],
)
def test_a_name_that_breaks_a_rule_is_refused(name, message):
    with pytest.raises(ValidationError, match=message):
        check_name(name)


@pytest.mark.parametrize(
    "name", ["pose_frames_total", "gpu_memory_used_bytes", "pose_people", "gpu_power_usage_watts", "pose_queue_fill_ratio"]
)
def test_a_good_name_passes(name):
    check_name(name)


def test_total_is_for_counters_only(registry):
    with pytest.raises(ValidationError, match="ends in _total, for example pose_frames_total"):
        counter("pose_frames", "Frames.", registry=registry)
    with pytest.raises(ValidationError, match="only counters end in _total; write pose_people"):
        gauge("pose_people_total", "People.", registry=registry)
    with pytest.raises(ValidationError, match="only counters"):
        histogram("pose_x_total", "X.", registry=registry, buckets=[1, 2])


@pytest.mark.parametrize("label", ["track_id", "user", "request_id", "url", "pid"])
def test_labels_with_a_value_per_person_are_refused(registry, label):
    with pytest.raises(ValidationError, match="a time series per value"):
        counter("pose_reps_total", "Repetitions.", ["stream", label], registry=registry)


@pytest.mark.parametrize("labels", [["Stream"], ["le"], ["quantile"], ["a-b"], "stream"])
def test_labels_are_lower_case_words(registry, labels):
    with pytest.raises(ValidationError, match="label"):
        gauge("pose_people", "People.", labels, registry=registry)


def test_a_metric_says_what_it_measures(registry):
    with pytest.raises(ValidationError, match="say in one sentence"):
        gauge("pose_people", " ", registry=registry)


def test_what_is_counted_is_exported(registry):
    counter("pose_frames_total", "Frames analysed.", ["stream"], registry=registry).labels("cam").inc(3)
    gauge("pose_people", "People seen.", registry=registry).set(2)
    histogram("pose_batch_people", "People per batch.", registry=registry, buckets=[1, 2, 4]).observe(3)
    samples = {
        (s.name, tuple(s.labels.items())): s.value
        for family in text_string_to_metric_families(generate_latest(registry).decode())
        for s in family.samples
    }
    assert samples["pose_frames_total", (("stream", "cam"),)] == 3
    assert samples["pose_people", ()] == 2
    assert samples["pose_batch_people_bucket", (("le", "2.0"),)] == 0
    assert samples["pose_batch_people_bucket", (("le", "4.0"),)] == 1


def test_a_registry_is_one_s_own():
    first, second = create_registry(process=False), create_registry(process=False)
    for registry in (first, second):
        counter("pose_frames_total", "Frames.", registry=registry)
    assert REGISTRY.get_sample_value("pose_frames_total") is None
    with pytest.raises(ValueError, match="Duplicated"):
        counter("pose_frames_total", "Frames.", registry=first)


def test_the_process_is_measured_on_wish():
    assert b"python_info" in generate_latest(create_registry())


def test_latency_buckets_reach_from_a_millisecond_to_ten_seconds(registry):
    assert (LATENCY_BUCKETS_S[0], LATENCY_BUCKETS_S[-1]) == (0.001, 10.0)
    assert list(LATENCY_BUCKETS_S) == sorted(LATENCY_BUCKETS_S)
    with pytest.raises(ValidationError, match="end the name in _seconds"):
        histogram("pose_latency", "Latency.", registry=registry)
    with pytest.raises(ValidationError, match="buckets must ascend"):
        histogram("pose_x", "X.", registry=registry, buckets=[1, 1])
    with pytest.raises(ValidationError, match="buckets must ascend"):
        histogram("pose_x", "X.", registry=registry, buckets=[])


@given(st.lists(st.floats(0, 100), min_size=1, max_size=10))
def test_a_stage_s_time_is_observed_also_when_it_fails(durations_s):
    registry = create_registry(process=False)
    stages = histogram("pose_stage_duration_seconds", "Time per stage.", ["stream", "stage"], registry=registry)
    for i, duration_s in enumerate(durations_s):
        ticks = iter([0.0, duration_s])
        try:
            with stage_timer(stages, "detect", clock=lambda ticks=ticks: next(ticks), labels=["cam"]):
                if i % 2:
                    raise ZeroDivisionError
        except ZeroDivisionError:
            pass
    labels = {"stream": "cam", "stage": "detect"}
    assert registry.get_sample_value("pose_stage_duration_seconds_count", labels) == len(durations_s)
    assert registry.get_sample_value("pose_stage_duration_seconds_sum", labels) == pytest.approx(sum(durations_s))


def test_a_clock_that_goes_back_is_zero(registry):
    stages = histogram("pose_stage_duration_seconds", "Time per stage.", ["stage"], registry=registry)
    ticks = iter([2.0, 1.0])
    with stage_timer(stages, "x", clock=lambda: next(ticks)):
        pass
    assert registry.get_sample_value("pose_stage_duration_seconds_sum", {"stage": "x"}) == 0


@given(st.text(st.characters(exclude_categories=[])))
def test_any_source_makes_a_label_that_prometheus_reads_back(source):
    registry = create_registry(process=False)
    gauge("pose_stream_up", "Up.", ["stream"], registry=registry).labels(safe_label(source)).set(1)
    (sample,) = [s for f in text_string_to_metric_families(generate_latest(registry).decode()) for s in f.samples]
    assert len(sample.labels["stream"]) <= 120


def test_a_label_has_no_credentials():
    assert safe_label("rtsp://admin:hunter2@cam/1?password=hunter2") == "rtsp://***@cam/1?password=***"
    assert safe_label("a\nb\x00c") == "a b c"
    assert safe_label("x" * 500).endswith("…")
    assert safe_label(0) == "0"
