"""Checks 1, 2 and 4 on a GPU: predicted peaks, plans from end to end, and real out-of-memory."""

from __future__ import annotations

import gc
import importlib.util
import statistics
from collections.abc import Callable, Iterator

import torch
from gpu_check_parts import Finding, TwoResolutions, Vit, pictures, resnet50, seconds_of, six_stages, synchronize

from gpu_optimizer.models import build
from gpu_optimizer.planning import BudgetError, ErrorLedger, format_bytes, plan
from gpu_optimizer.planning.checkpoints import Checkpoints
from gpu_optimizer.planning.probe import untouched
from gpu_optimizer.profiling import MemoryProfile, estimate_step, measure_step
from gpu_optimizer.profiling.replay import predict_reserved
from gpu_optimizer.steps import TrainingStep
from gpu_optimizer.training import OomSafeRunner, TensorSwapper, auto_batch_size, checkpoint_candidates

MIB = 2**20
MARGIN = 0.05
Maker = Callable[[torch.device], TrainingStep]


def _registered(name: str, batch: int, **sizes: int) -> Maker:
    return lambda device: build({"model": name, **sizes}, batch=batch, device="cuda" if device.type == "cuda" else "cpu")


MODELS: dict[str, Maker] = {
    "ResNet-50, 32": lambda device: pictures(resnet50(), 32, device=device),
    "ViT-B, 16": lambda device: pictures(Vit(), 16, device=device),
    "two resolutions, 16": lambda device: pictures(TwoResolutions(), 16, 256, 192, device=device),
    "GPT-2, 4 x 512": _registered("gpt2", 4, sequence_length=512),
    "ST-GCN, 32": _registered("stgcn", 32),
    "BERT, 8 x 256": _registered("bert-base", 8, sequence_length=256),
    "U-Net, 4": _registered("unet", 4),
    "LSTM, 16": _registered("lstm", 16),
    "Llama block, 1 x 1024": _registered("llama-block", 1, sequence_length=1024),
}
PLANNED = ("ResNet-50, 32", "ViT-B, 16", "two resolutions, 16", "GPT-2, 4 x 512")


def clean(device: torch.device) -> None:
    """Nothing of the last case stays."""
    gc.collect()
    if device.type == "cuda":
        torch.cuda.empty_cache()


def peaks(*, device: torch.device, quick: bool, models: dict[str, Maker] | None = None) -> Iterator[Finding]:
    """Check 1: estimated and simulated against allocated and reserved, in four ways to run each model."""
    if device.type == "cuda":
        yield from _fixed_costs(device)
    errors: list[float] = []
    reserved: list[float] = []
    cases = list((models or MODELS).items())
    for name, make in cases[:3] if quick else cases:
        step = make(device)
        for way, changed in (("plain", step), ("checkpointed", step), ("bf16", step.replace(precision="bf16"))):
            blocks = checkpoint_candidates(step.model) if way == "checkpointed" else ()
            with Checkpoints(step.model).apply(blocks):
                estimated, measured = estimate_step(changed), measure_step(changed)
            errors.append(estimated.peak_bytes / measured.peak_bytes - 1)
            yield _peak(f"{name}, {way}", estimated, measured)
            if measured.reserved_bytes:
                reserved.append(predict_reserved(estimated.lives).peak_bytes / measured.reserved_bytes - 1)
        if device.type == "cuda":
            yield _offloaded(name, step)
        del step, changed, estimated, measured
        clean(device)
    middle = statistics.median(map(abs, errors))
    yield Finding(what="median error of the peak", figure=f"{middle:.2%} of {len(errors)}", goal="at most 3 %", passed=middle <= 0.03)
    worst = min(errors)
    yield Finding(what="furthest below", figure=f"{worst:+.2%}", goal=f"no more than {MARGIN:.0%} below", passed=worst >= -MARGIN)
    if reserved:
        middle = statistics.median(map(abs, reserved))
        yield Finding(what="median error of reserved memory", figure=f"{middle:.2%}", goal="at most 5 %", passed=middle <= 0.05)


