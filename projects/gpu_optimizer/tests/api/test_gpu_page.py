"""The page: its files and their safety, its sums in Node, and the whole in a browser in front of the real service."""

from __future__ import annotations

import pickle
import re
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from _fake_nvml import FakeNvml
from _page_files import PageFiles
from _pages import chromium, module_runner, opened_pages
from _served import served

from gpu_optimizer.api import GpuApiSettings, create_app, page
from gpu_optimizer.costing import prices
from gpu_optimizer.monitoring import SnapshotReader
from gpu_optimizer.profiling.allocator import AllocatorSimulator
from gpu_optimizer.profiling.snapshots import Frame

pytestmark = pytest.mark.usefixtures("prices_of_today")
MIB = 2**20
STATIC = Path(page.__file__).parent / "static"
FILES = PageFiles(page.PAGE, STATIC)


def no_driver():
    raise OSError("no driver")


def fragmented() -> dict[str, Any]:
    """A snapshot of a heap in which every second block of 30 MiB was given back."""
    allocator = AllocatorSimulator()
    frames = [Frame("train.py", 7, "step")]
    for i in range(8):
        allocator.alloc(i, 4 * MIB, frames=frames)
    for i in range(0, 8, 2):
        allocator.free(i)
    return allocator.snapshot()


# --- files ------------------------------------------------------------------------------------------
@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    with served(create_app(GpuApiSettings(live_interval_s=0.1), reader=SnapshotReader(no_driver))) as address:
        yield address


@pytest.mark.parametrize("check", PageFiles.CHECKS)
def test_the_page_keeps_the_rules_of_the_house(check):
    assert getattr(FILES, check)() == []


@pytest.mark.parametrize("theme", ["light", "dark", "auto"])
def test_text_stands_out_from_its_ground_as_wcag_aa_asks(theme):
    pairs = [(ink, ground) for ink in ("text", "muted", "warn", "bad") for ground in ("surface", "ground", "hover")]
    assert FILES.weak_contrasts(theme, [*pairs, ("on-accent", "accent"), ("accent", "surface"), ("accent", "accent-soft")]) == {}


def test_every_file_comes_with_its_type_and_once(address):
    assert "default-src 'none'" in httpx.get(address).headers["content-security-policy"]
    for path in page.PAGE.asset_paths():
        answer = httpx.get(f"{address}/assets/{path}")
        assert answer.status_code == 200, path
        assert answer.headers["content-type"].split("/")[0] in ("text", "image")
        again = httpx.get(f"{address}/assets/{path}", headers={"If-None-Match": answer.headers["etag"]})
        assert again.status_code == 304


@pytest.mark.parametrize("path", ["index.html", "../app.py", "..%2fapp.py", "js/none.js", "/etc/passwd", ""])
def test_nothing_else_is_served(address, path):
    assert httpx.get(f"{address}/assets/{path}").status_code == 404


def test_the_page_is_read_without_the_token_and_nothing_behind_it():
    settings = GpuApiSettings(token="a-token-of-some-length")
    with served(create_app(settings, reader=SnapshotReader(no_driver))) as address:
        assert httpx.get(address).status_code == 200
        assert httpx.get(f"{address}/assets/js/main.js").status_code == 200
        assert httpx.get(f"{address}/v1/memory").status_code == 401
        assert httpx.get(f"{address}/metrics").status_code == 401


# --- sums, in Node ----------------------------------------------------------------------------------
@pytest.fixture(scope="module")
def js(tmp_path_factory) -> Callable[[str, str, str], Any]:
    return module_runner(STATIC, tmp_path_factory.mktemp("page"))


@pytest.mark.parametrize(
    ("count", "text"),
    [(0, "0 B"), (1023, "1023 B"), (1536, "1.50 KiB"), (2**30 * 22, "22.0 GiB"), (2**40 * 5, "5.00 TiB"), ("null", "–"), ("NaN", "–")],
)
def test_bytes_are_told_with_three_digits(js, count, text):
    assert js("format.js", "bytes", f"return bytes({count});") == text


@pytest.mark.parametrize(("value", "text"), [(0, "–"), (512, "512 FLOP"), (10.5e9, "10.5 GFLOP"), ("null", "–")])
def test_operations_are_told_where_any_were_counted(js, value, text):
    assert js("format.js", "operations", f"return operations({value});") == text


