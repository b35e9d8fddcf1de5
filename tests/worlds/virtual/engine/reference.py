"""An engine that goes from token to token and from block to block: slow, and easy to believe.

It shares nothing with the engine under test but the types.
"""

from __future__ import annotations

import itertools
from bisect import bisect_right

from plimsoll.worlds.virtual.engine.types import EngineLimits, Job, StepTimes


class Block:
    """One block of the KV cache: what is in it, and how many requests hold it."""

    def __init__(self) -> None:
        self.holds: object = None
        self.users = 0


class Pool:
    """All blocks. `empty` are taken first, then `rest`, whose first was not used for longest."""

    def __init__(self, limits: EngineLimits) -> None:
        self.limits = limits
        self.all = [Block() for _ in range(limits.kv_blocks)]
        self.empty = list(self.all)
        self.rest: list[Block] = []
        self.named: dict[int, list[Block]] = {}

    def free(self) -> int:
        return len(self.empty) + len(self.rest)

    def take(self) -> Block:
        if not self.empty:
            oldest = self.rest[0]
            gone = [oldest]
            if isinstance(oldest.holds, int):
                gone = self.named.pop(oldest.holds)
            for block in gone:
                self.rest.remove(block)
                block.holds = None
                self.empty.append(block)
        block = self.empty.pop()
        block.users = 1
        return block

    def hold(self, block: Block) -> None:
        if not block.users:
            self.rest.remove(block)
        block.users += 1

    def let_go(self, block: Block) -> None:
        block.users -= 1
        if block.users:
            return
        if block.holds is None:
            self.empty.append(block)
        else:
            self.rest.append(block)


class Running:
    """A request in the engine."""

    def __init__(self, job: Job, ready: float) -> None:
        self.job = job
        self.ready = ready
        self.computed = 0
        self.made = 0
        self.blocks: list[Block] = []
        self.own: list[Block] = []  # its whole blocks without a name, when it was preempted
        self.named = 0
        self.writing = False

    @property
    def tokens(self) -> int:
        return self.job.prompt + self.made

    @property
    def over(self) -> bool:
        return self.made == self.job.output


