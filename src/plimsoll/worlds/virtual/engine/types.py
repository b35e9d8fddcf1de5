"""What a simulated engine is told, and what it tells: step times, limits, jobs."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Protocol

import msgspec

from plimsoll.worlds.virtual.engine.job import Job

__all__ = ["Engine", "EngineLimits", "Job", "StepTimes"]


class StepTimes(msgspec.Struct, frozen=True, kw_only=True):
    """How long the steps of an engine take, in seconds.

    A step that reads parts of prompts of n tokens, each after b tokens that are read already, and
    writes one token of each of r answers, whose contexts (prompt and answer so far) are of c
    tokens together, takes

        fixed + dense(pad(sum of n + r))
        + sum over parts of (prompt + n * (token + attention * (b + n / 2)))
        + answer * r + context * c + (mixed where there is a part of a prompt)

    and in a step without prompts `answer` counts pad(r) times.

    fixed      of every step
    token      per prompt token
    attention  per prompt token and token before it
    answer     per running answer
    context    per token of the context of running answers
    dense      (tokens, seconds) in rising order of tokens: what depends on the number of tokens
               alone, linear between the points, constant before the first, and beyond the last
               as steep as between the last two
    mixed      of a step that reads prompts, besides
    prompt     per part of a prompt that a step reads
    padding    sizes to which `pad` rounds up; what is larger than the last stays as it is. Empty:
               nothing is rounded
    before     from a request's arrival until the scheduler may see it
    before_token  of that, per prompt token
    first      from the end of the step that makes the first token until the caller has it
    last       the same of the last token, which never comes before the first
    """

    fixed: float
    token: float = 0.0
    attention: float = 0.0
    answer: float = 0.0
    context: float = 0.0
    dense: tuple[tuple[int, float], ...] = ()
    mixed: float = 0.0
    prompt: float = 0.0
    padding: tuple[int, ...] = ()
    before: float = 0.0
    before_token: float = 0.0
    first: float = 0.0
    last: float = 0.0

    def __post_init__(self) -> None:
        for name in _SECONDS:
            if not 0.0 <= getattr(self, name) < float("inf"):
                raise ValueError(f"{name} is a number of seconds, 0 or more")
        if not all(a < b for a, b in pairwise(self.padding)):
            raise ValueError("padding: sizes rise")
        knots = [tokens for tokens, _ in self.dense]
        if not all(a < b for a, b in pairwise(knots)):
            raise ValueError("dense: numbers of tokens rise")
        seconds = [0.0, *(each for _, each in self.dense)]
        if not all(a <= b for a, b in pairwise(seconds)):
            raise ValueError("dense: more tokens never take less time")
        if self.fixed + self.answer <= 0.0 and not any(s > 0.0 for _, s in self.dense):
            raise ValueError("a step takes time")


_SECONDS = (
    "fixed", "token", "attention", "answer", "context", "mixed", "prompt", "before",
    "before_token", "first", "last",
)  # fmt: skip


class EngineLimits(msgspec.Struct, frozen=True, kw_only=True):
    """What fits, and how batches are made.

    max_num_batched_tokens  of one step, answers' included
    max_num_seqs            requests at once
    kv_blocks               usable blocks of the KV cache (vLLM: `num_gpu_blocks` less one)
    block_size              tokens of a block
    prefix_caching          whether blocks are kept for prompts that begin alike
    hash_tokens             tokens that one of `Job.blocks` names, a multiple of `block_size`:
                            so many are found, and forgotten, together
    steps_ahead             1: the batch of a step is made when the step before it begins (vLLM
                            from 0.14, asynchronous scheduling), so what arrives or becomes free
                            during a step counts from the next but one; 0: when it ends
    reserve_prompt          whether a request is let in only where all of its tokens fit, not the
                            part that is read first (vLLM from 0.19)
    """

    max_num_batched_tokens: int
    max_num_seqs: int
    kv_blocks: int
    block_size: int = 16
    prefix_caching: bool = True
    hash_tokens: int = 512
    steps_ahead: int = 1
    reserve_prompt: bool = True

    def __post_init__(self) -> None:
        for name in ("max_num_batched_tokens", "max_num_seqs", "kv_blocks", "block_size"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} is 1 or more")
        if self.max_num_batched_tokens < self.max_num_seqs:
            raise ValueError("max_num_batched_tokens must not be below max_num_seqs")
        if self.hash_tokens < 1 or self.hash_tokens % self.block_size:
            raise ValueError("hash_tokens must be a multiple of block_size")
        if self.steps_ahead not in {0, 1}:
            raise ValueError("steps_ahead is 0 or 1")

    def fits(self, prompt: int, output: int) -> bool:
        """Whether a request of so many tokens could ever run to its end."""
        return -(-(prompt + output - 1) // self.block_size) <= self.kv_blocks


class Engine(Protocol):
    """One replica's engine. Time never goes back, and whoever runs it calls `advance` before
    anything later than `wake` is told; at the same time, who is called first was first.

    wake   when something changes next if nothing arrives before; infinite: never
    busy   seconds of steps so far
    read   prompt tokens read so far, those of preempted requests again
    wrote  tokens of answers so far
    """

    wake: float
    busy: float
    read: int
    wrote: int

    def arrive(self, job: Job, now: float) -> None:
        """A job comes. Raises ValueError for one that could never run to its end."""
        ...

    def advance(self) -> tuple[Sequence[Job], Sequence[Job]]:
        """The time of `wake` has come: the jobs whose first token was made, and those whose last
        one was, in the order of the batch. Both are valid until the next call.
        """
        ...

    def stop(self, now: float) -> list[Job]:
        """It is gone, with all it held: the jobs that it had, those let in first; `made` of each
        is what its caller has of the answer.
        """
        ...

    def usage(self, now: float) -> float:
        """Share of the KV cache that requests hold, 0..1."""
        ...

    @property
    def waiting(self) -> int:
        """Jobs that are not let in yet."""
        ...

    @property
    def running(self) -> int:
        """Jobs that are."""
        ...
