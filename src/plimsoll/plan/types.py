"""What planning yields: placements with the ledger and the reasons behind them. Plain data."""

from __future__ import annotations

from dataclasses import dataclass


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
