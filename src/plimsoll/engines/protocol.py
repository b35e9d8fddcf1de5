"""What an engine adapter says: placement -> command, metrics text -> counts. Pure both ways.

Adding an engine is one file with one object of this protocol, one line in the table of
`engines/__init__.py`, and one golden file; the conformance suite then runs over it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Protocol

from plimsoll.facts.engines import Counter
from plimsoll.plan.types import Placement


@dataclass(frozen=True, slots=True, kw_only=True)
class Capabilities:
    """What an engine can do, so that nobody asks its name.

    formats          weight formats it reads: `gguf`, `safetensors`
    tasks            `chat`, `completion`, `embedding`
    accelerators     `cpu`, `cuda`, `rocm`
    cancels          a closed connection frees the slot of a streamed answer
    cancels_whole    a closed connection also frees the slot of an answer that is not streamed
    continues        goes on from given text: a chat from a partial assistant message, a
                     completion from its prompt
    continue_fields  fields that make a chat go on from its last message; empty: it does so by
                     itself
    completion_tokens  tokens of a completion that names no limit; 0: as many as fit
    drains_itself    finishes its streams after SIGTERM (else whoever stops it waits first)
    counts_tokens    its metrics carry prompt and generated token counters
    stream_fields    fields to add to every streamed request, so that a closed connection is
                     noticed while the prompt is still being read
    renamed_fields   request field that it would silently ignore -> the one it knows now, with a
                     dot before one inside an object; empty: it has none
    cuts_answers     cuts an answer off where its context ends; else it refuses to begin
    chat_counter     how it counts the tokens of a chat; None: it cannot
    text_counter     how it counts those of a text; None: it cannot
    """

    formats: frozenset[str]
    tasks: frozenset[str]
    accelerators: frozenset[str]
    cancels: bool
    cancels_whole: bool
    continues: bool
    drains_itself: bool
    counts_tokens: bool
    model_label: str = ""
    stream_fields: Mapping[str, bool] = field(default_factory=lambda: MappingProxyType({}))
    renamed_fields: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    continue_fields: Mapping[str, bool] = field(default_factory=lambda: MappingProxyType({}))
    completion_tokens: int = 0
    cuts_answers: bool = False
    chat_counter: Counter | None = None
    text_counter: Counter | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Probe:
    """An HTTP GET that tells one fact; any status in `ok` means yes.

    loading  statuses that mean alive, but still loading
    """

    path: str
    ok: frozenset[int] = frozenset({200})
    loading: frozenset[int] = frozenset({503})


@dataclass(frozen=True, slots=True, kw_only=True)
class Drain:
    """How a replica is asked to end.

    signal         name of the signal, such as `SIGTERM`
    wait_idle      whoever stops it must first wait until its counts say idle
    grace_seconds  between the signal and SIGKILL; an engine that drains itself needs the longest
                   stream and a little more
    """

    signal: str = "SIGTERM"
    wait_idle: bool = True
    grace_seconds: float = 5.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """Where one replica runs: what a world knows and a placement does not.

    weights     path of the fetched file or folder on the machine that will run it
    host        address to listen on
    port        port to listen on; 0 lets the system choose, where an engine can
    adapters    paths of the LoRA adapters, by name
    draft       path of the draft model; empty where there is none
    max_stream  seconds of the longest answer, which a drain must let end
    leader      address of the first node of a replica over several, which may be a variable of
                the container such as `$(LWS_LEADER_ADDRESS)`; empty for a replica on one node
    rank        number of this node in the replica: `0` on the leader; may be such a variable
    """

    weights: str
    host: str
    port: int
    adapters: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    draft: str = ""
    max_stream: float = 600.0
    leader: str = ""
    rank: str = "0"


@dataclass(frozen=True, slots=True, kw_only=True)
class Container:
    """What an engine needs of the container that it runs in.

    image          with its version; empty: Plimsoll's own image, which carries the engine
    user           numeric user that it runs as; 0 only with a `root_reason`
    writable       folders that must be writable; everything else is read-only
    shared_memory  whether its processes exchange data through /dev/shm
    root_reason    why it must run as root; empty where it does not
    env            variables that put what it writes, such as caches, into `writable`
    """

    image: str
    user: int
    writable: tuple[str, ...]
    shared_memory: bool
    root_reason: str = ""
    env: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))


@dataclass(frozen=True, slots=True, kw_only=True)
class Command:
    """What to run, the same words for a process and for a container.

    argv     program and arguments; argv[0] is the engine's own program name
    env      variables it needs beside the inherited ones
    ready    when requests may be sent
    metrics  path of the Prometheus text, or None
    metrics_port  TCP port of that text, where it is not the one of requests; 0: the same
    alive    that its process is not stuck, also while it loads or drains; None where nothing
             tells that apart from `ready`
    files    texts that must be there before it starts, by path; empty where none are needed
    """

    argv: tuple[str, ...]
    ready: Probe
    drain: Drain
    metrics: str | None
    metrics_port: int = 0
    alive: Probe | None = None
    env: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    files: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))


@dataclass(frozen=True, slots=True, kw_only=True)
class Counts:
    """What an engine says of itself in one scrape. None where it does not say.

    running           requests it works on now
    waiting           requests it queues
    kv_usage          share of the KV cache in use, 0..1
    prompt_tokens     counter since start
    generated_tokens  counter since start
    """

    running: int
    waiting: int
    kv_usage: float | None = None
    prompt_tokens: int | None = None
    generated_tokens: int | None = None


class Engine(Protocol):
    """One engine adapter; see the module's docstring."""

    @property
    def name(self) -> str:
        """The word used in the fleet file."""
        ...

    @property
    def capabilities(self) -> Capabilities:
        """What it can do."""
        ...

    def command(self, place: Placement, setting: Setting) -> Command:
        """How to run one replica, or one node of a replica over several."""
        ...

    def container(self, place: Placement) -> Container:
        """What it needs of its container."""
        ...

    def counts(self, metrics: str) -> Counts:
        """Read Prometheus text. Raises FormatError when a metric that must be there is not."""
        ...
