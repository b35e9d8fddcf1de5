"""How much counts what when prefix routing weighs places."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Weights:
    """How much counts what, beside the seconds until its own answer begins.

    calm      seconds of queue, beyond what it saves itself, that a request takes on for every
              second of reading that it saves, while the fleet has nothing else to read
    busy      added to it, times the square of what prompts wait for each other: the share of
              replicas that have something to read over that of those that have not
    reread    its highest value: the work of reading again also delays others, and what it
              replaces in the KV cache is read again
    patience  at most so many seconds altogether, so that the longest prompts do not wait longest
    strain    added to them, over the cube of the share of replicas that have nothing to read
    load      seconds that a replica at its capacity costs more than an idle one
    pressure  seconds that a full KV cache costs more than one that is filled to `comfort`
    comfort   share of a KV cache in use that costs nothing yet
    balance   seconds of cost per second of reading that a replica was given more than others
    memory    seconds of reading by which one replica is remembered to be ahead of the average
    """

    calm: float = 0.5
    busy: float = 4.0
    reread: float = 64.0
    patience: float = 6.0
    strain: float = 0.03
    load: float = 4.0
    pressure: float = 4.0
    comfort: float = 0.85
    balance: float = 0.03
    memory: float = 120.0


_BRANCHES = 4_096  # blocks after which prompts part that are remembered


class Price:
    """What it is worth to have less of a prompt read again, on a calm fleet and on a full one."""

    __slots__ = ("_branches", "_patience", "_reread", "_weights")

    def __init__(self, weights: Weights) -> None:
        self._weights = weights
        self._branches: OrderedDict[int, int] = OrderedDict()
        self._reread = self._patience = 0.0
        self.feel(0.0)

    def feel(self, strain: float) -> None:
        """So large a share of the replicas has something to read."""
        weights = self._weights
        calm = max(1.0 - strain, 0.02)
        waits = strain / calm
        self._reread = min(weights.calm + weights.busy * waits * waits, weights.reread)
        self._patience = weights.patience + weights.strain / (calm * calm * calm)

    def parts(self, block: int) -> None:
        """A prompt parts after this block from all that are known."""
        branches = self._branches
        branches[block] = branches.get(block, 0) + 1
        branches.move_to_end(block)
        if len(branches) > _BRANCHES:
            branches.popitem(last=False)

    def gain(self, saved: float, last: int) -> float:
        """Seconds of queue worth taking on to save so many seconds of reading.

        last  block that what is held ends with. Where many prompts part, a second place that
              holds it serves all that follow: to read it there costs each of them little.
        """
        more = min(self._reread * saved, self._patience)
        return saved + more / self._branches.get(last, 1)
