"""Claim: ours costs no more CPU than Envoy and less than every router written for models.

`python -m benchmarks.gateway [--peers DIR] [--rounds N] [--only a,b] [--json]`; the README says
how DIR is made. What is not found is left out and named.
"""
