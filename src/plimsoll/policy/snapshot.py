"""What a world sees and what it is told: plain data between worlds, gateway and decide.

A world's `observe()` returns a Seen; `decide` answers with actions; `apply()` carries them out.
Times are seconds on the world's own clock, handed in with the snapshot.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from types import MappingProxyType


class ReplicaState(StrEnum):
    """The life of a replica, in order; `failed` can follow any of them."""

    STARTING = "starting"  # process or pod exists, weights are loading
    READY = "ready"
    DRAINING = "draining"  # finishes its streams, gets no new work
    FAILED = "failed"  # died or did not become ready; its reason is kept


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplicaSeen:
    """One replica as its world sees it now.

    name     unique in the world, such as `chat-0`
    since    when it entered this state
    address  `host:port` once it listens, else None
    reason   why it failed, or the phase it is loading in
    """

    name: str
    state: ReplicaState
    since: float
    address: str | None = None
    reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelSeen:
    """One model now: its replicas and the demand for it.

    queued     requests that wait at the gateway for a replica
    in_flight  requests at replicas
    last_used  when a request last arrived or ended; None before the first
    """

    name: str
    replicas: tuple[ReplicaSeen, ...] = ()
    queued: int = 0
    in_flight: int = 0
    last_used: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """One look at a world.

    now  the world's clock, seconds; never read from anywhere else
    """

    now: float
    models: tuple[ModelSeen, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class StartReplica:
    """Start one more replica of a model."""

    model: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class StopReplica:
    """Drain and stop one replica; a failed one is cleared away."""

    model: str
    replica: str
    reason: str


Action = StartReplica | StopReplica


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelMemory:
    """What decide remembers of one model between two looks.

    failures   replicas that failed in a row, since one last stayed ready
    counted    names of failed replicas that are already in `failures`
    retry_at   no start before this time (back-off), or None
    low_since  since when fewer replicas would do, or None
    low_peak   the most replicas that were wanted since `low_since`
    wanted     the last number of replicas decided
    reason     why that number
    last_error the reason of the last failure, kept for status
    """

    failures: int = 0
    counted: tuple[str, ...] = ()
    retry_at: float | None = None
    low_since: float | None = None
    low_peak: int = 0
    wanted: int = 0
    reason: str = ""
    last_error: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Memory:
    """What decide remembers, by model name; a variable or a file, as the world likes."""

    models: Mapping[str, ModelMemory] = field(default_factory=lambda: MappingProxyType({}))