def test_axes_have_round_marks_within_the_range(js):
    for top in (0.9, 1, 7.3, 42, 999):
        marks = js("format.js", "ticks", f"return ticks({top});")
        assert marks[0] == 0
        assert marks[-1] <= top
        assert 2 <= len(marks) <= 6


def test_a_gpu_that_comes_and_goes_keeps_its_place_in_time(js):
    reading = "(t, gpus) => ({time_s: t, gpus, host: {memory_total_bytes: 100, memory_available_bytes: 75}})"
    gpu = '{uuid: "a", index: 0, name: "X", memory_total_bytes: 10, memory_used_bytes: 5}'
    body = f"""const r = {reading}; const s = new Series();
    s.add(r(1, [])); s.add(r(2, [{gpu}])); s.add(r(2, [{gpu}])); s.add(r(3, []));
    return {{times: s.times, host: s.devices.get("host").values, gpu: s.devices.get("a").values}};"""
    assert js("live.js", "Series", body) == {"times": [1, 2, 3], "host": [0.25] * 3, "gpu": [None, 0.5, None]}


def test_stretches_of_one_phase_are_found(js):
    body = 'return stretches(["forward", "forward", "backward", "forward"], [0, 0, 0, 1]);'
    assert [(s["phase"], s["start"], s["end"]) for s in js("chart.js", "stretches", body)] == [
        ("forward", 0, 2),
        ("backward", 2, 3),
        ("forward", 3, 4),
    ]


# --- in a browser -----------------------------------------------------------------------------------
@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with chromium() as launch:
        browser = launch()
        yield browser
        browser.close()


@pytest.fixture
def open_page(browser):
    with opened_pages(browser) as go:
        yield go


def inked(tab: Any, test_id: str) -> int:
    """Pixels of a canvas that something was drawn on."""
    return tab.evaluate(
        """id => { const c = document.querySelector(`[data-testid=${id}]`);
        const d = c.getContext("2d").getImageData(0, 0, c.width, c.height).data; let n = 0;
        for (let i = 3; i < d.length; i += 4) n += d[i] > 0; return n; }""",
        test_id,
    )


@pytest.mark.parametrize("width", [390, 1024, 1440])
def test_a_machine_without_a_gpu_shows_the_host_and_says_why(open_page, address, width):
    tab = open_page(address, width=width)
    tab.wait_for_selector("[data-testid=tile-host]")
    assert tab.inner_text("[data-testid=no-gpu-reason]") == "No NVIDIA driver answers (no driver)."
    assert "of" in tab.inner_text("[data-testid=tile-host] .figure")
    tab.wait_for_function("() => document.querySelector('[data-testid=memory-chart]').getAttribute('aria-label').includes('Host')")
    assert inked(tab, "memory-chart") > 500
    tab.wait_for_function("() => document.querySelector('[data-testid=devices]').innerText.includes('cpu')")
    assert tab.evaluate("document.documentElement.scrollWidth") <= width
    colour = "s => getComputedStyle(document.querySelector(s)).color"
    assert tab.evaluate(colour, ".brand") == tab.evaluate(colour, "h1")


def test_every_gpu_has_a_tile_and_one_that_is_lost_is_told(open_page):
    nvml = FakeNvml()
    with served(create_app(GpuApiSettings(live_interval_s=0.1), reader=SnapshotReader(lambda: nvml))) as address:
        tab = open_page(address)
        first = tab.wait_for_selector("[data-testid=tile-GPU-new]").inner_text()
        assert "1.40 GiB" in first
        assert "216 of 300 W" in first
        assert "slowed by power cap" in first
        assert tab.is_hidden("[data-testid=no-gpu]")
        nvml.lost = {0}
        tab.wait_for_selector("[data-testid=tile-GPU-new]", state="detached")
        assert "GPU 0: GPU is lost" in tab.inner_text("[data-testid=live-state]")
        tab.close()


