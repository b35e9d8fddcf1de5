"""The metric that makes HPA end at a given number of replicas. Pure.

HPA reckons, for an external metric with a target average value, `ceil(metric / target)` replicas,
and leaves the number as it is where `metric / (target * current)` is within its tolerance of 1.
Source: kubernetes/kubernetes, pkg/controller/podautoscaler/replica_calculator.go, 1.36.
"""

from __future__ import annotations

NAME = "plimsoll-replicas"
TARGET = 1000
"""What one replica is worth. Everything above `(wanted - 1) * TARGET`, up to `wanted * TARGET`, is
`wanted` replicas; HPA's quantities are exact to a thousandth of one."""


def value(wanted: int, current: int | None) -> int:
    """The metric for so many replicas, where there are `current` ones (None: not known).

    Each value that means `wanted` lies between those two bounds, so HPA ends at it from any number
    whenever it moves at all. It moves unless it takes the change for small: to move up the metric
    is the highest that means `wanted`, to move down the lowest. With a tolerance of 0, which the
    rendered objects ask for where Kubernetes has it, it always moves. With 10 % it stays where
    `wanted` is above `current` by a tenth of it or less, or below it by about as little and
    `current` is 20 or more: no metric and no target can say otherwise, since the ratio that would
    give `wanted` is within the tolerance itself.
    """
    if current is not None and 0 < wanted < current:
        return (wanted - 1) * TARGET + 1
    return wanted * TARGET
