"""What computing costs: dated prices, cost of a step, an epoch, a million inferences, and the cheapest machine."""

from gpu_optimizer.costing.amounts import Amount
from gpu_optimizer.costing.costs import CostTable, MachineCost, cheapest, cost_per_epoch, cost_per_million, cost_per_step
from gpu_optimizer.costing.importers import read_gpuhunt, read_skypilot
from gpu_optimizer.costing.own import OwnMachine
from gpu_optimizer.costing.prices import Price, PriceBook
from gpu_optimizer.costing.resources import known_machines
from gpu_optimizer.costing.scaling import ScaledTime, machine_for, scale_time

__all__ = [
    "Amount",
    "CostTable",
    "MachineCost",
    "OwnMachine",
    "Price",
    "PriceBook",
    "ScaledTime",
    "cheapest",
    "cost_per_epoch",
    "cost_per_million",
    "cost_per_step",
    "known_machines",
    "machine_for",
    "read_gpuhunt",
    "read_skypilot",
    "scale_time",
]
