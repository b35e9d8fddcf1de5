"""Which replicas of a model get no new work for a while, because of what became of the last.

A replica that breaks connections is suspect, each time for longer, and then proves itself with
one request at a time. One that fails much more often than its peers is ejected. Never more than
a part of the replicas at once, except those that cannot be reached at all; where no other is
left, even these others take work.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from plimsoll.policy.requests.types import Place, Ticket
from plimsoll.policy.retry import SUSPICIOUS, Failure

_BLAMELESS = frozenset({Failure.STALE, Failure.REFUSED, Failure.TOO_LONG})
"""Failures that say nothing against a replica."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HealthPolicy:
    """When a replica gets no new work, and for how long.

    suspect   seconds after a broken connection; twice as long each time, while none succeeds
    longest   seconds of such a suspicion at most
    breaks    failures of other kinds in a row that count as a broken connection
    proves    suspicions in a row after which a replica gets one request at a time, until one
              begins to be answered
    probe     seconds after which another such request is tried, whatever became of the first
    window    seconds over which failures are counted against those of the peers; at most twice
    results   in a window before they count
    rate      share of failures below which a replica is never ejected
    eject     seconds of the first ejection, as much longer each time of late
    ejections times that it gets longer
    part      share of the replicas that may be without new work for failures
    """

    suspect: float = 0.5
    longest: float = 10.0
    breaks: int = 5
    proves: int = 2
    probe: float = 5.0
    window: float = 15.0
    results: int = 10
    rate: float = 0.3
    eject: float = 10.0
    ejections: int = 6
    part: float = 0.5


class Record:
    """What became of requests at one replica.

    place       the replica
    failures    in a row
    suspicions  in a row
    good, bad   results in this window; `old_` in the one before
    ejections   of late
    proving     whether it gets one request at a time
    probe       that request
    """

    __slots__ = (
        "bad", "ejections", "failures", "good", "old_bad", "old_good", "place", "probe", "proving",
        "suspicions",
    )  # fmt: skip

    def __init__(self, place: Place) -> None:
        self.place = place
        self.failures = 0
        self.suspicions = 0
        self.good = 0
        self.bad = 0
        self.old_good = 0
        self.old_bad = 0
        self.ejections = 0
        self.proving = False
        self.probe: Ticket | None = None

    def ended(self) -> None:
        """An answer was whole."""
        self.good += 1
        if self.failures or self.suspicions:
            self.failures = self.suspicions = 0

    def turn(self) -> None:
        """A window ends."""
        if self.ejections and self.good and not self.bad:
            self.ejections -= 1
        self.old_good, self.old_bad = self.good, self.bad
        self.good = self.bad = 0


class Health:
    """The health of the replicas of one model.

    policy   when a replica gets no new work
    records  of every ready replica
    counts   how often a ready replica got no new work, by its name and why: `broken` or `outlier`
    """

    def __init__(self, policy: HealthPolicy) -> None:
        self.policy = policy
        self.records: dict[Place, Record] = {}
        self.counts: Counter[tuple[str, str]] = Counter()
        self._out: dict[Place, bool] = {}  # whether it cannot be reached
        self._turn = 0.0

    def replace(self, places: Iterable[Place]) -> None:
        """These are the ready replicas from now on; one that comes back is trusted."""
        before = self.records
        self.records = {}
        for place in places:
            record = before.get(place)
            if record is None:
                record = Record(place)
                place.suspect = 0.0
            self.records[place] = record
        self._out = {place: why for place, why in self._out.items() if place in self.records}
        self._spared()
        names = {place.upstream.replica for place in self.records}
        for key in [key for key in self.counts if key[0] not in names]:
            del self.counts[key]

    def failed(self, record: Record, failure: Failure, now: float) -> Sequence[Place]:
        """A try at a replica failed; the replicas that get work otherwise than before for that."""
        place = record.place
        if failure in _BLAMELESS or self.records.get(place) is not record:
            return ()
        record.bad += 1
        if place.suspect > now:  # tries that began before say no more than the first
            return ()
        record.failures += 1
        if failure not in SUSPICIOUS and record.failures < self.policy.breaks:
            return (place,) if self._eject(record, now) else ()
        unreachable = failure is Failure.CONNECT
        if not unreachable and not self._may_go(place):
            return ()
        record.suspicions += 1
        record.proving = record.suspicions >= self.policy.proves
        longer = self.policy.suspect * 2.0 ** min(record.suspicions - 1, 30)
        until = now + min(longer, max(self.policy.suspect, self.policy.longest))
        self._suspect(record, until, unreachable=unreachable)
        self.counts[place.upstream.replica, "broken"] += 1
        return (place, *self._spared()) if unreachable else (place,)

    def _spared(self) -> list[Place]:
        """Where nothing takes work any more: those that can be reached take it again."""
        if len(self._out) < len(self.records):
            return []
        spared = [
            place
            for place, unreachable in self._out.items()
            if not unreachable and self.records[place].probe is None
        ]
        for place in spared:
            self._trust(place)
        return spared

    def _eject(self, record: Record, now: float) -> bool:
        policy = self.policy
        bad = record.bad + record.old_bad
        results = bad + record.good + record.old_good
        if (
            results < policy.results
            or bad < policy.rate * results
            or not self._may_go(record.place)
        ):
            return False
        peers_bad = peers = 0
        for peer in self.records.values():
            if peer is not record:
                peers_bad += peer.bad + peer.old_bad
                peers += peer.bad + peer.old_bad + peer.good + peer.old_good
        if not peers or bad / results <= 2.0 * peers_bad / peers + 0.1:
            return False
        record.ejections = min(record.ejections + 1, policy.ejections)
        record.good = record.bad = record.old_good = record.old_bad = record.failures = 0
        self._suspect(record, now + policy.eject * record.ejections)
        self.counts[record.place.upstream.replica, "outlier"] += 1
        return True

    def _may_go(self, place: Place) -> bool:
        out = len(self._out) + (place not in self._out)
        return out <= int(len(self.records) * self.policy.part)

    def _suspect(self, record: Record, until: float, *, unreachable: bool = False) -> None:
        record.place.suspect = until
        self._out[record.place] = unreachable

    def took(self, record: Record, ticket: Ticket, now: float) -> None:
        """A replica that proves itself got a request: no other one until it begins to answer."""
        record.probe = ticket
        self._suspect(record, now + self.policy.probe)

    def proved(self, record: Record, *, answers: bool) -> None:
        """The request by which a replica proves itself began to be answered, or went before that;
        then another one may prove it.
        """
        record.probe = None
        if answers:
            record.proving = False
        if self.records.get(record.place) is record:
            self._trust(record.place)

    def _trust(self, place: Place) -> None:
        place.suspect = 0.0
        self._out.pop(place, None)

    def tick(self, now: float) -> list[Place]:
        """The replicas whose time without new work is over."""
        if now - self._turn >= self.policy.window:
            self._turn = now
            for record in self.records.values():
                record.turn()
        if not self._out:
            return []
        over = [place for place in self._out if place.suspect <= now]
        for place in over:
            self._trust(place)
        return over
