"""What should run: configurations, placements, their memory, speed and price, and the reasons.

May live here: arithmetic over facts and the fleet. May not: files, clocks, processes.

`plan.local` plans one computer, `plan.search` accelerators; what they yield is here.
"""

from plimsoll.plan.types import Accelerators, Ledger, Machine, Placement, Plan, Term

__all__ = ["Accelerators", "Ledger", "Machine", "Placement", "Plan", "Term"]
