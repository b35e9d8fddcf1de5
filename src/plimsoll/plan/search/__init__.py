"""From traffic and objectives to configurations, and from those to the cheapest fleet."""

from __future__ import annotations

from plimsoll.plan.search.fleet import plan_fleet, search, unplanned
from plimsoll.plan.search.grounds import grounds_of, rented_grounds
from plimsoll.plan.search.refuse import NothingFits
from plimsoll.plan.search.types import (
    Candidate,
    Choice,
    Demand,
    FleetPlan,
    Found,
    Ground,
    NodesOf,
    Rejected,
)

__all__ = [
    "Candidate",
    "Choice",
    "Demand",
    "FleetPlan",
    "Found",
    "Ground",
    "NodesOf",
    "NothingFits",
    "Rejected",
    "grounds_of",
    "plan_fleet",
    "rented_grounds",
    "search",
    "unplanned",
]
