"""Plan a training step for a memory budget, put the plan in force, prove it.

`plan` chooses, `Plan.apply` does it, `Plan.verify` measures what came of it. Names load their modules when they are
first asked for, so this room alone imports no torch.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gpu_optimizer.lazy_names import lazy_names

if TYPE_CHECKING:
    from gpu_optimizer.planning.apply import AppliedPlan, Verification, verify
    from gpu_optimizer.planning.batches import micro_batches
    from gpu_optimizer.planning.economy import cheapest_plans
    from gpu_optimizer.planning.ledger import ErrorLedger, LedgerEntry, default_ledger_path
    from gpu_optimizer.planning.machine import Machine
    from gpu_optimizer.planning.planner import plan
    from gpu_optimizer.planning.plans import Alternative, BlockPlan, Plan
    from gpu_optimizer.planning.request import BudgetError, PlanOptions
    from gpu_optimizer.planning.sizes import format_bytes, parse_bytes

_HOME = {
    "AppliedPlan": "apply",
    "Verification": "apply",
    "micro_batches": "batches",
    "verify": "apply",
    "cheapest_plans": "economy",
    "ErrorLedger": "ledger",
    "LedgerEntry": "ledger",
    "default_ledger_path": "ledger",
    "Machine": "machine",
    "plan": "planner",
    "Alternative": "plans",
    "BlockPlan": "plans",
    "Plan": "plans",
    "BudgetError": "request",
    "PlanOptions": "request",
    "format_bytes": "sizes",
    "parse_bytes": "sizes",
}

__all__ = [
    "Alternative",
    "AppliedPlan",
    "BlockPlan",
    "BudgetError",
    "ErrorLedger",
    "LedgerEntry",
    "Machine",
    "Plan",
    "PlanOptions",
    "Verification",
    "cheapest_plans",
    "default_ledger_path",
    "format_bytes",
    "micro_batches",
    "parse_bytes",
    "plan",
    "verify",
]

__getattr__, __dir__ = lazy_names(__name__, _HOME)