def test_the_page_comes_back_when_the_service_does(open_page):
    with served(create_app(GpuApiSettings(live_interval_s=0.1), reader=SnapshotReader(no_driver))) as address:
        tab = open_page(address)
        tab.wait_for_selector("[data-testid=tile-host]")
    tab.wait_for_function("() => document.querySelector('[data-testid=live-state]').textContent.includes('trying again')")
    port = int(address.rsplit(":", 1)[1])
    with served(create_app(GpuApiSettings(live_interval_s=0.1), reader=SnapshotReader(no_driver)), port=port):
        tab.wait_for_function("() => document.querySelector('[data-testid=live-state]').textContent.startsWith('A reading')")
        assert tab.is_visible("[data-testid=tile-host]")
        tab.close()


def test_a_page_that_needs_a_token_asks_for_it(open_page):
    settings = GpuApiSettings(token="a-token-of-some-length", live_interval_s=0.1)
    with served(create_app(settings, reader=SnapshotReader(no_driver))) as address:
        tab = open_page(address)
        tab.wait_for_selector("#token-dialog[open]")
        tab.fill("#token-input", "a-token-of-some-length")
        tab.click("#token-dialog .primary")
        assert tab.wait_for_selector("[data-testid=tile-host]").is_visible()
        assert not tab.is_visible("#token-dialog")
        # A refusal of a call that went out before the token was given tries again with it and asks nobody.
        late = "async () => (await import('/assets/shared/js/api.js')).requestToken(false, null)"
        assert tab.evaluate(late) is True
        assert not tab.is_visible("#token-dialog")
        tab.close()


def test_an_uploaded_snapshot_becomes_a_map_and_advice(open_page, address, tmp_path):
    file = tmp_path / "memory.pickle"
    file.write_bytes(pickle.dumps(fragmented()))
    tab = open_page(f"{address}/#/snapshots")
    tab.set_input_files("[data-testid=snapshot-file]", str(file))
    tab.wait_for_selector("[data-testid=segments]")
    text = tab.inner_text("[data-testid=snapshot-result]")
    assert "40.0 MiB" in text  # two segments of 20 MiB
    assert "16.0 MiB" in text  # four blocks of 4 MiB are held
    assert "train.py" in tab.inner_text("[data-testid=holders]")
    assert inked(tab, "segments") > 1000


def test_a_file_that_is_no_snapshot_is_refused_with_a_reason(open_page, address, tmp_path):
    file = tmp_path / "holiday.pickle"
    file.write_bytes(b"not a pickle at all")
    tab = open_page(f"{address}/#/snapshots")
    tab.set_input_files("[data-testid=snapshot-file]", str(file))
    tab.wait_for_selector("#snapshot-problem:not([hidden])")
    assert len(tab.inner_text("#snapshot-problem")) > 20


ESTIMATE = {
    "model": "lstm",
    "parameters": 1000,
    "batch_size": 8,
    "peak_bytes": 9 * MIB,
    "peak_phase": "backward",
    "peak_step": 1,
    "by_category_bytes": {"parameters": 3 * MIB, "optimizer_state": 4 * MIB, "activations": 2 * MIB},
    "owners": [{"name": f"layer.{i}", "category": "activations", "size_bytes": MIB, "shape": [4, 8]} for i in range(3)],
    "modules": [{"name": "", "kind": "LSTM", "parameter_bytes": 3 * MIB, "saved_bytes": 2 * MIB, "forward_flops": 5e9}],
    "timeline": {
        "phase": ["forward"] * 4 + ["backward"] * 4,
        "step": [0] * 8,
        "categories": {"parameters": [3 * MIB] * 8, "optimizer_state": [0] * 4 + [4 * MIB] * 4, "activations": [0, MIB, 2 * MIB, 0] * 2},
    },
    "notes": [],
}


def answer_with(tab: Any, **job: Any) -> list[dict[str, Any]]:
    """Let the page's estimates end in this job; what it asked for is collected."""
    asked: list[dict[str, Any]] = []
    whole = {"id": "1", "state": "done", "error": None, "progress": 1, "stage": None, "result": None, **job}

    def answer(route: Any) -> None:
        if route.request.method == "POST":
            asked.append(route.request.post_data_json)
        route.fulfill(json=whole)

    tab.route(re.compile(r"/v1/(estimates|plans)"), answer)
    return asked


