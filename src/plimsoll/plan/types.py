"""What planning yields: placements with the ledger and the reasons behind them. Plain data."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from plimsoll.fleet.engines import EngineOptions
from plimsoll.plan.split import Formats, Split

Sharing = Literal["none", "mig", "timeSlicing", "mps", "dra"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Term:
    """One line of a memory ledger.

    name   `weights`, `kv cache`, `compute buffers`, ...
    bytes  what it takes, over the whole replica
    why    the arithmetic in words, such as `22 layers x 2 x 4 kv heads x 64 x 2 B x 8,192 tokens`
    """

    name: str
    bytes: int
    why: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ledger:
    """The memory of one replica; the terms add up to the byte."""

    terms: tuple[Term, ...]

    @property
    def total(self) -> int:
        """Bytes over all terms."""
        return sum(term.bytes for term in self.terms)

    @property
    def largest(self) -> Term:
        """The limiting term: the one to shrink first."""
        return max(self.terms, key=lambda term: term.bytes)


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """The computer that local replicas share.

    memory  bytes that replicas may use together
    cores   physical or virtual processors that may run engine threads
    """

    memory: int
    cores: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Accelerators:
    """The accelerators, or parts of accelerators, that one replica holds.

    name      in the catalogue, such as `H100-80GB-SXM`
    per_node  how many on each of its nodes
    nodes     over how many nodes one replica is spread
    memory    bytes of one that programs can use
    profile   MIG profile such as `3g.40gb`; empty: whole ones
    sharing   how they are given out
    portion   part of an accelerator that one of them is, 0 to 1
    """

    name: str
    per_node: int
    nodes: int = 1
    memory: int
    profile: str = ""
    sharing: Sharing = "none"
    portion: float = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Speculation:
    """Speculative decoding as it is planned.

    method  `draftModel`, `ngram`, `eagle`, `eagle3`, `medusa`, `mtp`
    tokens  guessed per step
    """

    method: str
    tokens: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ColdStart:
    """Seconds from wish to first token of a new replica, by phase, with what is known of each.

    node     until the cloud has added a node
    image    until the container image is there
    weights  until the weights are read
    engine   until the engine answers
    source   where these figures come from; empty where nothing is known
    """

    node: float = 0.0
    image: float = 0.0
    weights: float = 0.0
    engine: float = 0.0
    source: str = ""

    @property
    def total(self) -> float:
        """All phases, one after the other."""
        return self.node + self.image + self.weights + self.engine


@dataclass(frozen=True, slots=True, kw_only=True)
class Placement:
    """One model, one engine, one kind of device: how every replica of it looks.

    model     the name that callers use
    engine    a name in the table of engines/
    source    where the weights come from, as the fleet file says it
    task      chat | completion | embedding
    context   tokens one request may hold, prompt and answer together
    parallel  requests a replica works on at once (llama.cpp slots, vLLM max-num-seqs)
    threads   engine threads per replica; 0 where the engine runs on an accelerator
    batch     tokens per engine step (llama.cpp ubatch, vLLM max-num-batched-tokens)
    kv_type   element type of the KV cache, such as `f16`
    ledger    predicted memory of one replica
    why       reasons, in order of weight
    prompt_cache  bytes a replica may keep of prompts that no slot holds any more; 0 is none
    checkpoints   snapshots per slot of a sliding window or recurrent state; 0 is none
    pooling   how an embedding model joins its token vectors: mean | cls | last
    devices   accelerators of one replica; None where it runs on processors
    split     how a replica is spread over them
    formats   number formats
    quantization  the fleet file's word for the weight format, such as `fp8`; `none` and empty:
              the source's own
    converted     whether the engine makes that format from wider weights while it loads
    utilization   share of the whole accelerator's (or MIG instance's) memory that the engine may
                  take; 0: the engine's default
    cache_bytes   bytes of the KV cache of one device where several replicas take turns on it, so
                  that none counts on memory that is another's; 0: the engine works it out
    weight_bytes  bytes of the weights as they are published; 0 where not known
    adapters  names of the LoRA adapters served beside the model
    adapter_rank  their largest rank
    speculation   how tokens are guessed ahead; None: they are not
    pool      pool, or kind of cloud machine, that the plan chose; empty where there is none
    replicas  to run for the average load, headroom included
    most      for the busiest minute, headroom included
    cold_start  how long a new replica takes
    kv_tokens    tokens that the KV cache of a replica holds; 0: not known, or it has none
    prefill_rate tokens of a prompt that an idle replica reads per second; 0: not known
    options   what the fleet file says to the engine itself
    """

    model: str
    engine: str
    source: str
    task: str
    context: int
    parallel: int
    threads: int
    batch: int
    kv_type: str
    ledger: Ledger
    why: tuple[str, ...] = ()
    prompt_cache: int = 0
    checkpoints: int = 0
    pooling: str = "mean"
    devices: Accelerators | None = None
    split: Split = field(default_factory=Split)
    formats: Formats = field(default_factory=Formats)
    quantization: str = ""
    converted: bool = False
    utilization: float = 0.0
    cache_bytes: int = 0
    weight_bytes: int = 0
    adapters: tuple[str, ...] = ()
    adapter_rank: int = 0
    speculation: Speculation | None = None
    pool: str = ""
    replicas: int = 1
    most: int = 1
    cold_start: ColdStart = field(default_factory=ColdStart)
    kv_tokens: int = 0
    prefill_rate: int = 0
    options: EngineOptions = field(default_factory=EngineOptions)


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """Every placement of a fleet; what runs where is decided, how many is policy's.

    budget  bytes that all replicas together may use, or None where nothing limits them
    """

    placements: tuple[Placement, ...]
    budget: int | None = None

    def placement(self, model: str) -> Placement:
        """The placement of a model. Raises KeyError."""
        for place in self.placements:
            if place.model == model:
                return place
        raise KeyError(model)
