"""What a machine without a GPU cannot prove: ten checks on a CUDA device, in at most 8 minutes.

    python projects/gpu_optimizer/benchmarks/gpu_checks.py [--only 1,3] [--quick] [--out FOLDER]

Needs torch (2.11 or newer), numpy and this package. Every check runs in a process of its own with a time limit, so a
failure, a hang or an out-of-memory in one leaves the others alone; what it found before that is kept. A table goes to
standard output, gpu_checks.json and gpu_checks.md to the folder. Exit 0: all goals met; 1: something was missed, failed or
did not finish; 3: there is no CUDA device.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from gpu_check_parts import Finding

TOTAL_S = 470.0
HERE = Path(__file__).resolve()


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One of the ten checks.

    Args:
        number: As `--only` names it.
        title: What it is about.
        place: "module:function" that yields findings, given `device` and `quick`.
        limit_s: After so long it is ended.
        environment: Variables that must be set before CUDA starts.
    """

    number: int
    title: str
    place: str
    limit_s: float
    environment: Mapping[str, str]


def _check(number: int, title: str, place: str, limit_s: float, **environment: str) -> Check:
    return Check(number=number, title=title, place=place, limit_s=limit_s, environment=environment)


CHECKS = (
    _check(1, "peak: predicted against the allocator's", "gpu_check_memory:peaks", 110),
    _check(2, "plans from budget to measurement", "gpu_check_memory:plans", 110),
    _check(3, "offload: right, fast, without growth", "gpu_check_offload:offload", 45, CUBLAS_WORKSPACE_CONFIG=":4096:8"),
    _check(4, "real out-of-memory and the batch finder", "gpu_check_memory:out_of_memory", 45),
    _check(5, "fragmentation and the allocator simulator", "gpu_check_offload:fragmentation", 40),
    _check(6, "TF32, bf16, fp16: time and drift", "gpu_check_speed:precisions", 40),
    _check(7, "CUDA graphs: equal, latency, shared pool", "gpu_check_speed:graphs", 25),
    _check(8, "two models: one stream, two streams", "gpu_check_speed:streams", 20),
    _check(9, "batches: rate, and waiting under load", "gpu_check_speed:batching", 35),
    _check(10, "gauges against nvidia-smi", "gpu_check_speed:gauges", 20),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """What came of one check.

    Args:
        number: Of the check.
        title: Of the check.
        findings: What it found, as far as it came.
        seconds: How long it took.
        problem: Why it ended early; None where it went through.
    """

    number: int
    title: str
    findings: tuple[Finding, ...]
    seconds: float
    problem: str | None

    @property
    def passed(self) -> bool:
        """Whether it went through, found something, and met every goal."""
        return self.problem is None and bool(self.findings) and all(finding.passed is not False for finding in self.findings)

    @property
    def verdict(self) -> str:
        """In a word."""
        return "passed" if self.passed else "missed" if self.problem is None else "not finished"

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON types."""
        return asdict(self) | {"passed": self.passed, "verdict": self.verdict}


def run_apart(check: Check, *, limit_s: float, quick: bool, command: Sequence[str] | None = None) -> Result:
    """One check in a process of its own; whatever happens to it, there is a result.

    Args:
        check: Which one.
        limit_s: Ended after so long, with every process it started.
        quick: Smaller.
        command: Another program to start, for tests; the file for its findings is appended.
    """
    begin = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        findings, said = Path(folder) / "findings.jsonl", Path(folder) / "stderr.txt"
        words = [*(command or [sys.executable, str(HERE), "--child", str(check.number), *(["--quick"] if quick else [])])]
        with said.open("wb") as errors:
            process = subprocess.Popen(
                [*words, "--findings", str(findings)],
                env={**os.environ, **check.environment},
                stdout=errors,
                stderr=errors,
                start_new_session=True,
            )
            try:
                code: int | None = process.wait(timeout=limit_s)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
                code = None
        problem = None
        if code is None:
            problem = f"ended after {limit_s:.0f} s"
        elif code != 0:
            last = [line.strip() for line in said.read_text(errors="replace").splitlines() if line.strip()]
            problem = f"exit {code}: {last[-1][:300] if last else 'nothing was said'}"
        return Result(
            number=check.number,
            title=check.title,
            findings=tuple(_read(findings)),
            seconds=time.perf_counter() - begin,
            problem=problem,
        )


def run_all(checks: Iterable[Check], run: Callable[[Check, float], Result], *, total_s: float = TOTAL_S) -> list[Result]:
    """All checks one after the other within a total time; those for which none is left say so.

    Args:
        checks: Which ones.
        run: Runs a check within a limit.
        total_s: For all together.
    """
    results, end = [], time.perf_counter() + total_s
    for check in checks:
        left = min(check.limit_s, end - time.perf_counter())
        if left < 2:
            results.append(Result(number=check.number, title=check.title, findings=(), seconds=0.0, problem="no time was left"))
            continue
        results.append(run(check, left))
        print(f"{check.number:2d} {check.title}: {results[-1].verdict}, {results[-1].seconds:.0f} s", file=sys.stderr, flush=True)
    return results


def _read(path: Path) -> Iterable[Finding]:
    if not path.exists():
        return
    for line in path.read_text(encoding="utf-8").splitlines():
        try:
            yield Finding(**json.loads(line))
        except (ValueError, TypeError):  # the last line of a process that was ended while it wrote
            continue


def run_child(check: Check, path: Path, *, quick: bool) -> int:
    """The check itself; every finding is written down at once."""
    import torch

    module, function = check.place.split(":")
    found = getattr(importlib.import_module(module), function)
    try:
        with path.open("a", encoding="utf-8") as file:
            for finding in found(device=torch.device("cuda", 0), quick=quick):
                file.write(json.dumps(asdict(finding), default=str) + "\n")
                file.flush()
    except Exception as error:  # noqa: BLE001 - whatever it is, it is this check's result
        traceback.print_exc()
        print(f"{type(error).__name__}: {error}".splitlines()[0], file=sys.stderr)
        return 1
    return 0


def machine() -> dict[str, str]:
    """What the figures hold for."""
    import torch

    properties = torch.cuda.get_device_properties(0)
    return {
        "gpu": properties.name,
        "compute capability": f"{properties.major}.{properties.minor}",
        "memory": f"{properties.total_memory / 2**30:.1f} GiB",
        "torch": torch.__version__,
        "CUDA": str(torch.version.cuda),
        "cuDNN": str(torch.backends.cudnn.version()),
        "driver": _driver(),
    }


def _driver() -> str:
    try:
        said = subprocess.run(
            ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"], capture_output=True, text=True, timeout=20, check=True
        )
        return said.stdout.split("\n")[0].strip()
    except (OSError, subprocess.SubprocessError):
        return "not known"


def text_table(results: Iterable[Result]) -> str:
    """For the terminal."""
    lines = []
    for result in results:
        lines.append(f"\n{result.number}. {result.title}: {result.verdict} ({result.seconds:.0f} s)")
        for finding in result.findings:
            mark = {True: "ok  ", False: "MISS", None: "    "}[finding.passed]
            lines.append(f"   {mark} {finding.what}: {finding.figure}" + (f"  (goal: {finding.goal})" if finding.goal else ""))
        if result.problem:
            lines.append(f"   MISS {result.problem}")
    return "\n".join(lines)


def markdown(results: Sequence[Result], about: Mapping[str, str]) -> str:
    """For documents."""
    met = sum(result.passed for result in results)
    lines = [", ".join(f"{name} {value}" for name, value in about.items()) + f": {met} of {len(results)} checks passed.", ""]
    lines += ["| check | what | figure | goal | verdict |", "|---|---|---|---|---|"]
    for result in results:
        for finding in result.findings:
            word = {True: "met", False: "**missed**", None: ""}[finding.passed]
            lines.append(
                f"| {result.number} | " + " | ".join(_cell(text) for text in (finding.what, finding.figure, finding.goal, word)) + " |"
            )
        if result.problem:
            lines.append(f"| {result.number} | {_cell(result.title)} | {_cell(result.problem)} | | **not finished** |")
    return "\n".join(lines) + "\n"


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")


def chosen(words: str | None) -> list[Check]:
    """Checks by their numbers, "1,3"; all without any.

    Raises:
        ValueError: One is not there.
    """
    if words is None:
        return list(CHECKS)
    numbers = [int(word) for word in words.split(",") if word.strip()]
    known = {check.number: check for check in CHECKS}
    if unknown := [number for number in numbers if number not in known] or ([] if numbers else ["none"]):
        raise ValueError(f"--only: expected numbers from 1 to {len(CHECKS)} such as 1,3, got {words!r} ({unknown[0]} is none)")
    return [known[number] for number in dict.fromkeys(numbers)]


def main(words: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", help="numbers of checks, as 1,3")
    parser.add_argument("--quick", action="store_true", help="fewer models and rounds")
    parser.add_argument("--out", type=Path, default=Path("out"), help="folder of gpu_checks.json and gpu_checks.md (out)")
    parser.add_argument("--total", type=float, default=TOTAL_S, help=f"seconds for all checks together ({TOTAL_S:.0f})")
    parser.add_argument("--child", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--findings", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args(words)
    try:
        checks = chosen(options.only)
    except ValueError as error:
        parser.error(str(error))
    import torch

    if not torch.cuda.is_available():
        print("no CUDA device: these checks need one; everything else is tested without", file=sys.stderr)
        return 3
    if options.child is not None:
        return run_child(CHECKS[options.child - 1], options.findings, quick=options.quick)
    results = run_all(checks, lambda check, limit: run_apart(check, limit_s=limit, quick=options.quick), total_s=options.total)
    about = machine()
    options.out.mkdir(parents=True, exist_ok=True)
    plain = {"machine": about, "quick": options.quick, "checks": [result.to_dict() for result in results]}
    (options.out / "gpu_checks.json").write_text(json.dumps(plain, indent=2) + "\n", encoding="utf-8")
    (options.out / "gpu_checks.md").write_text(markdown(results, about), encoding="utf-8")
    print(", ".join(f"{name} {value}" for name, value in about.items()))
    print(text_table(results))
    return 0 if all(result.passed for result in results) else 1


if __name__ == "__main__":
    raise SystemExit(main())
