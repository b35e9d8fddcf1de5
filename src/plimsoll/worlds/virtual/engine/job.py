"""One request at an engine: what it asks for, and what became of it."""

from __future__ import annotations

from typing import Any


class Job:
    """One request at an engine.

    What it is given:
    at           arrival, seconds
    prompt       tokens, 1 or more
    output       tokens of its answer, 1 or more
    blocks       names of its prompt's beginning, `hash_tokens` each, the same only where all before
                 is the same too; a last one that is not whole is left out of account
    owner        whose it is; the engine hands it back

    What it reports:
    started      beginning of the first step that read a part of it
    first        when its first token reached the caller, seconds; 0.0: not yet
    end          when its last one did; 0.0: not yet
    preemptions  how often its blocks were taken
    cached       prompt tokens found in the cache when it was first let in

    What follows is the engine's own:
    ready     when the scheduler may see it
    read      tokens whose KV is there, as of when it last began to be read
    made      tokens of its answer, as of the same time
    named     of its blocks, those it holds
    kept      its other whole blocks that rest after a preemption, or None
    phase     step, modulo the block size, in which it needs a new block
    finish    number of the step that makes its last token, -1 while it does not write
    turn      place in the order of running requests
    """

    started: float = -1.0
    first: float = 0.0
    end: float = 0.0
    preemptions: int = 0
    cached: int = 0
    ready: float = 0.0
    read: int = 0
    made: int = 0
    named: int = 0
    kept: Any = None
    phase: int = 0
    finish: int = -1
    turn: int = 0

    def __init__(
        self,
        at: float,
        prompt: int,
        output: int,
        blocks: tuple[int, ...] = (),
        owner: Any = None,
    ) -> None:
        self.at = at
        self.prompt = prompt
        self.output = output
        self.blocks = blocks
        self.owner = owner
