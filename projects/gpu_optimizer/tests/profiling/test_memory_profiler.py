from __future__ import annotations

from html.parser import HTMLParser
from pathlib import Path

import pytest
import torch
from rich.console import Console
from torch import nn

from gpu_optimizer.errors import ProfilingError
from gpu_optimizer.profiling import MemoryProfile, MemoryProfiler
from gpu_optimizer.profiling.profile_plot import thinned


@pytest.fixture(scope="module")
def profile() -> MemoryProfile:
    model = nn.Sequential(nn.Linear(64, 256), nn.ReLU(), nn.Linear(256, 10))
    return MemoryProfiler(model, torch.randn(32, 64)).estimate()


def _train(model: nn.Module, optimizer: torch.optim.Optimizer, steps: int = 2) -> None:
    for _ in range(steps):
        optimizer.zero_grad()
        model(torch.ones(32, 64)).square().mean().backward()
        optimizer.step()


def test_a_loop_of_ones_own_is_followed() -> None:
    model = nn.Sequential(nn.Linear(64, 256), nn.ReLU(), nn.Linear(256, 10))
    optimizer = torch.optim.AdamW(model.parameters())
    with MemoryProfiler.watch(model, optimizer) as watched:
        _train(model, optimizer, steps=3)
    weights = 4 * (64 * 256 + 256 + 256 * 10 + 10)
    found = watched.profile
    assert (found.method, found.steps) == ("measured", 3)
    assert found.by_category_at_peak["parameters"] == found.by_category_at_peak["gradients"] == weights
    assert found.by_category_at_peak["optimizer_state"] == 2 * weights + 4 * 4
    assert found.module("0").calls == 1


def test_watching_agrees_with_the_estimate_of_the_same_step() -> None:
    model = nn.Sequential(nn.Linear(64, 256), nn.ReLU(), nn.Linear(256, 10))
    sample = torch.ones(32, 64)
    estimated = MemoryProfiler(model, sample, optimizer="adamw", loss=lambda y: y.square().mean()).estimate()
    optimizer = torch.optim.AdamW(model.parameters())
    with MemoryProfiler.watch(model, optimizer, inputs=sample) as watched:
        for _ in range(2):
            optimizer.zero_grad()
            loss = model(sample).square().mean()
            loss.backward()
            optimizer.step()
    assert watched.profile.peak_bytes == pytest.approx(estimated.peak_bytes, abs=16)  # scalars of the loss


def test_state_that_is_there_already_counts_from_the_start() -> None:
    model = nn.Linear(64, 10)
    optimizer = torch.optim.Adam(model.parameters())
    _train(model, optimizer, steps=1)
    with MemoryProfiler.watch(model, optimizer) as watched:
        _train(model, optimizer, steps=1)
    state = [life for life in watched.profile.lives if life.category == "optimizer_state"]
    assert {life.born for life in state} == {0}
    assert {life.name for life in state} >= {"weight: exp_avg", "bias: exp_avg_sq"}


def test_hooks_are_gone_after_watching_even_after_an_error() -> None:
    model = nn.Linear(64, 10)
    with pytest.raises(RuntimeError, match="by design"), MemoryProfiler.watch(model) as watched:
        raise RuntimeError("by design")
    assert not model._forward_hooks
    assert not nn.modules.module._global_forward_hooks
    assert not model.weight._post_accumulate_grad_hooks
    with pytest.raises(ProfilingError, match="after the block"):
        _ = watched.profile


def test_a_model_on_meta_cannot_be_watched() -> None:
    with torch.device("meta"):
        model = nn.Linear(4, 4)
    with pytest.raises(ProfilingError, match="does not run"), MemoryProfiler.watch(model):
        pass


def test_an_estimate_beside_its_measurement() -> None:
    model = nn.Sequential(nn.Linear(64, 256), nn.ReLU(), nn.Linear(256, 10))
    comparison = MemoryProfiler(model, torch.randn(32, 64)).compare()
    assert abs(comparison.error) < 1e-3
    assert (comparison.estimated.method, comparison.measured.method) == ("estimated", "measured")


def test_the_table_names_peak_owners_and_modules(profile: MemoryProfile) -> None:
    console = Console(width=200, record=True, file=open("/dev/null", "w"))  # noqa: SIM115, PTH123
    console.print(profile.table())
    text = console.export_text()
    assert "0.weight: exp_avg" in text
    assert "(model)" in text
    assert f"in the {profile.peak_phase} of step {profile.peak_step + 1}" in text


@pytest.mark.parametrize("width", [60, 80, 120, 200])
def test_names_of_tensors_and_modules_are_whole_however_narrow_the_terminal(profile: MemoryProfile, width: int) -> None:
    console = Console(width=width)
    with console.capture() as shown:
        console.print(profile.table(depth=9, lines=5))
    lines = shown.get().splitlines()
    for name in [*(life.name for life in profile.owners_at_peak[:5]), *(cost.name for cost in profile.modules if cost.calls)]:
        assert any(name in line for line in lines), name
    assert max(map(len, lines)) <= width
    assert ("no room for" in shown.get()) == (width < 120)


def test_the_picture_is_a_png_with_every_category_in_its_colour(profile: MemoryProfile, tmp_path: Path) -> None:
    from matplotlib.image import imread

    pixels = imread(profile.plot(tmp_path / "timeline.png"))
    seen = {tuple(round(float(channel) * 255) for channel in row[:3]) for row in pixels.reshape(-1, pixels.shape[-1])}
    for colour in ("#4c72b0", "#dd8452", "#64b5cd", "#55a868", "#c44e52"):
        assert tuple(int(colour[i : i + 2], 16) for i in (1, 3, 5)) in seen


def test_the_page_needs_nothing_else_and_escapes_names(profile: MemoryProfile, tmp_path: Path) -> None:
    class Page(HTMLParser):
        links: list[str] = []  # noqa: RUF012
        text = ""

        def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
            self.links += [value or "" for name, value in attrs if name in ("src", "href") and not (value or "").startswith("#")]
            assert tag != "script"

        def handle_data(self, data: str) -> None:
            self.text += data

    noted = profile.replace(notes=("<script>alert(1)</script>",))
    page = Page()
    page.feed(noted.html(tmp_path / "page.html").read_text())
    assert not page.links
    assert "<script>alert(1)</script>" in page.text
    assert "0.weight.grad" in page.text


def test_thinning_keeps_the_peak(profile: MemoryProfile) -> None:
    few = thinned(profile.timeline, most=7)
    assert len(few) == 7
    assert max(moment.total_bytes for moment in few) == profile.peak_bytes


def test_saved_and_loaded_it_is_the_same(profile: MemoryProfile, tmp_path: Path) -> None:
    path = profile.save(tmp_path / "profile.json")
    assert MemoryProfile.load(path) == profile
    path.write_text("{")
    with pytest.raises(ProfilingError, match="cannot be read as JSON"):
        MemoryProfile.load(path)
