"""The groups of `make bench` about fitting models into memory: their tables, and the rows of the summary.

Each group prints a table of its own, which is kept in out/bench/sections and goes into docs/PERFORMANCE.md as a section.
"""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
BENCHMARKS = ROOT / "projects" / "gpu_optimizer" / "benchmarks"
SECTIONS = ROOT / "out" / "bench" / "sections"
COMMAND = "python projects/gpu_optimizer/benchmarks/{}.py"


def estimates() -> Iterator[dict[str, Any]]:
    """Peaks that were estimated without running, against real steps."""
    module = _load("estimates")
    absent, found = list(module.absent_rows()), list(module.rows())
    _keep("estimates", "Memory of a training step, estimated without running", module.markdown(found, absent))
    total = module.summary(found)
    median, under = 100 * total["median_error"], 100 * max(0.0, -total["lowest_error"])
    yield _limit(f"estimated peak of {len(found)} training steps, median error in %", median, 3.0)
    yield _limit("estimated peak, furthest below the measured one, %", under, 5.0)
    for row in absent:
        grown = row["grown_bytes"] / 2**20
        yield _limit(
            f"estimating {row['model']}, growth of the process in MiB", grown, row["estimated_bytes"] / 2**20, "what it would need"
        )


def planner() -> Iterator[dict[str, Any]]:
    """Plans against what the steps then need, and against checkpoint-everything."""
    module = _load("planner")
    found = list(module.rows(list(module.MODELS), [90, 75, 60, 50]))
    _keep("planner", "Plans for a budget", module.markdown(found))
    made = [row for row in found if row["kept"] != "-"]  # the others were called impossible beforehand
    kept = sum(row["kept"] == "yes" for row in made)
    yield {"what": f"plans of {len(found)} that kept their budget when measured", "ours": kept, "other": len(made), "against": "plans made",
           "ratio": kept / len(made), "goal": 1.0}  # fmt: skip
    both = [(float(row["time / plain"]), float(row["all: time / plain"])) for row in made if row["all: time / plain"][0].isdigit()]
    if both:
        mean_ours, mean_theirs = (sum(column) / len(both) for column in zip(*both, strict=True))
        yield {"what": f"step within the budget over the plain step, mean of {len(both)}", "ours": mean_ours, "other": mean_theirs,
               "against": "checkpoint everything", "ratio": mean_theirs / mean_ours, "goal": 1.0}  # fmt: skip


def batch_size() -> Iterator[dict[str, Any]]:
    """The batch finder against accelerate's under the same budget."""
    module = _load("batch_finder")
    found = module.rows()
    _keep("batch_finder", "The largest batch that fits", module.as_markdown(found))
    ours = [row for row in found if row["finder"] == "ours" or "accelerate" not in row["finder"]]
    theirs = [row for row in found if "accelerate" in row["finder"]]
    worst = max(row["ooms"] for row in ours)
    yield {"what": "finding the batch size, most times out of memory", "ours": worst, "other": max(row["ooms"] for row in theirs),
           "against": "accelerate find_executable_batch_size", "ratio": 2.0 / (1 + worst), "goal": 1.0}  # fmt: skip


def swapping() -> Iterator[dict[str, Any]]:
    """What the bookkeeping of swapped tensors costs beside the step itself; the copies are a processor's, not a GPU's."""
    found = _load("swapping")
    table = found.rows()
    _keep("swapping", "Swapping tensors to the host, on the processor", found.as_markdown(table))
    kept = [row for row in table if row["variant"] == "swapping, bookkeeping only"]
    worst = max(kept, key=lambda row: row["against_plain"])
    yield _limit(f"step with swapping's bookkeeping over the plain step, worst of {len(kept)}", worst["against_plain"], 1.05)


def exporter() -> Iterator[dict[str, Any]]:
    """What a scrape costs."""
    module = _load("exporter")
    found = list(module.rows())
    _keep("exporter", "A scrape of the GPU service", module.markdown(found))
    yield _limit("scrape with 8 GPUs and their programs, ms", found[-1]["scrape_ms"], found[-1]["goal_ms"])


def allocator() -> Iterator[dict[str, Any]]:
    """The simulator of torch's allocator: how fast, and what settings are worth."""
    module = _load("allocator")
    speed, worth = module.speed(), module.worth()
    _keep("allocator", "What torch's allocator would reserve, MiB", _table(worth))
    rate = next(value for row in speed for key, value in row.items() if isinstance(value, int | float) and "per" in key)
    yield {"what": "allocator simulator, requests/s", "ours": rate, "other": 1e5, "against": "a long trace in seconds", "ratio": rate / 1e5}


GROUPS: dict[str, Callable[[], Iterator[dict[str, Any]]]] = {
    "estimates": estimates,
    "planner": planner,
    "batch_size": batch_size,
    "swapping": swapping,
    "allocator": allocator,
    "exporter": exporter,
}


def sections() -> list[str]:
    """Lines of all sections that were measured."""
    parts = [SECTIONS / f"{name}.md" for name in ("estimates", "planner", "batch_finder", "swapping", "allocator", "exporter")]
    return [line for part in parts if part.exists() for line in [*part.read_text(encoding="utf-8").splitlines(), ""]]


def _keep(name: str, title: str, table: str) -> None:
    SECTIONS.mkdir(parents=True, exist_ok=True)
    text = f"## {title}\n\n{table}\n\nCommand: `{COMMAND.format(name)}`\n"
    (SECTIONS / f"{name}.md").write_text(text, encoding="utf-8")


def _limit(what: str, ours: float, limit: float, against: str = "limit") -> dict[str, Any]:
    return {"what": what, "ours": ours, "other": limit, "against": against, "ratio": limit / max(ours, 1e-9), "goal": 1.0}


def _table(rows: list[dict[str, Any]]) -> str:
    head = ["| " + " | ".join(rows[0]) + " |", "|" + "---|" * len(rows[0])]
    return "\n".join([*head, *("| " + " | ".join(str(value) for value in row.values()) + " |" for row in rows)])


def _load(name: str) -> Any:
    path = BENCHMARKS / f"{name}.py"
    spec = importlib.util.spec_from_file_location(f"memory_{name}", path)
    if spec is None or spec.loader is None:
        raise FileNotFoundError(path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module
