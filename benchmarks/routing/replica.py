"""A replica in numbers: chunked prefill beside decoding, a paged KV cache that keeps prefixes.

Every step reads a part of the prompts, first come first served, within a budget of tokens, and
writes one token of every answer that has begun, as vLLM does. Between changes nothing but the
length of the answers moves, so such steps are taken together.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Callable
from dataclasses import dataclass

from benchmarks.routing.trace import BLOCK, Request


@dataclass(frozen=True, slots=True, kw_only=True)
class Speed:
    """How fast, and how much fits.

    step       seconds of every step, whatever is in it
    token      seconds per prompt token, without attention
    attention  seconds per prompt token and token before it
    context    seconds per step and token of all answers' contexts
    answer     seconds per step and answer
    budget     tokens per step
    running    requests at once
    blocks     of the KV cache
    """

    step: float
    token: float
    attention: float
    context: float
    answer: float
    budget: int
    running: int
    blocks: int

    def read(self, tokens: int, before: int) -> float:
        """Seconds to read so many tokens that follow so many others, alone."""
        steps = -(-tokens // self.budget)
        return steps * self.step + tokens * (self.token + self.attention * (before + tokens / 2))

    def write(self, tokens: int, before: int) -> float:
        """Seconds that so many tokens of an answer add to the steps in which they are written,
        after a prompt of so many. The first token comes with the prompt's last.
        """
        return (tokens - 1) * (self.answer + self.context * (before + tokens / 2))


QWEN3_32B = Speed(
    step=0.0055,
    token=1 / 26_000,
    attention=1.75e-9,
    context=17e-9,
    answer=12e-6,
    budget=8_192,
    running=256,
    blocks=3_220,
)
"""Qwen3-32B in FP8 with an FP8 KV cache on two H200, vLLM. Weights 33 GB and 131 KB a token from
its shape; 0.9 of 282 GB less weights and 5 GB is 1.65 million tokens. A step reads weights and
contexts at 0.8 of 9.6 TB/s. Prompts: 184.6 ms to the first token of 4,000 with 48 at once are
measured on two H100, which compute as fast (aiconfigurator, silicon database 2026-04, Apache-2.0);
attention is 2.1 MFLOP a token and token before it, at 600 TFLOP/s a GPU."""

PEAK = 20_480
"""Prompt tokens per second of the same model at its peak: llm-d's own calibration on two H100."""


class Job:
    """One request at a replica.

    hits    blocks found in the cache when it was let in
    read    prompt tokens read or found
    first   when its first token came; 0.0: not yet
    """

    __slots__ = ("blocks", "ends", "first", "hits", "names", "owner", "read", "request")

    def __init__(self, request: Request, owner: object) -> None:
        self.request = request
        self.owner = owner
        self.names = request.blocks
        self.blocks = 0
        self.hits = 0
        self.read = 0
        self.first = 0.0
        self.ends = 0


