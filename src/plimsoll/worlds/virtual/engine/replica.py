"""One replica's engine, advanced in closed form from one change of its batch to the next.

A step reads parts of prompts, first come first served within a budget of tokens, and writes one
token of every answer that has begun. While no prompt is read and nobody comes or leaves, the
time of a step grows by the same amount with every step, so that such steps are taken together.
"""

from __future__ import annotations

from collections import deque
from heapq import heappop, heappush
from math import inf

from plimsoll.worlds.virtual.engine.cache import KvCache
from plimsoll.worlds.virtual.engine.stretch import Stretch
from plimsoll.worlds.virtual.engine.times import table_of
from plimsoll.worlds.virtual.engine.types import EngineLimits, Job, StepTimes


class Replica(Stretch):
    """See the module's docstring and `Engine`.

    wake   when something changes next if nothing arrives before; infinite: never
    busy   seconds of steps so far
    read   prompt tokens read so far, those of preempted requests again
    wrote  tokens of answers so far
    """

    __slots__ = (
        "_ahead", "_attention", "_budget", "_cache", "_chunks", "_context", "_ended", "_ends",
        "_halted", "_limits", "_order", "_partial", "_seats", "_seen", "_table",
        "_times", "_turn", "_waiting", "busy", "read", "wake", "wrote",
    )  # fmt: skip

    def __init__(self, times: StepTimes, limits: EngineLimits) -> None:
        super().__init__(limits.block_size)
        self.wake = inf
        self.busy = 0.0
        self.read = 0
        self.wrote = 0
        self._times = times
        self._limits = limits
        self._table = table_of(times, limits)
        self._cache = KvCache(limits)
        self._budget = limits.max_num_batched_tokens
        self._seats = limits.max_num_seqs
        self._ahead = limits.steps_ahead > 0
        self._attention = times.attention
        self._waiting: deque[Job] = deque()
        self._order: dict[Job, None] = {}  # running, in the order in which they were let in
        self._partial: Job | None = None  # the one of them whose prompt is read in part: the last
        self._chunks: list[tuple[Job, int]] = []  # what the present step reads
        self._ended: list[Job] = []
        self._ends: list[tuple[int, int, Job]] = []  # step and turn of answers' last tokens
        self._context = 0  # tokens of the answers being written, and of their prompts
        self._seen = 0.0  # who was ready then may be in the present batch
        self._halted = False  # whether the next batch may let in whom this one could not
        self._turn = 0  # given last

    def usage(self, now: float) -> float:
        """See Engine.usage."""
        free = self._cache.free
        if self._steps > 1:
            free -= self._needed(self._step + 1, self._done(now))
        return 1.0 - free / self._limits.kv_blocks

    @property
    def waiting(self) -> int:
        """See Engine.waiting."""
        return len(self._waiting)

    @property
    def running(self) -> int:
        """See Engine.running."""
        return len(self._order)

    # What happens.

    def arrive(self, job: Job, now: float) -> None:
        """See Engine.arrive."""
        if not self._limits.fits(job.prompt, job.output):
            raise ValueError(
                f"a request of {job.prompt} and {job.output} tokens does not fit"
                f" {self._limits.kv_blocks} blocks of {self._block}"
            )
        times, waiting = self._times, self._waiting
        job.ready = ready = now + times.before + times.before_token * job.prompt
        behind: list[Job] = []
        while waiting and waiting[-1].ready > ready:
            behind.append(waiting.pop())
        waiting.append(job)
        first = len(waiting) == 1
        waiting.extend(reversed(behind))
        if not first:
            return
        if self._steps > 1:
            self._cut(ready)
        elif not self._steps:
            if ready <= now:
                self._compose(now, now)
            else:
                self.wake = ready

    def advance(self) -> tuple[list[Job], list[Job]]:
        """See Engine.advance."""
        now = last = self.wake
        begun: list[Job] = []
        ended: list[Job] = []
        self._ended = ended
        if self._steps:
            if self._ahead:
                last = self._last_begin()
            self._settle(now)
            if self._chunks:
                begun = self._begun(now)
            ends, step = self._ends, self._step
            while ends and ends[0][0] <= step:
                self._write_last(now)
        if not ended:
            self._compose(now, last)
            if not self._steps and last < now:
                self._compose(now, now)
            return begun, ended
        if self._ahead:
            self._compose(now, last)
            if self._steps:
                self._free(ended)
                self._shorten()
                return begun, ended
        self._free(ended)
        self._compose(now, now)
        return begun, ended

    def stop(self, now: float) -> list[Job]:
        """See Engine.stop."""
        step = self._step
        if self._steps:
            self.busy += now - self._begin
            step += self._done(now)
        jobs = [job for job in self._order if not job.end]
        for job in jobs:
            if job.finish >= 0:
                job.made = job.output - (job.finish - step)
        jobs.extend(self._waiting)
        self._steps = 0
        self.wake = inf
        self._waiting.clear()
        self._order.clear()
        self._ends.clear()
        self._chunks.clear()
        self._partial = None
        self._active = 0
        return jobs

    # A batch ends.

    def _settle(self, now: float) -> None:
        """The steps that are over."""
        steps, active = self._steps, self._active
        self.busy += now - self._begin
        if steps > 1:
            needed = self._needed(self._step + 1, steps - 1)
            if needed:
                self._cache.take(needed)
        self._step += steps
        self._context += steps * active
        self.wrote += steps * active

    def _begun(self, now: float) -> list[Job]:
        """Prompts were read in part or to their end; those that had their first token now."""
        begun: list[Job] = []
        step, block = self._step, self._block
        seen = now + self._times.first
        for job, tokens in self._chunks:
            job.read += tokens
            self.read += tokens
            made = job.made
            if job.read < job.prompt + made:
                continue
            if not job.first:
                job.first = seen
                begun.append(job)
            job.made = made = made + 1
            self.wrote += 1
            job.finish = finish = step + job.output - made
            heappush(self._ends, (finish, job.turn, job))
            self._active += 1
            self._context += job.prompt + made
            # It writes to where `read` is in the next step.
            job.phase = phase = (step - job.read) % block
            self._phases[phase] += 1
        self._chunks.clear()
        return begun

    def _write_last(self, now: float) -> None:
        """Whoever is first among those that end has its last token, unless it was preempted."""
        finish, turn, job = heappop(self._ends)
        if job.finish == finish and job.turn == turn:
            self._active -= 1
            self._context -= job.prompt + job.output
            self._phases[job.phase] -= 1
            job.end = max(job.first, now + self._times.last)
            self._ended.append(job)

    def _free(self, jobs: list[Job]) -> None:
        """Jobs that ended hold nothing any more."""
        order, release = self._order, self._cache.release
        for job in jobs:
            if job in order:
                del order[job]
                release(job, job.prompt + job.output - 1)

    # The next batch begins.

    def _compose(self, now: float, seen: float) -> None:
        """Make the next batch, with those that were ready at `seen`."""
        self._begin = now
        self._seen = seen
        self._halted = False
        active, cache = self._active, self._cache
        needed = self._phases[self._step % self._block]
        if needed:
            if needed <= cache.free:
                cache.take(needed)
            else:
                self._squeeze()
                active = self._active
        left = self._budget - active
        if self._partial is not None:
            left -= self._read_on(self._partial, left)
        if self._waiting and not self._halted and left > 0:
            self._admit(left, now, seen)
        if self._chunks:
            self._read()
        elif active:
            self._write()
        else:
            self._steps = 0
            self.wake = self._waiting[0].ready if self._waiting else inf

    def _read_on(self, job: Job, left: int) -> int:
        """The next part of a prompt that is read in part; the tokens of it."""
        tokens = min(job.prompt + job.made - job.read, left)
        if tokens <= 0:
            return 0
        if not self._cache.go_on(job, tokens):
            self._preempt(job)
            return 0
        self._chunks.append((job, tokens))
        if job.read + tokens >= job.prompt + job.made:
            self._partial = None
        return tokens

    def _admit(self, left: int, now: float, seen: float) -> None:
        """Let in who waits, first come first served, while there is room."""
        waiting, order, cache = self._waiting, self._order, self._cache
        room = self._seats - len(order)
        while room > 0 and left > 0 and waiting:
            job = waiting[0]
            if job.ready > seen:
                return
            tokens = cache.admit(job, left)
            if not tokens:
                self._halted = cache.fickle
                return
            waiting.popleft()
            if job.started < 0.0:
                job.started = now
                job.cached = job.read
            self._turn += 1
            job.turn = self._turn
            order[job] = None
            self._chunks.append((job, tokens))
            left -= tokens
            room -= 1
            if job.read + tokens < job.prompt + job.made:
                self._partial = job

    def _read(self) -> None:
        """One step that reads prompts."""
        times, attention = self._times, self._attention
        tokens, parts = 0, 0.0
        for job, count in self._chunks:
            tokens += count
            parts += count * attention * (job.read + 0.5 * count)
        active = self._active
        self._base = (
            self._table.read[tokens + active]
            + parts
            + times.token * tokens
            + times.prompt * len(self._chunks)
            + times.answer * active
            + times.context * self._context
        )
        self._steps = 1
        self.wake = self._begin + self._base

    def _write(self) -> None:
        """Steps that only write, until something changes."""
        times, active, free = self._times, self._active, self._cache.free
        self._base = self._table.write[active] + times.context * self._context
        self._grows = times.context * active
        steps = self._ends[0][0] - self._step
        if steps > 1:
            if self._halted:
                steps = 1
            elif active * ((steps - 2) // self._block + 1) > free:
                steps = min(steps, self._steps_within(free))
        self._steps = steps
        self.wake = self._begin + self._after(steps)
        if steps > 1 and self._waiting and self._waiting[0].ready > self._seen:
            self._cut(self._waiting[0].ready)

    # How many steps are taken together.

    def _shorten(self) -> None:
        """What ended has become free for the next batch but one, if anybody waits."""
        if self._steps > 1 and self._waiting:
            self._steps = 1
            self.wake = self._begin + self._base

    def _cut(self, ready: float) -> None:
        """Take no more steps together than until one that was not looked at may be let in."""
        steps = self._steps_until(ready)
        if self._ahead:
            steps += 1
        elif not steps:
            steps = 1
        if steps < self._steps:
            self._steps = steps
            self.wake = self._begin + self._after(steps)

    # Blocks run out.

    def _squeeze(self) -> None:
        """Give blocks to answers in their order, taking those of the latest where none is left."""
        order = list(self._order)
        step, cache = self._step, self._cache
        phase = step % self._block
        at = 0
        while at < len(order):
            job = order[at]
            if job.finish > step and job.phase == phase:
                while not cache.free:
                    victim = order.pop()
                    self._preempt(victim)
                    if victim is job:
                        return
                cache.take(1)
            at += 1

    def _preempt(self, job: Job) -> None:
        """Take a request's blocks; it waits before all others, and is read again."""
        self._halted = True
        if job.finish >= 0 and job.finish <= self._step:  # it has ended, and is about to leave
            self._free([job])
            return
        tokens = job.read
        if job.finish < 0:
            self._partial = None
        else:
            made = job.output - (job.finish - self._step)
            tokens = job.prompt + made - 1
            job.made = made
            job.finish = -1
            self._active -= 1
            self._context -= job.prompt + made
            self._phases[job.phase] -= 1
        del self._order[job]
        job.kept = self._cache.release(job, tokens)
        job.read = 0
        job.preemptions += 1
        self._waiting.appendleft(job)
