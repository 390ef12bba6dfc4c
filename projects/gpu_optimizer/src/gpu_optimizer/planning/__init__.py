"""Plan a training step for a memory budget, put the plan in force, prove it.

`plan` chooses, `Plan.apply` does it, `Plan.verify` measures what came of it.
"""

from gpu_optimizer.planning.apply import AppliedPlan, Verification, micro_batches, verify
from gpu_optimizer.planning.economy import cheapest_plans
from gpu_optimizer.planning.ledger import ErrorLedger, LedgerEntry, default_ledger_path
from gpu_optimizer.planning.machine import Machine
from gpu_optimizer.planning.planner import BudgetError, plan
from gpu_optimizer.planning.plans import Alternative, BlockPlan, Plan
from gpu_optimizer.planning.sizes import format_bytes, parse_bytes

__all__ = [
    "Alternative",
    "AppliedPlan",
    "BlockPlan",
    "BudgetError",
    "ErrorLedger",
    "LedgerEntry",
    "Machine",
    "Plan",
    "Verification",
    "cheapest_plans",
    "default_ledger_path",
    "format_bytes",
    "micro_batches",
    "parse_bytes",
    "plan",
    "verify",
]
