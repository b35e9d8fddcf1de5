"""How long replicas take to read prompts, measured while they do. Pure."""

from __future__ import annotations

from typing import Final

_KEPT: Final = 0.995  # weight that a sample keeps when the next one comes
_STEADY: Final = 24.0  # samples, weighed, before more than one number is told from them


class ReadingTime:
    """Seconds to read a part of a prompt: a share per token, and one per token and token before
    it, which is attention and makes the longest prompts several times slower.

    Measured from times to the first byte by least squares, old samples weighing less; what every
    request costs whatever its length is a third number, lest it count as slow reading.

    token      seconds per token; the one assumed until there was a sample
    attention  seconds per token and token before it
    fixed      whether `token` was given and stays
    """

    __slots__ = ("_n", "_t", "_tu", "_tw", "_u", "_uu", "_uw", "_w", "_ww", "attention", "fixed",
                 "token")  # fmt: skip

    def __init__(self, token: float, *, fixed: bool) -> None:
        self.token = token
        self.attention = 0.0
        self.fixed = fixed
        self._n = self._u = self._w = self._t = 0.0
        self._uu = self._uw = self._ww = self._tu = self._tw = 0.0

    def seconds(self, tokens: int, before: int) -> float:
        """To read so many tokens that follow so many that are held already."""
        return tokens * (self.token + self.attention * (before + 0.5 * tokens))

    def took(self, tokens: int, before: int, seconds: float) -> None:
        """A replica that read nothing else took so long."""
        if seconds <= 0.0:
            return
        # Thousands of tokens, so that squares of squares stay of a size.
        u = tokens * 1e-3
        w = u * (before * 1e-3 + 0.5 * u)
        keep = _KEPT
        self._n = self._n * keep + 1.0
        self._u = self._u * keep + u
        self._w = self._w * keep + w
        self._t = self._t * keep + seconds
        self._uu = self._uu * keep + u * u
        self._uw = self._uw * keep + u * w
        self._ww = self._ww * keep + w * w
        self._tu = self._tu * keep + seconds * u
        self._tw = self._tw * keep + seconds * w
        self._fit()

    def _fit(self) -> None:
        n = self._n
        plain = self._t / self._u  # no other line through the samples is as safe
        token, attention = plain, 0.0
        if n >= _STEADY:
            # Around the averages, so that the third number drops out.
            uu = self._uu - self._u * self._u / n
            uw = self._uw - self._u * self._w / n
            ww = self._ww - self._w * self._w / n
            tu = self._tu - self._t * self._u / n
            tw = self._tw - self._t * self._w / n
            free = uu * ww - uw * uw
            if free > 1e-3 * uu * ww > 0.0:
                token, attention = (tu * ww - tw * uw) / free, (tw * uu - tu * uw) / free
            if attention < 0.0 or not free > 1e-3 * uu * ww:
                token, attention = (tu / uu if uu > 0.05 * self._uu else plain), 0.0
            if token < 0.1 * plain:  # chance, or nearly all of it attention
                token = 0.1 * plain
                rest = self._t - token * self._u
                attention = max(0.0, rest / self._w) if self._w > 0.0 else 0.0
        if not self.fixed:
            self.token = token * 1e-3
        self.attention = attention * 1e-6
