"""Metrics of a gateway's worker processes, as their parent counts them."""

from __future__ import annotations

from collections.abc import Iterator

from plimsoll.telemetry.exposition import Described, family

WORKERS = Described(
    name="plimsoll_gateway_workers",
    kind="gauge",
    labels=(),
    help="Worker processes of the gateway that serve now",
)
ENDS = Described(
    name="plimsoll_gateway_worker_ends",
    kind="counter",
    labels=(),
    help="Worker processes that ended although nobody wanted it, and were started again",
)
SILENT = Described(
    name="plimsoll_gateway_workers_silent",
    kind="gauge",
    labels=(),
    help="Worker processes that did not tell their numbers in time: shown are their last ones",
)

WORKER = (WORKERS, ENDS, SILENT)
"""Every metric family of this module, in the order of the text."""


def worker_parts(*, serving: int, ends: int, silent: int) -> Iterator[bytes]:
    """Every family of WORKER."""
    for of, value in ((WORKERS, serving), (ENDS, ends), (SILENT, silent)):
        name = f"{of.name}_total" if of.kind == "counter" else of.name
        yield from family(of, [f"{name} {value}.0\n"], lambda line: [line])
