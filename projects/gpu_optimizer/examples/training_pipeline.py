"""Train a small keypoint network to convergence twice: as it is, and within a memory budget by a plan.

    python projects/gpu_optimizer/examples/training_pipeline.py [--small] [--share 0.6] [--out FOLDER]

Both trainings start from the same weights and see the same figures, drawn by code. They take turns, step by step, so that
their times can be compared. Ends with 1 if the two loss curves or the trained weights differ in a single bit, if the
budget is not kept, or if the network does not find the joints. Writes training_pipeline.png and training_pipeline.json.
"""

from __future__ import annotations

import argparse
import copy
import json
import statistics
import time
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from rich.console import Console
from rich.table import Table
from torch import nn
from torch.nn import functional

from gpu_optimizer.planning import BudgetError, ErrorLedger, Plan, Verification, format_bytes, plan
from gpu_optimizer.profiling import MemoryProfile, measure_step
from gpu_optimizer.steps import TrainingStep

JOINTS = ("head", "shoulder", "hip", "knee", "ankle")
_LENGTHS = (0.13, 0.22, 0.2, 0.18)  # of head, trunk, thigh and shank, as shares of the image's side


@dataclass(frozen=True, slots=True, kw_only=True)
class Size:
    """How much is trained, and how well it must be in the end.

    Args:
        side: Pixels of a figure's side.
        width: Channels.
        blocks: Residual blocks.
        batch: Figures per step.
        steps: Steps.
        wanted_px: Mean distance of the joints found on unseen figures, at most.
    """

    side: int
    width: int
    blocks: int
    batch: int
    steps: int
    wanted_px: float


WHOLE = Size(side=40, width=24, blocks=5, batch=16, steps=160, wanted_px=1.0)
SMALL = Size(side=24, width=16, blocks=4, batch=12, steps=60, wanted_px=1.5)


class Block(nn.Module):
    """Two convolutions with BatchNorm beside a short cut."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(width, width, 3, padding=1, bias=False),
            nn.BatchNorm2d(width),
            nn.ReLU(),
            nn.Conv2d(width, width, 3, padding=1, bias=False),
            nn.BatchNorm2d(width),
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Features of the same shape."""
        return torch.relu(x + self.body(x))