class Replica:
    """See the module's docstring.

    work    prompt tokens that it had to read
    begun   told of a job whose first token came, and when
    ended   told of a job whose last token came, and when
    wake    when something changes next, if nothing arrives before; None: never
    """

    def __init__(
        self,
        speed: Speed,
        begun: Callable[[Job, float], None],
        ended: Callable[[Job, float], None],
    ) -> None:
        self.speed = speed
        self.begun = begun
        self.ended = ended
        self.wake: float | None = None
        self.work = 0
        self.hits = 0
        self.waiting: deque[Job] = deque()
        self.reading: deque[Job] = deque()
        self.running: dict[Job, None] = {}
        self._count = 0  # answer tokens written in steps so far, by everybody alike
        self._context = 0
        self._now = 0.0
        self._steps = 0  # of the present stretch
        self._chunks: list[tuple[Job, int]] = []
        self._pinned: dict[int, int] = {}
        self._kept: OrderedDict[int, None] = OrderedDict()
        self._free = speed.blocks

    @property
    def kv_usage(self) -> float:
        """Share of its KV cache that requests use."""
        return 1.0 - (self._free + len(self._kept)) / self.speed.blocks

    def arrive(self, job: Job, now: float) -> None:
        """A request comes; it is looked at when the present step ends."""
        self.waiting.append(job)
        if self.wake is None:
            self._begin(now)
        elif self._steps > 1:  # end a stretch of equal steps at the next of them
            self._cut(now)

    def advance(self, now: float) -> None:
        """The time of `wake` has come."""
        assert self.wake is not None
        self._finish(now)
        self._begin(now)

    def _cut(self, now: float) -> None:
        """Shorten the stretch to the end of the step that `now` is in."""
        base = self._base()
        grows = self.speed.context * len(self.running)
        at, steps = self._now, 0
        gone = now - at
        # seconds of n steps: n * base + grows * n * (n - 1) / 2
        if grows > 0.0:
            steps = int(
                (((base - grows / 2) ** 2 + 2 * grows * gone) ** 0.5 - base + grows / 2) / grows
            )
        else:
            steps = int(gone / base)
        steps = min(self._steps, steps + 1)
        self._steps = steps
        self.wake = at + steps * base + grows * steps * (steps - 1) / 2

    def _base(self) -> float:
        speed = self.speed
        return speed.step + speed.context * self._context + speed.answer * len(self.running)

    def _finish(self, now: float) -> None:
        """What the stretch did."""
        steps, running = self._steps, self.running
        self._count += steps
        self._context += steps * len(running)
        ended = [job for job in running if job.ends <= self._count]
        for job, tokens in self._chunks:
            job.read += tokens
            if job.read >= job.request.prompt:
                self.reading.popleft()
                job.first = now
                self.begun(job, now)
                job.ends = self._count + job.request.answer - 1
                if job.request.answer <= 1:
                    ended.append(job)
                else:
                    self._context += job.request.prompt + 1
                running[job] = None
        for job in ended:
            del running[job]
            if job.request.answer > 1:
                self._context -= job.request.prompt + job.request.answer
            self._release(job)
            self.ended(job, now)

    def _begin(self, now: float) -> None:
        """Let in who fits, and plan what follows until something changes."""
        self._now = now
        self._admit()
        self._chunks = []
        speed = self.speed
        if self.reading:
            left = max(256, speed.budget - len(self.running))
            seconds = self._base()
            for job in self.reading:
                tokens = min(left, job.request.prompt - job.read)
                seconds += tokens * (speed.token + speed.attention * (job.read + tokens / 2))
                self._chunks.append((job, tokens))
                left -= tokens
                if not left:
                    break
            self._steps = 1
            self.wake = now + seconds
        elif self.running:
            steps = max(1, min(job.ends for job in self.running) - self._count)
            self._steps = steps
            grows = speed.context * len(self.running)
            self.wake = now + steps * self._base() + grows * steps * (steps - 1) / 2
        else:
            self.wake = None

    def _admit(self) -> None:
        tokens = sum(job.request.prompt - job.read for job in self.reading)
        while self.waiting and tokens < self.speed.budget:
            job = self.waiting[0]
            if len(self.running) + len(self.reading) >= self.speed.running:
                return
            if not self._claim(job):
                return
            self.waiting.popleft()
            self.reading.append(job)
            tokens += job.request.prompt - job.read

    def _claim(self, job: Job) -> bool:
        """Take blocks for the prompt and the answer, those in the cache first."""
        names, pinned, kept = job.names, self._pinned, self._kept
        hits = 0
        for name in names:
            if name not in pinned and name not in kept:
                break
            hits += 1
        request = job.request
        answer = -(-(request.prompt + request.answer) // BLOCK) - len(names)
        job.blocks = max(answer, 0)
        revived = sum(1 for name in names[:hits] if name not in pinned)
        needed = len(names) - hits + job.blocks
        idle = not self.running and not self.reading
        if needed > self._free + len(kept) - revived and not idle:
            return False
        for name in names[:hits]:
            kept.pop(name, None)
            pinned[name] = pinned.get(name, 0) + 1
        for name in names[hits:]:
            if name in kept:  # held, but what comes before it was forgotten
                del kept[name]
                self._free += 1
            if name in pinned:
                self._free += 1
            pinned[name] = pinned.get(name, 0) + 1
        self._free -= needed
        while self._free < 0 and kept:
            kept.popitem(last=False)
            self._free += 1
        job.hits = hits
        self.hits += hits
        job.read = min(hits * BLOCK, request.prompt - 1)
        self.work += request.prompt - job.read
        return True

    def _release(self, job: Job) -> None:
        self._free += job.blocks
        pinned, kept = self._pinned, self._kept
        for name in reversed(job.names):
            users = pinned[name] - 1
            if users:
                pinned[name] = users
            else:
                del pinned[name]
                kept[name] = None
