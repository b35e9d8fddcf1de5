"""Claim: whatever callers, engines and the fleet do, no slot, count or connection is left behind,
and memory does not grow with the requests served.

`python -m benchmarks.soak [--events 10000] [--requests 1000000] [--seed 0] [--json]`; exit 1 when
anything is left or memory grows.
"""