def _peak(name: str, estimated: MemoryProfile, measured: MemoryProfile) -> Finding:
    error = estimated.peak_bytes / measured.peak_bytes - 1
    taken = "" if measured.reserved_bytes is None else f", reserved {format_bytes(measured.reserved_bytes)}"
    return Finding(what=name, figure=f"{format_bytes(estimated.peak_bytes)} for {format_bytes(measured.peak_bytes)} ({error:+.2%}){taken}")


def _offloaded(name: str, step: TrainingStep) -> Finding:
    """The measured peak with the blocks' activations on the host; there is no estimate of it to judge."""
    plain = measure_step(step).peak_bytes
    swapper = TensorSwapper(step.model, keep=list(step.sample.tensors())).attach(checkpoint_candidates(step.model))
    try:
        away = measure_step(step).peak_bytes
    finally:
        swapper.detach()
    moved = format_bytes(swapper.counters.out_bytes)
    return Finding(what=f"{name}, offloaded", figure=f"{format_bytes(away)} of {format_bytes(plain)} plain, {moved} moved in all")


def _fixed_costs(device: torch.device) -> Iterator[Finding]:
    """What CUDA itself takes: the context, cuBLAS's workspace, cuDNN's."""
    a = torch.zeros(1024, 1024, device=device)
    synchronize(device)
    free, total = torch.cuda.mem_get_info(device)
    beside = total - free - torch.cuda.memory_reserved(device)
    yield Finding(what="beside torch's allocator (context and other processes)", figure=format_bytes(beside))
    before = torch.cuda.memory_allocated(device)
    product = a @ a
    synchronize(device)
    left = torch.cuda.memory_allocated(device) - before - product.untyped_storage().nbytes()
    yield Finding(what="cuBLAS workspace of one stream", figure=format_bytes(left))
    layer = torch.nn.Conv2d(64, 64, 3, padding=1, device=device)
    picture = torch.zeros(16, 64, 112, 112, device=device)
    before = torch.cuda.memory_allocated(device)
    torch.cuda.reset_peak_memory_stats(device)
    with torch.no_grad():
        output = layer(picture)
    synchronize(device)
    above = torch.cuda.max_memory_allocated(device) - before - output.untyped_storage().nbytes()
    yield Finding(what="cuDNN workspace of a 3x3 convolution of 64 channels", figure=format_bytes(above))


def plans(
    *, device: torch.device, quick: bool, models: dict[str, Maker] | None = None, shares: tuple[int, ...] = (75, 50, 30)
) -> Iterator[Finding]:
    """Check 2: budgets of 75, 50 and 30 % of the plain peak."""
    within, timely, faster = [], [], []
    chosen = models or {name: MODELS[name] for name in (PLANNED[:2] if quick else PLANNED)}
    for name, make in chosen.items():
        step = make(device).replace(optimizer="sgd_momentum")
        plain = measure_step(step).peak_bytes
        everything = list(checkpoint_candidates(step.model))
        with Checkpoints(step.model).apply(everything):
            all_peak = measure_step(step).peak_bytes
        all_s = _seconds(step, everything)
        for share in shares:
            budget = plain * share // 100
            try:
                made = plan(step, budget=budget, search={"checkpoint"}, ledger=ErrorLedger(None), margin=0.03)
            except BudgetError as error:
                least = (
                    f"impossible, the smallest is {error.smallest_bytes / plain:.0%}; everything checkpointed needs {all_peak / plain:.0%}"
                )
                lost = all_peak * 1.03 <= budget
                yield Finding(what=f"{name} in {share} %", figure=least, goal="only where nothing fits", passed=not lost)
                continue
            with made.apply(step.model):
                peak = measure_step(step).peak_bytes
            seconds = _seconds(step, made.recomputed)
            off = seconds / made.predicted_s - 1
            within.append(peak <= budget)
            timely.append(abs(off))
            words = f"{len(made.recomputed)} recomputed, {peak / plain:.1%} measured, {1000 * seconds:.1f} ms ({off:+.0%})"
            if all_peak <= budget:
                faster.append(seconds / all_s)
                words += f"; everything checkpointed {all_peak / plain:.1%}, {1000 * all_s:.1f} ms"
            yield Finding(what=f"{name} in {share} %", figure=words, goal="within the budget", passed=within[-1])
        del step
        clean(device)
    if timely:
        middle = statistics.median(timely)
        yield Finding(what="median error of the time", figure=f"{middle:.1%}", goal="at most 10 %", passed=middle <= 0.1)
    if faster:
        slowest = max(faster)
        figure = f"{slowest:.2f} at most, median {statistics.median(faster):.2f}"
        yield Finding(what="time / checkpoint everything", figure=figure, goal="at most 1.02", passed=slowest <= 1.02)