class Reference:
    """See `Engine`; `wake` is the end of every single step."""

    def __init__(self, times: StepTimes, limits: EngineLimits) -> None:
        self.times = times
        self.limits = limits
        self.pool = Pool(limits)
        self.queue: list[Running] = []
        self.batch: list[tuple[Running, int]] = []
        self.in_engine: list[Running] = []
        self.wake = float("inf")
        self.begin = 0.0
        self.read = 0
        self.wrote = 0
        self.busy = 0.0

    def usage(self, now: float) -> float:
        return 1.0 - self.pool.free() / self.limits.kv_blocks

    @property
    def waiting(self) -> int:
        return len(self.queue)

    @property
    def running(self) -> int:
        return len(self.in_engine)

    def arrive(self, job: Job, now: float) -> None:
        ready = now + self.times.before + self.times.before_token * job.prompt
        at = len(self.queue)
        while at and self.queue[at - 1].ready > ready:
            at -= 1
        self.queue.insert(at, Running(job, ready))
        if not self.batch:
            if ready <= now:
                self.plan(now, now)
            else:
                self.wake = min(self.wake, ready)

    def advance(self) -> tuple[list[Job], list[Job]]:
        now = self.wake
        if not self.batch:
            self.plan(now, now)
            return [], []
        begun, ended = [], []
        self.busy += now - self.begin
        for one, tokens in self.batch:
            if not one.writing:
                self.read += tokens
            one.computed += tokens
            if one.computed == one.tokens:
                one.writing = True
                one.made += 1
                self.wrote += 1
                if one.made == 1:
                    one.job.first = now + self.times.first
                    begun.append(one.job)
                if one.over:
                    one.job.end = max(one.job.first, now + self.times.last)
                    ended.append(one)
        planned_at = self.begin
        self.batch = []
        if self.limits.steps_ahead:
            self.plan(now, planned_at)  # made when the step that ends now began
            self.leave(ended)
            if not self.batch:
                self.plan(now, now)
        else:
            self.leave(ended)
            self.plan(now, now)
        return begun, [one.job for one in ended]

    def stop(self, now: float) -> list[Job]:
        for one in self.in_engine + self.queue:
            one.job.made = one.made
        jobs = [one.job for one in self.in_engine if not one.over]
        jobs += [one.job for one in self.queue]
        if self.batch:
            self.busy += now - self.begin
        self.in_engine, self.queue, self.batch = [], [], []
        self.wake = float("inf")
        return jobs

    def leave(self, ended: list[Running]) -> None:
        for one in ended:
            if one in self.in_engine:
                self.in_engine.remove(one)
                self.give_back(one)

    def give_back(self, one: Running) -> None:
        whole = one.computed // self.limits.block_size
        names = one.named * (self.limits.hash_tokens // self.limits.block_size)
        if self.limits.prefix_caching:
            one.own = one.blocks[names:whole]
            for block in one.own:
                block.holds = one
        for block in reversed(one.blocks):
            self.pool.let_go(block)
        one.blocks = []

    def plan(self, now: float, seen: float) -> None:
        """Make a batch and begin its step."""
        budget, preempted = self.plan_running()
        if not preempted:
            self.plan_waiting(budget, now, seen)
        if self.batch:
            self.begin = now
            self.wake = now + self.seconds()
        else:
            self.wake = self.queue[0].ready if self.queue else float("inf")

    def plan_running(self) -> tuple[int, bool]:
        """Those that run go on; the tokens left, and whether any was preempted."""
        budget = self.limits.max_num_batched_tokens
        preempted = False
        at = 0
        while at < len(self.in_engine) and budget:
            one = self.in_engine[at]
            at += 1
            if one.over:
                continue
            tokens = min(one.tokens - one.computed, budget)
            fits = self.grow(one, tokens)
            while not fits:
                preempted = True
                last = self.in_engine[-1]
                self.preempt(last)
                if last is one:
                    break
                fits = self.grow(one, tokens)
            if not fits:
                break
            self.batch.append((one, tokens))
            budget -= tokens
        return budget, preempted

    def plan_waiting(self, budget: int, now: float, seen: float) -> None:
        """Those that wait are let in, first come first served."""
        while budget and self.queue:
            if len(self.in_engine) == self.limits.max_num_seqs:
                break
            one = self.queue[0]
            if one.ready > seen:
                break
            tokens = self.let_in(one, budget)
            if not tokens:
                break
            self.queue.pop(0)
            self.in_engine.append(one)
            self.batch.append((one, tokens))
            if one.job.started < 0:
                one.job.started = now
                one.job.cached = one.computed
            budget -= tokens

    def preempt(self, one: Running) -> None:
        self.in_engine.remove(one)
        self.give_back(one)
        if one.over:
            return
        one.computed = 0
        one.writing = False
        one.job.preemptions += 1
        self.queue.insert(0, one)

    def grow(self, one: Running, tokens: int) -> bool:
        """Take blocks for the next tokens of a running request."""
        upto = one.computed + tokens
        missing = -(-upto // self.limits.block_size) - len(one.blocks)
        if missing > self.pool.free():
            return False
        for _ in range(missing):
            one.blocks.append(self.pool.take())
        if self.limits.prefix_caching:
            self.name(one, upto)
        return True

    def name(self, one: Running, upto: int) -> None:
        unit = self.limits.hash_tokens
        size = unit // self.limits.block_size
        while (
            one.named < len(one.job.blocks)
            and (one.named + 1) * unit <= min(upto, one.job.prompt)
            and one.job.blocks[one.named] not in self.pool.named
        ):
            name = one.job.blocks[one.named]
            blocks = one.blocks[one.named * size : (one.named + 1) * size]
            for block in blocks:
                block.holds = name
            self.pool.named[name] = blocks
            one.named += 1

    def let_in(self, one: Running, budget: int) -> int:
        limits, pool = self.limits, self.pool
        found, names = self.found(one)
        cached = min(
            len(found) * limits.block_size,
            (one.tokens - 1) // limits.block_size * limits.block_size,
        )
        tokens = min(one.tokens - cached, budget)
        target = one.tokens if limits.reserve_prompt else cached + tokens
        more = max(0, -(-target // limits.block_size) - len(found))
        if more + sum(1 for block in found if not block.users) > pool.free():
            return 0
        for block in found:
            pool.hold(block)
        for block in found[names * limits.hash_tokens // limits.block_size :]:
            block.holds = None
        for block in one.own:  # what was not found is nobody's any more
            if block not in found and block.holds is one:
                block.holds = object()
        one.own = []
        one.blocks = found
        one.named = names
        one.computed = cached
        assert self.grow(one, tokens)
        return tokens

    def found(self, one: Running) -> tuple[list[Block], int]:
        """Blocks that the cache has of its beginning, and how many names they stand for."""
        found: list[Block] = []
        names = 0
        if not self.limits.prefix_caching:
            return found, names
        for name in one.job.blocks[: one.job.prompt // self.limits.hash_tokens]:
            if name not in self.pool.named:
                break
            found += self.pool.named[name]
            names += 1
        if names == one.named:
            found += itertools.takewhile(lambda block: block.holds is one, one.own)
        return found, names

    def seconds(self) -> float:
        times = self.times
        writes = [one for one, _ in self.batch if one.writing]
        parts = [(one, n) for one, n in self.batch if not one.writing]
        total = sum(n for _, n in self.batch)
        seconds = times.fixed + self.dense(self.pad(total))
        for one, n in parts:
            seconds += times.prompt + n * (times.token + times.attention * (one.computed + n / 2))
        seconds += times.answer * (len(writes) if parts else self.pad(len(writes)))
        seconds += times.context * sum(one.tokens for one in writes)
        return seconds + (times.mixed if parts else 0.0)

    def pad(self, count: int) -> int:
        return next((size for size in self.times.padding if size >= count), count)

    def dense(self, tokens: int) -> float:
        knots = self.times.dense
        if not knots:
            return 0.0
        if len(knots) == 1 or tokens <= knots[0][0]:
            return knots[0][1]
        at = min(bisect_right([t for t, _ in knots], tokens), len(knots) - 1)
        (t0, s0), (t1, s1) = knots[at - 1], knots[at]
        return s0 + (s1 - s0) * (tokens - t0) / (t1 - t0)