class PoseNet(nn.Module):
    """Figures (batch, 1, side, side) to joints (batch, 5, 2) in shares of the side: the centres of softmax heat maps."""

    def __init__(self, size: Size) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(1, size.width, 5, stride=2, padding=2, bias=False), nn.BatchNorm2d(size.width), nn.ReLU())
        self.blocks = nn.Sequential(*(Block(size.width) for _ in range(size.blocks)))
        self.head = nn.Conv2d(size.width, len(JOINTS), 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Joints, x before y."""
        maps = self.head(self.blocks(self.stem(x)))
        share = maps.flatten(2).softmax(2).unflatten(2, maps.shape[2:])
        places = (torch.arange(maps.shape[2], dtype=share.dtype, device=share.device) + 0.5) / maps.shape[2]
        return torch.stack([(share.sum(2) * places).sum(2), (share.sum(3) * places).sum(2)], dim=2)


def figures(count: int, side: int, generator: torch.Generator) -> tuple[torch.Tensor, torch.Tensor]:
    """Side views of people as lines with a round head, in noise: images (count, 1, side, side) and joints (count, 5, 2)."""
    lean, thigh, shank = (torch.rand(3, count, generator=generator) - 0.5) * torch.tensor([[1.0], [1.6], [1.6]])
    hip = 0.5 + (torch.rand(count, 2, generator=generator) - 0.5) * 0.2

    def along(angle: torch.Tensor, length: float, up: bool) -> torch.Tensor:
        return length * torch.stack([angle.sin(), -angle.cos() if up else angle.cos()], dim=1)

    shoulder = hip + along(lean, _LENGTHS[1], up=True)
    head = shoulder + along(lean, _LENGTHS[0], up=True)
    knee = hip + along(thigh, _LENGTHS[2], up=False)
    ankle = knee + along(thigh - shank.abs(), _LENGTHS[3], up=False)
    joints = torch.stack([head, shoulder, hip, knee, ankle], dim=1)
    axis = (torch.arange(side) + 0.5) / side
    pixels = torch.stack(torch.meshgrid(axis, axis, indexing="xy"), dim=2).reshape(1, 1, -1, 2)
    begin, run = joints[:, :-1, None], (joints[:, 1:] - joints[:, :-1])[:, :, None]
    share = (((pixels - begin) * run).sum(3) / run.square().sum(3)).clamp(0, 1)[..., None]
    lines = (pixels - begin - share * run).norm(dim=3).amin(1)
    skull = (pixels[0] - head[:, None]).norm(dim=2) / 2.5
    ink = torch.exp(-((torch.minimum(lines, skull) / 0.03) ** 2)).reshape(count, 1, side, side)
    return ink + 0.1 * torch.randn(ink.shape, generator=generator), joints


def joint_error_px(model: nn.Module, images: torch.Tensor, joints: torch.Tensor) -> float:
    """Mean distance between joints found and drawn, in pixels; the model is left in training mode."""
    model.eval()
    with torch.no_grad():
        distance = (model(images) - joints).norm(dim=2).mean().item()
    model.train()
    return distance * images.shape[3]


@dataclass(slots=True)
class Training:
    """A model on its way: what each step lost and took."""

    model: nn.Module
    optimizer: torch.optim.Optimizer
    losses: list[float]
    seconds: list[float]

    @classmethod
    def of(cls, model: nn.Module) -> Training:
        """A training that has not begun."""
        return cls(model, adam(model.parameters()), [], [])

    def run(self, step: TrainingStep) -> None:
        """One step."""
        begin = time.perf_counter()
        self.losses.append(step.run(self.optimizer))
        self.seconds.append(time.perf_counter() - begin)


def adam(parameters: object) -> torch.optim.Optimizer:
    """The optimizer of both trainings."""
    return torch.optim.Adam(parameters, lr=4e-3)  # type: ignore[arg-type]


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What came of both trainings.

    Args:
        plain: The training without a plan.
        planned: The training with it.
        made: The plan.
        proof: A step of the plan, measured.
        profiles: A measured step without and with the plan.
        error_px: Mean distance of the joints on unseen figures: before, without and with the plan.
        identical: Whether losses, weights and buffers are the same in every bit.
    """

    plain: Training
    planned: Training
    made: Plan
    proof: Verification
    profiles: tuple[MemoryProfile, MemoryProfile]
    error_px: tuple[float, float, float]
    identical: bool

    def to_dict(self) -> dict[str, object]:
        """The figures as plain JSON types."""
        return {
            "budget_bytes": self.made.budget_bytes,
            "recomputed": list(self.made.recomputed),
            "predicted_peak_bytes": self.made.predicted_peak_bytes,
            "peak_bytes": [profile.peak_bytes for profile in self.profiles],
            "step_s": [statistics.median(training.seconds) for training in (self.plain, self.planned)],
            "loss_first": self.plain.losses[0],
            "loss_last": [self.plain.losses[-1], self.planned.losses[-1]],
            "error_px": list(self.error_px),
            "identical": self.identical,
            "verification": self.proof.to_dict(),
        }


def train(size: Size, share: float) -> Outcome:
    """Plan for a share of the plain peak, then train without and with the plan."""
    torch.manual_seed(0)
    model = PoseNet(size)
    images, joints = figures(size.batch, size.side, torch.Generator().manual_seed(1))
    step = TrainingStep.of(model, images, loss=functional.smooth_l1_loss, target=joints, optimizer=adam)
    before = measure_step(step)
    ledger = ErrorLedger(None)
    made = plan(step, budget=int(share * before.peak_bytes), search={"checkpoint"}, ledger=ledger)
    proof = made.verify(model, images, loss=functional.smooth_l1_loss, target=joints, optimizer=adam, ledger=ledger)

    unseen = figures(64, size.side, torch.Generator().manual_seed(2))
    start_px = joint_error_px(model, *unseen)
    plain, planned = Training.of(model), Training.of(copy.deepcopy(model))
    generator = torch.Generator().manual_seed(3)
    with made.apply(planned.model) as applied:
        after = measure_step(applied.step(images, loss=functional.smooth_l1_loss, target=joints, optimizer=adam))
        for index in range(size.steps):
            images, joints = figures(size.batch, size.side, generator)
            for training in (plain, planned):
                for group in training.optimizer.param_groups:
                    group["lr"] = 4e-3 * (1 - index / size.steps)
            plain.run(TrainingStep.of(plain.model, images, loss=functional.smooth_l1_loss, target=joints))
            planned.run(applied.step(images, loss=functional.smooth_l1_loss, target=joints))
    states = [training.model.state_dict() for training in (plain, planned)]
    return Outcome(
        plain=plain,
        planned=planned,
        made=made,
        proof=proof,
        profiles=(before, after),
        error_px=(start_px, joint_error_px(plain.model, *unseen), joint_error_px(planned.model, *unseen)),
        identical=plain.losses == planned.losses and all(torch.equal(states[0][name], states[1][name]) for name in states[0]),
    )


def table(outcome: Outcome) -> Table:
    """Both trainings side by side."""
    shown = Table(title=f"{len(outcome.plain.losses)} steps, budget {format_bytes(outcome.made.budget_bytes)}")
    for title in ("training", "recomputed", "peak of a step", "median step", "last loss", "joints off by"):
        shown.add_column(title, justify="left" if title == "training" else "right")
    rows = (("as it is", 0, outcome.plain), ("with the plan", len(outcome.made.recomputed), outcome.planned))
    for (name, count, training), profile, error_px in zip(rows, outcome.profiles, outcome.error_px[1:], strict=True):
        shown.add_row(
            name,
            str(count),
            format_bytes(profile.peak_bytes),
            f"{1000 * statistics.median(training.seconds):.1f} ms",
            f"{training.losses[-1]:.3e}",
            f"{error_px:.2f} px",
        )
    return shown


def plot(outcome: Outcome, path: Path) -> Path:
    """Loss curves over each other, bytes in use during a step, and step times."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(12, 3.8), layout="constrained")
    curves, memory, times = figure.subplots(1, 3, width_ratios=(3, 3, 2))
    curves.semilogy(outcome.plain.losses, color="#1f4e79", lw=1.6, label="as it is")
    curves.semilogy(
        range(0, len(outcome.planned.losses), 8), outcome.planned.losses[::8], "o", ms=4, mfc="none", color="#d1495b", label="with the plan"
    )
    curves.set(xlabel="step", ylabel="loss", title="the same bits" if outcome.identical else "loss curves differ")
    for profile, color, name in zip(outcome.profiles, ("#1f4e79", "#d1495b"), ("as it is", "with the plan"), strict=True):
        last = [moment for moment in profile.timeline if moment.step == profile.steps - 1]
        share = [index / (len(last) - 1) for index in range(len(last))]
        memory.step(share, [moment.total_bytes / 2**20 for moment in last], where="post", color=color, label=name)
    memory.axhline(outcome.made.budget_bytes / 2**20, color="black", ls="--", lw=1, label="budget")
    memory.set(xlabel="share of the step's operations", ylabel="MiB of tensors", title="memory in one step", ylim=(0, None))
    data = [[1000 * second for second in training.seconds] for training in (outcome.plain, outcome.planned)]
    times.boxplot(data, tick_labels=["as it is", "with the plan"], showfliers=False)
    times.set(ylabel="ms", title="time of a step", ylim=(0, None))
    curves.legend()
    memory.legend()
    figure.savefig(path, dpi=110)
    return path


def main(words: list[str] | None = None) -> int:
    """Train, show, judge."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--small", action="store_true", help="a smaller network and fewer steps, for tests")
    parser.add_argument("--share", type=float, default=0.6, help="budget as a share of the plain peak (0.6)")
    parser.add_argument("--out", type=Path, default=Path("out"), help="folder of the plot and the JSON (out)")
    options = parser.parse_args(words)
    size = SMALL if options.small else WHOLE
    try:
        outcome = train(size, options.share)
    except BudgetError as error:
        Console(stderr=True).print(f"{error}; pass a larger --share")
        return 1
    options.out.mkdir(parents=True, exist_ok=True)
    (options.out / "training_pipeline.json").write_text(json.dumps({"size": asdict(size)} | outcome.to_dict(), indent=2) + "\n")
    picture = plot(outcome, options.out / "training_pipeline.png")
    console = Console(width=max(Console().width, 120))
    console.print(outcome.made.table(), table(outcome), str(outcome.proof), sep="\n")
    console.print(f"joints of unseen figures were off by {outcome.error_px[0]:.2f} px before; plot: {picture}")
    console.print("losses, weights and buffers are equal in every bit" if outcome.identical else "THE TRAININGS DIFFER")
    good = outcome.identical and outcome.profiles[1].peak_bytes <= outcome.made.budget_bytes and outcome.error_px[2] <= size.wanted_px
    return 0 if good else 1


if __name__ == "__main__":
    raise SystemExit(main())
