"""Metrics of what engines say of themselves, as the gateway saw it when it last looked."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from plimsoll.telemetry.exposition import Described, escaped, family


def _of_engine(name: str, kind: str, text: str) -> Described:
    return Described(
        name=f"plimsoll_engine_{name}", kind=kind, labels=("model",), help=text, across="max"
    )


_SEEN = "; each gateway sees all of it, so that they must not be added up"

RUNNING = _of_engine(
    "running", "gauge", f"Requests that a model's replicas work on, whoever sent them{_SEEN}"
)
WAITING = _of_engine(
    "waiting", "gauge", f"Requests that wait in a model's replicas, whoever sent them{_SEEN}"
)
KV_USAGE = _of_engine(
    "kv_usage", "gauge", "Share of the KV cache in use at the fullest replica of a model, 0 to 1"
)
KNOWN = _of_engine(
    "replicas_known", "gauge", "Replicas whose own counts are known; the sums are over these"
)
AGE = _of_engine(
    "look_age_seconds", "gauge", "Seconds since the oldest look that is still believed"
)
FAILED = _of_engine("look_failures", "counter", "Looks at replicas' metrics that told nothing")

ENGINE = (RUNNING, WAITING, KV_USAGE, KNOWN, AGE, FAILED)
"""Every metric family of this module, in the order of the text."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineSeen:
    """What is known of one model's replicas; no numbers where nothing is, for it is not zero.

    known     replicas that told something which is still believed
    running   requests, over these
    waiting   requests, over these
    kv_usage  the largest share of a KV cache, over these; None where none says so
    age       seconds since the oldest of their words
    failed    looks that told nothing, since the gateway's start
    """

    model: str
    known: int
    running: int
    waiting: int
    kv_usage: float | None
    age: float
    failed: int


class EngineMetrics:
    """Shows what `seen` tells at every scrape."""

    def __init__(self, seen: Callable[[], Iterable[EngineSeen]]) -> None:
        self._seen = seen

    def parts(self) -> Iterator[bytes]:
        """Every family of ENGINE, as a Source."""
        rows = sorted(self._seen(), key=lambda each: each.model)
        known = [each for each in rows if each.known]
        yield from _gauge(RUNNING, [(each.model, float(each.running)) for each in known])
        yield from _gauge(WAITING, [(each.model, float(each.waiting)) for each in known])
        shares = ((each.model, each.kv_usage) for each in known)
        yield from _gauge(KV_USAGE, [(name, use) for name, use in shares if use is not None])
        yield from _gauge(KNOWN, [(each.model, float(each.known)) for each in rows])
        yield from _gauge(AGE, [(each.model, each.age) for each in known])
        yield from _gauge(FAILED, [(each.model, float(each.failed)) for each in rows])


def _gauge(of: Described, rows: list[tuple[str, float]]) -> Iterator[bytes]:
    name = f"{of.name}_total" if of.kind == "counter" else of.name

    def sample(row: tuple[str, float]) -> Iterator[str]:
        yield f'{name}{{model="{escaped(row[0])}"}} {row[1]!r}\n'

    return family(of, rows, sample)
