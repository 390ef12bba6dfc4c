"""Scrape configuration, rules, alerts and dashboards: valid, and about series that somebody exports."""

from __future__ import annotations

import itertools
import json
import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import anyio
import pytest
import yaml

from gpu_optimizer.api.app import create_app
from gpu_optimizer.monitoring import Monitor, SnapshotReader
from shared_utils.service import local_client

CONFIG = Path(__file__).resolve().parents[4] / "config"
DASHBOARDS = sorted((CONFIG / "grafana" / "dashboards").glob("*.json"))
RULES = [CONFIG / "prometheus" / name for name in ("recording.yml", "alerts.yml")]

# What other exporters call their series: dcgm-exporter's default counters, nvidia_gpu_exporter, Prometheus itself.
FOREIGN = {
    *(f"DCGM_FI_DEV_{x}" for x in ("FB_USED", "FB_FREE", "FB_RESERVED", "GPU_UTIL", "GPU_TEMP", "POWER_USAGE", "MEM_CLOCK")),
    *(
        f"nvidia_smi_{x}"
        for x in ("memory_used_bytes", "memory_total_bytes", "utilization_gpu_ratio", "temperature_gpu", "power_draw_watts")
    ),
    "up",
}
_ENDINGS = {"counter": ("_total",), "histogram": ("_bucket", "_sum", "_count"), "gauge": ("",), "info": ("_info",)}
_KEYWORDS = {"or", "and", "unless", "by", "without", "on", "ignoring", "group_left", "group_right", "offset", "bool", "inf", "nan"}


def names_in(expression: str) -> set[str]:
    """Names of the series that an expression of PromQL reads."""
    text = re.sub(r'"(?:\\.|[^"\\])*"', '""', expression)
    text = re.sub(r"\{[^}]*\}|\[[^\]]*\]", " ", text)
    text = re.sub(r"\b(by|without|on|ignoring|group_left|group_right)\s*\([^)]*\)", " ", text)
    words = re.findall(r"(?<![\w.$:])([a-zA-Z_:][\w:]*)(\s*\()?", text)
    return {word for word, call in words if not call and word.lower() not in _KEYWORDS}


def series_of(registry: Any) -> set[str]:
    families = [
        f for collector in list(registry._collector_to_names) for f in (getattr(collector, "describe", None) or collector.collect)()
    ]
    return {family.name + ending for family in families for ending in _ENDINGS.get(family.type, ("",))}


def no_driver():
    raise OSError("no driver")


@pytest.fixture(scope="module")
def exported(tmp_path_factory) -> set[str]:
    """Every series of both services, of a training process, of others' exporters and of our recording rules."""
    from pose_analyzer.api.app import create_app as create_pose_app
    from pose_analyzer.api.settings import PoseApiSettings

    pose = create_pose_app(PoseApiSettings(data_dir=tmp_path_factory.mktemp("pose")))
    ours = create_app(reader=SnapshotReader(no_driver))
    for app in (pose, ours):  # what counts requests is made with the first one
        anyio.run(touch, app)
    recorded = {rule["record"] for rule in rules() if "record" in rule}
    with Monitor(SnapshotReader(no_driver)) as monitor:
        registries = (pose.state.registry, ours.state.registry, monitor.registry)
        return set().union(FOREIGN, recorded, *map(series_of, registries))


async def touch(app: Any) -> None:
    async with local_client(app) as client:
        assert (await client.get("/healthz")).status_code == 200


def rules() -> list[dict[str, Any]]:
    return [rule for path in RULES for group in yaml.safe_load(path.read_text())["groups"] for rule in group["rules"]]


def panels(dashboard: dict[str, Any]) -> list[dict[str, Any]]:
    return [panel for row in dashboard["panels"] for panel in (row, *row.get("panels", []))]


def expressions(dashboard: dict[str, Any]) -> list[str]:
    found = [target["expr"] for panel in panels(dashboard) for target in panel.get("targets", [])]
    for variable in dashboard["templating"]["list"]:
        if variable["type"] == "query":
            found.append(re.sub(r"label_values\((.*),\s*\w+\)", r"\1", variable["definition"]))
    return found


# --- the reader of expressions ----------------------------------------------------------------------
@pytest.mark.parametrize(
    ("expression", "names"),
    [
        ('sum by (a, b) (rate(x_total{c=~"d|e"}[5m])) / on (gpu) y:z:ratio > 0.5', {"x_total", "y:z:ratio"}),
        ('label_replace(up{job="a"}, "uuid", "$1", "UUID", "(.+)") * 1e6 or vector(0)', {"up"}),
        ("histogram_quantile(0.95, sum by (le) (rate(a_bucket[5m]))) unless on (x) b offset 5m", {"a_bucket", "b"}),
    ],
)
def test_series_are_found_in_expressions(expression, names):
    found = names_in(expression)
    assert found - {"m"} == names


def test_an_unknown_series_would_be_noticed(exported):
    assert names_in("rate(gpu_memory_usd_bytes[5m])") - exported == {"gpu_memory_usd_bytes"}


# --- rules ------------------------------------------------------------------------------------------
@pytest.mark.parametrize("rule", rules(), ids=lambda rule: rule.get("record") or rule["alert"])
def test_every_series_of_every_rule_is_exported(rule, exported):
    names = names_in(rule["expr"])
    assert names
    assert names - exported == set()


