"""Which model a caller's word means: its name, or an alias, tier or adapter that models share."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from hashlib import blake2b
from math import inf, log

from plimsoll.policy.requests.types import Served


class Names:
    """Every word by which the offered models may be called."""

    def __init__(self, models: Iterable[Served]) -> None:
        self._own = {served.name: served for served in models}
        self._shared: dict[str, list[Served]] = {}
        for served in self._own.values():
            for word in dict.fromkeys((*served.aliases, served.tier, *served.adapters)):
                if word and word not in self._own:
                    self._shared.setdefault(word, []).append(served)

    def spoken(self) -> tuple[str, ...]:
        """Every word, the models' own names first."""
        return (*self._own, *self._shared)

    def resolve(self, word: str, key: str, ready: Callable[[str], bool]) -> Served | None:
        """The model for a word, or None where nobody is called so.

        key    of a session or request: it always comes to the same model, at every gateway and
               in every process, as long as the same models are ready
        ready  whether a model has a replica; those without are left out where another has one

        Models that share a word get keys by their weights. When one comes or goes, only the keys
        that it gets or had move (weighted rendezvous hashing).
        """
        own = self._own.get(word)
        if own is not None:
            return own
        models = self._shared.get(word)
        if models is None or len(models) == 1:
            return models[0] if models else None
        models = [served for served in models if ready(served.name)] or models
        return min(models, key=lambda served: _draw(served, key))


def _draw(served: Served, key: str) -> float:
    """A number that is the smallest of all as often as the weight says."""
    weight = 1 if served.weight is None else served.weight
    if weight <= 0:
        return inf
    digest = blake2b(f"{served.name}\0{key}".encode("utf-8", "surrogatepass"), digest_size=7)
    uniform = (int.from_bytes(digest.digest(), "big") + 1) / 2.0**56
    return -log(uniform) / weight
