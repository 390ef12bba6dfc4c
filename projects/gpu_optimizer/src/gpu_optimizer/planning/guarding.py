"""Number formats are not taken on trust: a format the plan would change to is first tried on the user's own sample."""

from __future__ import annotations

from gpu_optimizer._torch_private import fake_tensor_type
from gpu_optimizer.errors import PrecisionError
from gpu_optimizer.planning.checkpoints import Checkpoints
from gpu_optimizer.planning.request import Found, Request
from gpu_optimizer.training import guard_precision, is_oom, release_memory


class FormatGuard:
    """Which formats harm the model, found out when a plan would be the first to use one.

    The step runs in fp32 and in the format, in the micro-batch and with the checkpoints of the plan, so that it needs
    little more than the plan does; the model comes out as it went in. The format the step was given in is never judged.

    Args:
        request: What is planned.
        notes: Where the reasons go.
    """

    def __init__(self, request: Request, notes: list[str]) -> None:
        self._request = request
        self._notes = notes
        self._verdicts: dict[str, str | None] = {}  # a format and why it may not be used, None where it may

    def refused(self, precision: str) -> bool:
        """Whether the format was found to harm the model."""
        return self._verdicts.get(precision) is not None

    def passes(self, found: Found) -> bool:
        """Whether a way may be used in its format; tried once for each format."""
        precision = found.scenario.step.precision
        if precision == self._request.step.precision:
            return True
        if precision not in self._verdicts:
            self._verdicts[precision] = reason = self._judge(found)
            if reason is not None:
                self._notes.append(f"{precision} is left out: {reason}")
        return not self.refused(precision)

    def conclude(self, best: Found) -> None:
        """Say of the plan's own format why nobody tried it, where that is so."""
        precision = best.scenario.step.precision
        if precision != self._request.step.precision and (why := self._untestable(best)):
            self._notes.append(f"{precision} is not guarded: {why}; run training.guard_precision on real weights before you train in it")

    def _judge(self, found: Found) -> str | None:
        if self._untestable(found):
            return None
        step = found.scenario.step.replace(accumulation=1)
        self._request.progress(f"trying {step.precision} against fp32")
        ran_out = False
        try:
            with Checkpoints(step.model).apply(found.treatment.recomputed):
                guard_precision(step, step.precision)
        except PrecisionError as error:
            return str(error)
        except (RuntimeError, MemoryError) as error:
            if not is_oom(error):
                raise
            ran_out = True
        if ran_out:
            release_memory()
            return "memory ran out while it was compared with fp32, which needs more; guard it on a smaller sample"
        return None

    def _untestable(self, found: Found) -> str | None:
        step = found.scenario.step
        tensors = [*step.model.parameters(), *step.model.buffers(), *step.sample.tensors()]
        if any(tensor.device.type == "meta" or isinstance(tensor, fake_tensor_type()) for tensor in tensors):
            return "the model has no values here (it is on the meta device, or fake)"
        if step.precision == "tf32" and step.device.type != "cuda":
            return "the model is not on a CUDA device, and only there it exists"
        return None
