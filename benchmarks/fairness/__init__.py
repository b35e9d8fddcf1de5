"""Claim: a tenant that floods gets its share and no more, and another's p99 stays within 1.3 times
of what it is alone on replicas scaled to its share.

`python -m benchmarks.fairness [--engine simulated|stub|real] [--seconds 20] [--json]`; exit 1 when
a limit is missed.
"""
