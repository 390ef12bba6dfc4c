"""What the commands share: options, sizes as text, progress on standard error, and where a model comes from."""

from __future__ import annotations

import json
import os
import sys
import traceback
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, cast

import typer
import yaml
from rich.console import Console

from gpu_optimizer.errors import ModelSpecError

if TYPE_CHECKING:
    from gpu_optimizer.steps import TrainingStep

MODEL_HELP = "Name (see `gpu-optimizer models`), torchvision:NAME, a configuration file (JSON, YAML), or module:function."

JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON for machines.")]
ModelArgument = Annotated[str, typer.Argument(help=MODEL_HELP)]
BatchOption = Annotated[int | None, typer.Option(min=1, max=65536, help="Examples per micro-batch.  [default: the model's own]")]
PrecisionOption = Annotated[Literal["fp32", "tf32", "bf16", "fp16"], typer.Option(help="Number format of the forward pass.")]
OptimizerOption = Annotated[Literal["sgd", "sgd_momentum", "adam", "adamw", "none"], typer.Option(help="Optimizer.")]
AccumulationOption = Annotated[int, typer.Option(min=1, max=1024, help="Micro-batches per optimizer step.")]

Device = Literal["meta", "cpu", "cuda"]
DeviceOption = Annotated[Literal["cpu", "cuda"], typer.Option(help="Where it runs; CUDA_VISIBLE_DEVICES chooses among several GPUs.")]

_REGISTRY_PREFIXES = ("torchvision",)


def print_json(values: Any) -> None:
    """One JSON document on standard output."""
    typer.echo(json.dumps(values, indent=2, default=str))


def show(*parts: Any) -> None:
    """Tables and texts on standard output."""
    console = Console()
    for part in parts:
        console.print(part)


@contextmanager
def working(text: str) -> Iterator[None]:
    """Say on standard error what takes long, with a spinner where somebody looks."""
    console = Console(stderr=True)
    if console.is_terminal:
        with console.status(text):
            yield
    else:
        yield


def gib(count: float | None) -> str:
    """Bytes as people read them.

    Example:
        >>> gib(22 * 2**30), gib(1536), gib(None)
        ('22.0 GiB', '1.5 KiB', '-')
    """
    if count is None:
        return "-"
    for unit, size in (("GiB", 2**30), ("MiB", 2**20), ("KiB", 2**10)):
        if abs(count) >= size:
            return f"{count / size:.1f} {unit}"
    return f"{count:.0f} B"


def load_step(
    spec: str,
    *,
    batch: int | None = None,
    precision: str = "fp32",
    optimizer: str = "adamw",
    accumulation: int = 1,
    device: Device = "meta",
) -> TrainingStep:
    """A training step from what was written on the command line.

    Args:
        spec: A name of the registry, `torchvision:NAME`, a configuration file, or `module:function`; the function is
            imported from the working directory and gives `(model, sample)` or a `TrainingStep`.
        batch: Examples per micro-batch.
        precision: Number format.
        optimizer: Name, or "none".
        accumulation: Micro-batches per step.
        device: Where the model is built; one from a function is moved there.

    Raises:
        ModelSpecError: There is no such model; the text says what would be right.
    """
    changes = {"precision": precision, "optimizer": None if optimizer == "none" else optimizer, "accumulation": accumulation}
    module, colon, function = spec.partition(":")
    if colon and module not in _REGISTRY_PREFIXES and not Path(spec).is_file():
        step = _from_function(module, function, device)
        return (step if batch is None else step.with_batch(batch)).replace(**changes)
    found: str | Mapping[str, Any] = _configuration(Path(spec)) if Path(spec).suffix in (".json", ".yaml", ".yml") else spec
    from gpu_optimizer.models import build

    return build(found, batch=batch, device=device).replace(**changes)


def check_writable(*paths: Path | None, pictures: Iterable[Path | None] = ()) -> None:
    """Refuse files that could not be written afterwards, before anything is run for them.

    Raises:
        ModelSpecError: A folder is missing or not writable, the name is a folder's, or a picture's ending is not known.
    """
    for path in (*paths, *pictures):
        if path is not None and (path.is_dir() or not path.parent.is_dir() or not os.access(path.parent, os.W_OK)):
            raise ModelSpecError(f"{path} cannot be written; name a file in a folder that is there")
    for path in pictures:
        if path is not None and path.suffix.lower() not in (".png", ".svg", ".pdf"):
            raise ModelSpecError(f"{path}: a picture ends in .png, .svg or .pdf")


def _last_line(error: BaseException) -> str:
    """Where in the user's own code it happened."""
    frames = traceback.extract_tb(error.__traceback__)
    return f"{Path(frames[-1].filename).name}:{frames[-1].lineno}"


def _configuration(path: Path) -> Mapping[str, Any]:
    try:
        text = path.read_text("utf-8")
        found = json.loads(text) if path.suffix == ".json" else yaml.safe_load(text)
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise ModelSpecError(f"{path} cannot be read ({error}); it needs model_type and sizes, as Hugging Face writes them") from error
    if not isinstance(found, dict):
        raise ModelSpecError(f"{path}: expected a mapping with model_type and sizes, got {type(found).__name__}")
    return found


def _from_function(module: str, function: str, device: Device) -> TrainingStep:
    sys.path.insert(0, str(Path.cwd()))
    try:
        make = getattr(import_module(module), function, None)
        made = None if make is None else make()
    except ModuleNotFoundError as error:
        raise ModelSpecError(f"{module}:{function}: {error}; give a module that Python finds from here") from error
    except Exception as error:
        raise ModelSpecError(f"{module}:{function} failed: {type(error).__name__}: {error} ({_last_line(error)})") from error
    finally:
        sys.path.remove(str(Path.cwd()))
    if make is None:
        raise ModelSpecError(f"{module} has no {function!r}; name a function that returns (model, sample) or a TrainingStep")
    from gpu_optimizer.steps import TrainingStep

    if isinstance(made, TrainingStep):
        step = made
    elif isinstance(made, tuple) and len(made) == 2:
        step = TrainingStep.of(made[0], made[1])
    else:
        raise ModelSpecError(f"{module}:{function} gave {type(made).__name__}; expected (model, sample) or a TrainingStep")
    if device == "meta":  # a model that is here is estimated where it is
        return step
    step.model.to(device)
    return cast("TrainingStep", step.replace(sample=step.sample.to(device)))
