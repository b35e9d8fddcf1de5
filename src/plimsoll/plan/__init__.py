"""What should run: placements, their memory, and the reasons.

May live here: arithmetic over facts and the fleet. May not: files, clocks, processes.
"""

from plimsoll.plan.fit import LedgerDoesNotFit, Nearest
from plimsoll.plan.local import plan_local
from plimsoll.plan.types import Ledger, Machine, Placement, Plan, Term

__all__ = [
    "Ledger",
    "LedgerDoesNotFit",
    "Machine",
    "Nearest",
    "Placement",
    "Plan",
    "Term",
    "plan_local",
]
