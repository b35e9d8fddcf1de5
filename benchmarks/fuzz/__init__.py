"""Claim: no bytes from a caller or an engine, in no order, crash the gateway, hang it, get a caller
anything but well-formed answers, or leave anything behind.

`python -m benchmarks.fuzz [--seconds 600] [--seed 0] [--json]`; exit 1 when a case fails. A failed
case is printed with the words that run it again: `--only KIND --seed SEED --first N --cases N`.
"""
