"""How often a failed try is repeated, and how long in between. Bounded in every case."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeVar

from plimsoll.errors import SourceError
from plimsoll.worlds.local.sources.interrupt import Cancelled, call, pause
from plimsoll.worlds.local.sources.remote import Transient

T = TypeVar("T")
_PROGRESS = 1024 * 1024  # bytes a try must gain to earn fresh tries, so that a drip ends too


@dataclass(frozen=True, slots=True, kw_only=True)
class Patience:
    """Bounds on repeating.

    tries      in a row that may fail without progress
    first      seconds before the second try; doubled each time, with a random part
    longest    seconds between two tries at most, also when the server asks for more
    """

    tries: int = 6
    first: float = 0.5
    longest: float = 15.0


@dataclass(slots=True)
class Tries:
    """The tries for one file or one listing.

    failed  in a row, without progress
    best    bytes that were ever there
    """

    patience: Patience
    where: str
    failed: int = 0
    best: int = 0

    def after(self, problem: Transient, *, done: int = 0) -> float:
        """Seconds to wait before the next try. Raises SourceError when there is none.

        done  bytes of the file that are on disk now
        """
        if done >= self.best + _PROGRESS:
            self.failed, self.best = 0, done
        self.failed += 1
        if self.failed >= self.patience.tries:
            raise SourceError(
                f"{problem.reason}; tried {self.failed} times",
                where=self.where,
                hint="check the address and the network; the next run continues where this stopped",
                code=problem.code,
            ) from problem
        wait = self.patience.first * 2.0 ** (self.failed - 1) * random.uniform(0.75, 1.25)
        return min(max(wait, problem.retry_after or 0.0), self.patience.longest)


@dataclass(frozen=True, slots=True, kw_only=True)
class Caller:
    """Who wants the source: how patient, and whether still.

    where  the source as it may be printed
    """

    where: str
    cancelled: Cancelled
    patience: Patience = field(default_factory=Patience)

    def ask(self, work: Callable[[], T]) -> T:
        """The result of `work`, repeated while it raises Transient. Raises SourceError."""
        tries = Tries(self.patience, self.where)
        while True:
            try:
                return call(work, self.cancelled)
            except Transient as problem:
                wait = tries.after(problem)
            pause(wait, self.cancelled)