def test_every_alert_says_what_to_do():
    for rule in rules():
        if "alert" in rule:
            assert set(rule["annotations"]) == {"summary", "action"}
            assert rule["labels"]["severity"] in {"info", "warning", "critical"}


def test_every_rule_is_tried_by_a_rule_test():
    tried = "".join(path.read_text() for path in (CONFIG / "prometheus" / "tests").glob("*.yml"))
    untried = {rule.get("record") or rule["alert"] for rule in rules()} - set(re.findall(r"[\w:]+", tried))
    assert untried <= {
        # Percentiles of histograms and heat: the same form as others that are tried.
        "gpu_optimizer:queue_wait:p95_seconds",
        "gpu_optimizer:inference_duration:p95_seconds",
        "pose:frame_latency:p95_seconds",
        "GpuSlowedDownByHeat",
    }


@pytest.fixture
def promtool() -> str:
    program = shutil.which("promtool")
    if program is None and os.environ.get("CI"):
        pytest.fail("promtool is missing; it is in Debian's package prometheus")
    if program is None:
        pytest.skip("promtool is not installed (Debian's package prometheus)")
    return program


@pytest.mark.parametrize(
    "words",
    [
        ("check", "config", "prometheus.yml"),
        ("check", "rules", "prometheus/recording.yml", "prometheus/alerts.yml"),
        ("test", "rules", "prometheus/tests/recording_test.yml", "prometheus/tests/alerts_test.yml"),
    ],
    ids=lambda words: " ".join(words[:2]),
)
def test_promtool_accepts_it(promtool, words):
    done = subprocess.run([promtool, *words], cwd=CONFIG, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_both_services_and_dcgm_are_scraped_where_they_listen():
    from gpu_optimizer.api.main import GpuApiSettings
    from pose_analyzer.api.settings import PoseApiSettings

    jobs = yaml.safe_load((CONFIG / "prometheus.yml").read_text())["scrape_configs"]
    targets = {job["job_name"]: job["static_configs"][0]["targets"][0] for job in jobs}
    assert targets["pose-api"] == f"127.0.0.1:{PoseApiSettings().port}"
    assert targets["vram-api"] == f"127.0.0.1:{GpuApiSettings().port}"
    assert targets["dcgm"].endswith(":9400")


# --- Grafana ----------------------------------------------------------------------------------------
def test_provisioning_names_a_source_with_a_fixed_uid_and_a_folder_of_dashboards():
    folder = CONFIG / "grafana" / "provisioning"
    source = yaml.safe_load((folder / "datasources" / "prometheus.yml").read_text())
    provider = yaml.safe_load((folder / "dashboards" / "dashboards.yml").read_text())
    assert source["apiVersion"] == provider["apiVersion"] == 1
    assert source["datasources"][0]["uid"] == "prometheus"
    assert provider["providers"][0]["type"] == "file"
    assert provider["providers"][0]["options"]["path"]


@pytest.mark.parametrize("path", DASHBOARDS, ids=lambda path: path.stem)
def test_every_series_of_every_panel_is_exported(path, exported):
    for expression in expressions(json.loads(path.read_text())):
        text = re.sub(r"\$__\w+|\$\w+", "x", expression)
        assert names_in(text) - exported == set(), expression


@pytest.mark.parametrize("path", DASHBOARDS, ids=lambda path: path.stem)
def test_promtool_can_parse_every_expression(path, promtool, tmp_path):
    made = [re.sub(r"\$\w+", ".*", expression) for expression in expressions(json.loads(path.read_text()))]
    group = {"groups": [{"name": "x", "rules": [{"record": f"test:{i}", "expr": e} for i, e in enumerate(made)]}]}
    (tmp_path / "rules.yml").write_text(yaml.safe_dump(group))
    done = subprocess.run([promtool, "check", "rules", "rules.yml"], cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("path", DASHBOARDS, ids=lambda path: path.stem)
def test_a_dashboard_asks_the_source_that_its_variable_names(path):
    dashboard = json.loads(path.read_text())
    assert [v["name"] for v in dashboard["templating"]["list"] if v["type"] == "datasource"] == ["datasource"]
    sources = [
        part["datasource"]["uid"] for panel in panels(dashboard) for part in (panel, *panel.get("targets", [])) if "datasource" in part
    ]
    assert set(sources) == {"${datasource}"}
    assert "id" not in dashboard  # an id of one Grafana is nothing to another


@pytest.mark.parametrize("path", DASHBOARDS, ids=lambda path: path.stem)
def test_panels_have_a_text_and_do_not_overlap(path):
    found = panels(json.loads(path.read_text()))
    assert len({panel["id"] for panel in found}) == len(found)
    for panel in found:
        assert panel["type"] == "row" or (panel["title"] and panel["description"] and panel["fieldConfig"]["defaults"]["unit"])
    for a, b in itertools.combinations([panel["gridPos"] for panel in found], 2):
        apart = a["x"] + a["w"] <= b["x"] or b["x"] + b["w"] <= a["x"] or a["y"] + a["h"] <= b["y"] or b["y"] + b["h"] <= a["y"]
        assert apart, (a, b)
        assert a["x"] + a["w"] <= 24
