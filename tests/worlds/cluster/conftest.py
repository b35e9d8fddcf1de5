from __future__ import annotations

from tests.worlds.cluster.api import api

__all__ = ["api"]
