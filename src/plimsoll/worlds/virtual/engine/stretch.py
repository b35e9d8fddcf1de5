"""Steps that only write, taken together: how long they take, and which blocks they need."""

from __future__ import annotations

from math import sqrt


class Stretch:
    """The present steps of an engine: their number, the answers they write, how long they take.

    Every answer gets one token a step, so that while nobody comes or leaves, each step is longer
    than the one before by the same amount, and each answer needs a block every `block` steps.
    """

    __slots__ = ("_active", "_base", "_begin", "_block", "_grows", "_phases", "_step", "_steps")

    def __init__(self, block: int) -> None:
        self._block = block
        self._phases = [0] * block  # answers, by the step (modulo `block`) that needs a block
        self._active = 0  # answers being written
        self._step = 0  # number of the present step
        self._steps = 0  # taken together from it on; 0: nothing runs
        self._begin = 0.0  # of the present step
        self._base = 0.0  # seconds of the present step
        self._grows = 0.0  # by which each of the steps is longer than the one before

    def _after(self, steps: int) -> float:
        """Seconds that so many steps take."""
        return steps * self._base + self._grows * (0.5 * (steps * (steps - 1)))

    def _last_begin(self) -> float:
        """When the last of the present steps begins."""
        return self._begin + self._after(self._steps - 1) if self._steps > 1 else self._begin

    def _steps_until(self, at: float) -> int:
        """Steps after which the time is not before `at`; the fewest."""
        begin, base, grows = self._begin, self._base, self._grows
        gone = at - begin
        if gone <= 0.0:
            return 0
        if grows > 0.0:
            half = base - 0.5 * grows
            steps = int(2.0 * gone / (half + sqrt(half * half + 2.0 * grows * gone)))
        else:
            steps = int(gone / base)
        while begin + self._after(steps) < at:
            steps += 1
        while steps and begin + self._after(steps - 1) >= at:
            steps -= 1
        return steps

    def _done(self, now: float) -> int:
        """Steps that are over, while the last of the present ones is not."""
        steps = self._steps_until(now)
        if self._begin + self._after(steps) > now:
            steps -= 1
        return max(0, min(steps, self._steps - 1))

    def _needed(self, step: int, steps: int) -> int:
        """Blocks that answers take in so many steps from a step on."""
        rounds, rest = divmod(steps, self._block)
        needed = rounds * self._active
        if rest:
            phases = self._phases
            start = step % self._block
            beyond = start + rest - self._block
            if beyond <= 0:
                needed += sum(phases[start : start + rest])
            else:
                needed += self._active - sum(phases[beyond:start])
        return needed

    def _steps_within(self, free: int) -> int:
        """Steps until the blocks are used up; those of the present one are taken already."""
        rounds, rest = divmod(free, self._active)
        phases, block = self._phases, self._block
        at = self._step + 1
        for more in range(block):
            rest -= phases[(at + more) % block]
            if rest < 0:
                return 1 + rounds * block + more
        return 1 + rounds * block + block