def _seconds(step: TrainingStep, recomputed: list[str] | tuple[str, ...]) -> float:
    """Median time of a whole step with these blocks checkpointed; the model is afterwards as before."""
    with untouched(step.model, step.device), Checkpoints(step.model).apply(recomputed):
        optimizer = step.make_optimizer()
        return seconds_of(lambda: step.run(optimizer), step.device, repeats=5)


def out_of_memory(*, device: torch.device, quick: bool) -> Iterator[Finding]:
    """Check 4: at 5 % of the device, a batch too large is finished in pieces, and the finder's batch holds."""
    total = torch.cuda.get_device_properties(device).total_memory
    share = 0.05
    step = six_stages(8, 256 if quick else 384, device)
    small, large = (estimate_step(step.with_batch(size)).peak_bytes for size in (8, 16))
    per_example = max((large - small) // 8, 1)
    batch = int(3 * share * total / per_example)
    step.run(step.make_optimizer())  # workspaces of cuBLAS and cuDNN are there from now on
    step.model.zero_grad(set_to_none=True)
    images = torch.rand(batch, *next(step.sample.tensors()).shape[1:])  # on the host: pieces go over one by one
    clean(device)
    synchronize(device)
    before = torch.cuda.memory_allocated(device)
    torch.cuda.set_per_process_memory_fraction(share, device)
    try:
        runner = OomSafeRunner(lambda part: step.model(part.to(device)).square().mean())
        runner.train(images, step.model)
        step.model.zero_grad(set_to_none=True)
        clean(device)
        synchronize(device)
        after = torch.cuda.memory_allocated(device)
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0, device)
    figure = f"{runner.counters.ooms} out of memory, then {batch} examples in {runner.counters.pieces} pieces"
    yield Finding(
        what=f"a batch three times too large, in {share:.0%} of the device",
        figure=figure,
        goal="some, and through",
        passed=runner.counters.ooms > 0,
    )
    left = after - before
    yield Finding(what="left behind", figure=format_bytes(left), goal="at most 1 MiB", passed=abs(left) <= MIB)
    del images
    yield from _finder(step, int(share * total), total, device)


def _finder(step: TrainingStep, budget: int, total: int, device: torch.device) -> Iterator[Finding]:
    """The batch finder's answer in real steps, and its out-of-memory count beside accelerate's ladder."""
    clean(device)
    found = auto_batch_size(step, max_vram_percent=budget / total)
    torch.cuda.set_per_process_memory_fraction(budget / total, device)
    try:
        chosen = step.with_batch(found.batch_size)
        with untouched(step.model, device):
            optimizer = chosen.make_optimizer()
            for _ in range(3):
                chosen.run(optimizer)
        held = True
    except torch.OutOfMemoryError:
        held = False
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0, device)
    yield Finding(what="the finder's batch, three steps", figure=f"{found.batch_size} examples", goal="no out of memory", passed=held)
    yield Finding(what="out of memory while it searched", figure=str(found.oom_count), goal="at most 1", passed=found.oom_count <= 1)
    if importlib.util.find_spec("accelerate") is None:
        yield Finding(what="accelerate's finder", figure="accelerate is not there; not compared")
        return
    yield _ladder(step, found.batch_size, budget / total, device)


def _ladder(step: TrainingStep, found: int, share: float, device: torch.device) -> Finding:
    from accelerate.utils import find_executable_batch_size

    tried: list[int] = []

    def attempt(size: int) -> int:
        tried.append(size)
        chosen = step.with_batch(size)
        with untouched(step.model, device):
            optimizer = chosen.make_optimizer()
            for _ in range(3):
                chosen.run(optimizer)
        return size

    torch.cuda.set_per_process_memory_fraction(share, device)
    try:
        size = find_executable_batch_size(attempt, starting_batch_size=2 * found)()
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0, device)
        clean(device)
    return Finding(what="accelerate's finder from twice that", figure=f"{size} examples after {len(tried) - 1} out of memory")
