"""What torch does otherwise than it is written about: names not to use, calls not to guard by `try`, fake tensors not to put on CUDA."""

from __future__ import annotations

import ast
import importlib.metadata
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from gpu_optimizer import _torch_private
from gpu_optimizer.profiling import estimate_step
from gpu_optimizer.profiling.fake import fake_device
from gpu_optimizer.steps import TrainingStep, tf32_allowed

ROOT = Path(__file__).parents[1]
SOURCES = sorted((ROOT / "src").rglob("*.py"))
ADAPTER = ROOT / "src" / "gpu_optimizer" / "_torch_private.py"

BANNED = {
    "torch.cuda.amp": "torch.amp takes the device as an argument; the old names warn",
    "torch.backends.cuda.matmul.allow_tf32": "mixed with fp32_precision, reading either raises",
    "torch.backends.cudnn.allow_tf32": "as above",
    "torch.set_float32_matmul_precision": "as above",
    "torch.cuda.memory._set_allocator_settings": "deprecated; PYTORCH_ALLOC_CONF is read once, before CUDA is first used",
    "torch._dynamo.config.activation_memory_budget": "does not exist; it is in torch._functorch.config, and needs torch.compile",
    "torch.ao.quantization": "deprecated",
    "CheckpointPolicy.MUST_CPU_OFFLOAD": "eager checkpoints take it for RECOMPUTE without a word",
    "CheckpointPolicy.PREFER_CPU_OFFLOAD": "as above",
}


WELL_KNOWN = {"torch.nn.modules.batchnorm._BatchNorm"}
"""Private by name only: the base of all batch norms, by which torch's own documentation has them found."""


def _dotted(node: ast.AST) -> str:
    """`torch.cuda.Stream` for the attribute that is written so, else an empty text."""
    parts = []
    while isinstance(node, ast.Attribute):
        parts.append(node.attr)
        node = node.value
    return ".".join([node.id, *reversed(parts)]) if isinstance(node, ast.Name) and parts else ""


def _names(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and (name := _dotted(node)):
            yield name
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)


def _is_private(name: str) -> bool:
    return name.startswith("torch.") and any(part.startswith("_") and not part.endswith("__") for part in name.split("."))


def test_names_that_torch_deprecates_or_does_not_have_are_not_used() -> None:
    found = [(path.name, name) for path in SOURCES for name in _names(ast.parse(path.read_text("utf-8"))) if name.startswith(tuple(BANNED))]
    assert found == []


def test_private_names_of_torch_are_in_one_file() -> None:
    assert any(_is_private(name) for name in _names(ast.parse(ADAPTER.read_text("utf-8"))))
    found = {
        (path.name, name)
        for path in SOURCES
        if path != ADAPTER
        for name in _names(ast.parse(path.read_text("utf-8")))
        if _is_private(name) and name not in WELL_KNOWN
    }
    assert found == set()


def test_no_call_site_finds_out_by_try_and_except_what_the_machine_can_do() -> None:
    """On a machine without CUDA the calls fail in five ways, three of them RuntimeErrors as real errors are: ask first."""
    found = [
        (path.name, name)
        for path in SOURCES
        for tried in ast.walk(ast.parse(path.read_text("utf-8")))
        if isinstance(tried, ast.Try) and tried.handlers
        for part in tried.body
        for name in _names(part)
        if name.startswith(("torch.cuda.", "torch.accelerator."))
    ]
    assert found == []


def test_checkpoints_never_reenter() -> None:
    """`use_reentrant` has no good default: every call of torch's checkpoint says False."""
    calls = [
        {word.arg: ast.unparse(word.value) for word in node.keywords}
        for path in SOURCES
        for node in ast.walk(ast.parse(path.read_text("utf-8")))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "checkpoint"
    ]
    assert calls
    assert all(words.get("use_reentrant") == "False" for words in calls)


def test_fake_tensors_are_on_the_cpu_where_there_is_no_cuda(monkeypatch: pytest.MonkeyPatch) -> None:
    """A fake tensor on "cuda" ends the process of a torch built for CPUs, without an exception to catch."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert fake_device(torch.device("cuda", 3)) == torch.device("cpu")
    assert fake_device(torch.device("meta")) == torch.device("cpu")


def test_157869_fake_tensors_on_cuda_name_the_device_by_its_number(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "current_device", lambda: 2)
    assert fake_device(torch.device("cuda")) == torch.device("cuda", 2)
    assert fake_device(torch.device("cuda", 1)) == torch.device("cuda", 1)


def test_an_estimate_for_cuda_goes_through_convolution_norm_and_product_without_cuda() -> None:
    """Where this goes wrong there is no failure to read: the process is gone."""
    net = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.Flatten(), torch.nn.LayerNorm(144), torch.nn.Linear(144, 2))
    assert estimate_step(TrainingStep.of(net, torch.zeros(2, 3, 8, 8)), target="cuda").device == "cuda"


def test_3628_history_is_recorded_with_python_stacks_only(monkeypatch: pytest.MonkeyPatch) -> None:
    """With torch's default, stacks of C++ too, one dump took 461 s instead of 4."""
    import torch.cuda.memory

    asked: list[dict[str, Any]] = []
    monkeypatch.setattr(torch.cuda.memory, "_record_memory_history", lambda **words: asked.append(words))
    _torch_private.record_cuda_memory_history(1_000_000)
    _torch_private.record_cuda_memory_history(None)
    assert asked == [{"stacks": "python", "max_entries": 1_000_000}, {"enabled": None}]


def test_tf32_is_put_back_also_after_an_error() -> None:
    parts = (torch.backends.cuda.matmul, torch.backends.cudnn.conv)
    before = [part.fp32_precision for part in parts]
    step = TrainingStep.of(torch.nn.Linear(2, 2), torch.ones(3, 2), precision="tf32", optimizer=None)
    seen: list[str] = []

    def loss(_: torch.Tensor) -> torch.Tensor:
        seen.extend(part.fp32_precision for part in parts)
        raise KeyError("label")

    with pytest.raises(KeyError):
        step.replace(loss=loss).run()
    with tf32_allowed(), tf32_allowed():
        pass
    assert seen == ["tf32", "tf32"]
    assert [part.fp32_precision for part in parts] == before


def test_bf16_has_no_scaler() -> None:
    step = TrainingStep.of(torch.nn.Linear(2, 2), torch.ones(3, 2))
    assert [step.replace(precision=precision).make_scaler() for precision in ("fp32", "tf32", "bf16")] == [None] * 3


def test_pynvml_is_the_one_of_nvidia_ml_py() -> None:
    """The distribution named pynvml is deprecated, and there is no module nvidia_ml_py."""
    assert importlib.metadata.packages_distributions()["pynvml"] == ["nvidia-ml-py"]
    assert not any(name.startswith("nvidia_ml_py") for path in SOURCES for name in _names(ast.parse(path.read_text("utf-8"))))


def test_965_4527_activations_are_a_part_of_the_estimate() -> None:
    """Others' "memory needs" are multiples of the parameters and were 15 to 40 times too low."""
    model = torch.nn.Sequential(*(torch.nn.Sequential(torch.nn.Linear(16, 16), torch.nn.Tanh()) for _ in range(8)))
    profile = estimate_step(TrainingStep.of(model, torch.zeros(4096, 16)))
    four_times_parameters = 4 * 4 * sum(parameter.numel() for parameter in model.parameters())
    assert profile.peak_bytes > 15 * four_times_parameters
    assert profile.by_category_at_peak["activations"] >= 8 * 4096 * 16 * 4  # what each Tanh keeps
