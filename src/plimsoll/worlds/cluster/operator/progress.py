"""What is known of one Fleet between two passes, and what a pass came to. Plain data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from plimsoll.errors import PlimsollError
from plimsoll.policy.snapshot import Memory
from plimsoll.worlds.cluster.operator.applying import Applied
from plimsoll.worlds.cluster.operator.fleets import Effective
from plimsoll.worlds.cluster.operator.sites import Surroundings, Wished
from plimsoll.worlds.cluster.operator.telling import Telling
from plimsoll.worlds.cluster.reference import Key


@dataclass(frozen=True, kw_only=True)
class Made:
    """What was last understood, planned and rendered of a Fleet.

    digest     of everything that it was made from
    around     what the sites had in common
    keys       where the replicas of each model are set, by model
    """

    digest: str
    around: Surroundings
    effective: Effective
    wished: Wished
    keys: Mapping[str, Key]


@dataclass(slots=True, kw_only=True)
class Progress:
    """What is known of one Fleet between two passes; all of it can be found again.

    uid      of the object
    applied  its objects
    memory   what `decide` remembers
    telling  its status and events
    made     None until it was understood once
    again    when everything is applied again, on the clock
    removing  everything that was made for it, once it is being deleted
    """

    uid: str
    applied: Applied
    memory: Memory
    telling: Telling
    made: Made | None = None
    again: float = 0.0
    removing: frozenset[Key] = frozenset()


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What a pass came to.

    result  changed | same | waiting | failed
    after   seconds until the next look, if nothing happens before
    error   why it is to be tried again
    trouble why it is not as wished, where trying again does not help
    """

    result: str
    after: float
    error: PlimsollError | None = None
    trouble: str = ""
