"""The memory of one GPU of a replica, to the byte: weights, cache, a step, and what engines keep.

Calibrated on measured KV caches of vLLM; `python -m benchmarks.planner.score --vram` says how well.

A deployment's `utilization` is what the engine's own setting is: of vLLM a share of the device, of
SGLang `mem-fraction-static`, of TensorRT-LLM a share of what is free after weights and one step.
"""

from plimsoll.plan.vram.ledger import ledger
from plimsoll.plan.vram.room import (
    Room,
    blocks,
    blocks_between,
    cache_tokens,
    largest_batch,
    room,
)
from plimsoll.plan.vram.verdict import Fit, Verdict, fits

__all__ = [
    "Fit",
    "Room",
    "Verdict",
    "blocks",
    "blocks_between",
    "cache_tokens",
    "fits",
    "largest_batch",
    "ledger",
    "room",
]