def test_an_estimate_is_asked_for_from_the_form_and_drawn(open_page, address):
    tab = open_page(f"{address}/#/estimate")
    asked = answer_with(tab, result=ESTIMATE)
    tab.fill("[data-testid=model]", " lstm ")
    tab.click("[data-testid=estimate-go]")
    tab.wait_for_selector("[data-testid=estimate-chart]")
    assert asked == [{"model": "lstm", "batch": 8, "precision": "fp32", "optimizer": "adamw", "target": "cuda"}]
    assert "9.00 MiB" in tab.inner_text("[data-testid=tile-peak]")
    assert "optimizer state" in tab.inner_text("[data-testid=estimate-result]")
    assert inked(tab, "estimate-chart") > 1000
    assert len(tab.query_selector_all("[data-testid=estimate-owners] tbody tr")) == 3


def test_an_estimate_that_fails_is_told_in_the_services_words(open_page, address):
    tab = open_page(f"{address}/#/estimate")
    answer_with(tab, state="failed", error="no model 'x' is known <b>")
    tab.click("[data-testid=estimate-go]")
    tab.wait_for_selector("#estimate-problem:not([hidden])")
    assert tab.inner_text("#estimate-problem") == "no model 'x' is known <b>"
    assert tab.is_enabled("[data-testid=estimate-go]")


PLAN = {
    "device": "NVIDIA L4",
    "budget_bytes": 8 << 30,
    "margin": 0.03,
    "predicted_peak_bytes": 7 << 30,
    "predicted_s": 0.25,
    "time_error": 0.2,
    "micro_batch": 4,
    "accumulation": 2,
    "precision": "fp32",
    "optimizer": "adamw",
    "blocks": [{"name": "layer1.0", "action": "recompute", "saved_bytes": 30 * MIB, "time_s": 0.002}],
    "alternatives": [
        {
            "name": name,
            "micro_batch": 8,
            "accumulation": 1,
            "precision": "fp32",
            "recomputed": 0,
            "offloaded": 0,
            "peak_bytes": 9 << 30,
            "time_s": None,
            "fits": False,
        }
        for name in ("as it is", "everything computed again")
    ],
    "notes": ["a note"],
}


def test_a_plan_is_asked_for_with_its_budget_and_machine_and_shown(open_page, address):
    tab = open_page(f"{address}/#/estimate")
    asked = answer_with(tab, kind="plan", result=PLAN)
    tab.wait_for_selector("#machines option[value=l4]", state="attached")
    tab.select_option("[data-testid=machine]", "l4")
    tab.fill("[data-testid=budget]", "8GiB")
    tab.click("[data-testid=plan-go]")
    tab.wait_for_selector("[data-testid=plan-ways]")
    assert (asked[0]["budget"], asked[0]["machine"], asked[0]["model"]) == ("8GiB", "l4", "resnet50")
    assert "7.00 GiB" in tab.inner_text("[data-testid=tile-plan-peak]")
    assert "computed again" in tab.inner_text("[data-testid=plan-blocks]")
    assert len(tab.query_selector_all("[data-testid=plan-ways] tbody tr")) == 2


def test_prices_follow_the_filter(open_page, address):
    tab = open_page(f"{address}/#/prices")
    tab.wait_for_selector("[data-testid=prices] tr")
    before = len(tab.query_selector_all("[data-testid=prices] tr"))
    tab.fill("[data-testid=price-gpu]", "H100")
    tab.wait_for_function(
        "() => [...document.querySelectorAll('[data-testid=prices] tr')].every((r) => r.cells[2].textContent.includes('H100'))"
    )
    assert 0 < len(tab.query_selector_all("[data-testid=prices] tr")) < before
    tab.fill("[data-testid=price-gpu]", "abacus")
    tab.wait_for_selector("#prices-empty:not([hidden])")


def test_prices_that_grew_old_are_told_with_what_to_do_and_shown_when_asked_for(open_page, address, monkeypatch):
    monkeypatch.setattr(prices, "current_day", lambda: datetime.now(UTC).date() + timedelta(days=400))
    tab = open_page(f"{address}/#/prices")
    tab.wait_for_selector("#price-problem:not([hidden])")
    problem = tab.inner_text("#price-problem")
    assert "older than 90 days" in problem
    assert "import a newer catalogue" in problem
    assert tab.query_selector_all("[data-testid=prices] tr") == []
    tab.check("[data-testid=price-old]")
    tab.wait_for_selector("[data-testid=prices] tr")
    assert tab.is_hidden("#price-problem")
    assert "older than 90 days, the oldest of" in tab.inner_text("[data-testid=price-notes]")
