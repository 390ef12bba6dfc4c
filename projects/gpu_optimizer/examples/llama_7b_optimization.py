"""Llama 7B on cards it may or may not fit: what fine-tuning needs, which plan fits, and what does not fit at all.

    python projects/gpu_optimizer/examples/llama_7b_optimization.py [--small]

Nothing is allocated: the model lies on torch's meta device and its steps are traced, not run. Peaks are those of the
tensors on CUDA; times follow from each machine's peak rates and are rough. `--small` does the same with two narrow blocks
and budgets to match, for tests.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from dataclasses import dataclass

import torch
from rich.console import Console
from rich.table import Table
from torch import nn
from torch.nn import functional

from gpu_optimizer.costing import known_machines
from gpu_optimizer.models import build
from gpu_optimizer.planning import BudgetError, ErrorLedger, Plan, format_bytes, parse_bytes, plan
from gpu_optimizer.profiling import estimate_inference
from gpu_optimizer.steps import TrainingStep

CARDS = (("rtx-4070-ti", "12 GiB"), ("l4", "24 GiB"), ("h100-sxm", "80 GiB"))
SMALL_CARDS = (("rtx-4070-ti", "12 MiB"), ("l4", "40 MiB"), ("h100-sxm", "64 MiB"))
_SMALL = {
    "num_hidden_layers": 2,
    "hidden_size": 256,
    "num_attention_heads": 4,
    "num_key_value_heads": 4,
    "intermediate_size": 512,
    "vocab_size": 4096,
    "sequence_length": 256,
}


class Adapted(nn.Module):
    """A linear layer that stays as it is, and a low-rank one beside it that learns (Hu et al. 2021, LoRA)."""

    def __init__(self, layer: nn.Linear, rank: int) -> None:
        super().__init__()
        self.layer = layer
        kind = {"device": layer.weight.device, "dtype": torch.float32}
        self.down = nn.Parameter(torch.zeros(rank, layer.in_features, **kind))
        self.up = nn.Parameter(torch.zeros(layer.out_features, rank, **kind))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """As the layer, and what was learned on top."""
        learned = functional.linear(functional.linear(x, self.down.to(x.dtype)), self.up.to(x.dtype))
        return self.layer(x) + learned


def adapters(step: TrainingStep, rank: int = 16) -> TrainingStep:
    """The step with frozen bf16 weights and adapters at every query and value projection.

    Raises:
        LookupError: The model has no such projections.
    """
    model = step.model.to(torch.bfloat16).requires_grad_(False)
    names = [name for name, module in model.named_modules() if isinstance(module, nn.Linear) and name.split(".")[-1] in _PROJECTIONS]
    if not names:
        raise LookupError(f"no linear layer of this model is called {' or '.join(_PROJECTIONS)}")
    for name in names:
        parent, _, last = name.rpartition(".")
        owner = model.get_submodule(parent)
        setattr(owner, last, Adapted(owner.get_submodule(last), rank))  # type: ignore[arg-type]
    return step


_PROJECTIONS = ("q_proj", "v_proj", "query", "value", "q", "v")


@dataclass(frozen=True, slots=True, kw_only=True)
class Way:
    """A way to fine-tune.

    Args:
        title: What it is.
        optimizer: Its optimizer.
        change: What is done to the model first.
        search: What a plan may change.
    """

    title: str
    optimizer: str
    change: Callable[[TrainingStep], TrainingStep]
    search: frozenset[str] = frozenset({"checkpoint"})


WAYS = (
    Way(title="all weights in fp32, AdamW", optimizer="adamw", change=lambda step: step),
    Way(
        title="the same, what does not fit on the host",
        optimizer="adamw",
        change=lambda step: step,
        search=frozenset({"checkpoint", "offload"}),
    ),
    Way(title="all weights in fp32, SGD", optimizer="sgd", change=lambda step: step),
    Way(title="bf16 weights frozen, adapters of rank 16, AdamW", optimizer="adamw", change=adapters),
)


def made(way: Way, spec: dict[str, object], cards: tuple[tuple[str, str], ...], tell: Callable[[str], None]) -> list[Plan | BudgetError]:
    """A plan or the reason why there is none for each card, smallest first.

    One trace answers for all cards: as long as the smallest budget that works is above a card, it is not asked again.
    """
    step = way.change(build(spec, batch=1, optimizer=way.optimizer, precision="bf16"))
    machines, answers = known_machines(), []
    for key, budget in cards:
        known = answers[-1] if answers and isinstance(answers[-1], BudgetError) else None
        if known is not None and known.smallest_bytes > parse_bytes(budget):
            answers.append(known)
            continue
        tell(f"{way.title}: planning for {budget}")
        try:
            answers.append(plan(step, budget=budget, device=machines[key], search=way.search, ledger=ErrorLedger(None)))
        except BudgetError as error:
            answers.append(error)
    return answers


def row(answers: list[Plan | BudgetError]) -> list[str]:
    """What fits in a few words per card, and the smallest budget where something does not."""
    cells = []
    for answer in answers:
        if isinstance(answer, BudgetError):
            cells.append("does not fit")
        else:
            host = ", optimizer on the host" if answer.optimizer_on_host else ""
            moved = f", {len(answer.offloaded)} offloaded" if answer.offloaded else ""
            done = f"{len(answer.recomputed)} recomputed{moved}{host}"
            cells.append(f"{format_bytes(answer.predicted_peak_bytes)}, {done}, ~{answer.predicted_s:.2g} s")
    refused = [answer for answer in answers if isinstance(answer, BudgetError)]
    least = "" if not refused else format_bytes(refused[-1].smallest_bytes)
    if len(refused) == len(answers):
        least += ", fits nowhere here"
    return [*cells, least]


def main(words: list[str] | None = None) -> int:
    """Estimate, plan, and say what does not fit."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--small", action="store_true", help="two narrow blocks and small budgets, for tests")
    options = parser.parse_args(words)
    cards = SMALL_CARDS if options.small else CARDS
    spec: dict[str, object] = {"model": "llama-7b", **(_SMALL if options.small else {"sequence_length": 2048})}
    console, quiet, begin = Console(width=max(Console().width, 150)), Console(stderr=True), time.perf_counter()

    step = build(spec, batch=1)
    weights = sum(parameter.numel() for parameter in step.model.parameters())
    model = step.model.to(torch.bfloat16).requires_grad_(False)
    reading = estimate_inference(model, step.sample, precision="bf16", target="cuda").peak_bytes
    console.print(f"{weights:,} weights; one forward pass of {step.sample.args[0].shape[1]} tokens in bf16 needs {format_bytes(reading)}")
    shown = Table(title="fine-tuning on one sequence, bf16 arithmetic; predicted peak, 5 % are kept free")
    for title in ("way", *(f"{budget} ({known_machines()[key].name})" for key, budget in cards), "smallest budget that works"):
        shown.add_column(title)
    reasons = []
    for way in WAYS:
        answers = made(way, spec, cards, lambda text: quiet.print(f"{time.perf_counter() - begin:5.0f} s  {text}"))
        shown.add_row(way.title, *row(answers))
        refused = [answer for answer in answers if isinstance(answer, BudgetError)]
        reasons += [f"{way.title}: {answer}" for answer in refused[-1:]]
    console.print(shown)
    for reason in reasons:
        console.print(f"- {reason}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
