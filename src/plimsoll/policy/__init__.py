"""What to do next: decisions as pure functions of what is seen.

May live here: snapshots and actions as plain data, scaling, reconciling, routing and retry
rules. May not: clocks, randomness, I/O; time is an argument.
"""
