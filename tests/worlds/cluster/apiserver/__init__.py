"""A Kubernetes API server in memory, for tests: see `tests/worlds/cluster/api.py`."""
