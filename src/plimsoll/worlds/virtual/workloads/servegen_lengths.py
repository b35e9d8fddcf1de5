"""ServeGen's lengths: quantiles of the tokens of each client's requests, by windows of hours.

Source of the shape: derived from alibaba/ServeGen, Apache-2.0.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from random import Random

from plimsoll.errors import InputError
from plimsoll.worlds.virtual.workloads.lines import table

_FIXED = ("model", "client", "t_s", "field", "mean")
_LEVELS = (1, 5, 10, 20, 30, 40, 50, 60, 70, 80, 90, 95, 99, 99.9, 100)
COLUMNS = frozenset({*_FIXED, *(f"q{level:g}" for level in _LEVELS)})
_SHARES = (0.0, *(level / 100 for level in _LEVELS))
_OUTPUT = "output_tokens"
_INPUT = "input_tokens"
_TOKENS, _COUNT = "_tokens", "_count"
_LARGEST = 1e9


@dataclass(frozen=True, slots=True)
class Quantiles:
    """One field's distribution: its values at _SHARES, between them a straight line.

    Under the lowest quantile that is given, the value is that quantile.
    """

    values: tuple[float, ...]

    def draw(self, share: float) -> float:
        """The value below which `share` (0 to 1) of the requests are."""
        index = bisect_right(_SHARES, share, 1, len(_SHARES) - 1)
        low, high = _SHARES[index - 1], _SHARES[index]
        below, above = self.values[index - 1], self.values[index]
        return below + (above - below) * (share - low) / (high - low)


@dataclass(frozen=True, slots=True, kw_only=True)
class Sizes:
    """The lengths of one client's requests in one window of hours.

    parts   of the prompt: tokens of one, and how many there are (None: one)
    output  tokens of the answer
    """

    parts: tuple[tuple[Quantiles, Quantiles | None], ...]
    output: Quantiles

    def draw(self, chance: Random) -> tuple[int, int]:
        """Prompt and output tokens, at least 1 each. Prompt and answer, which the source
        describes apart, are drawn apart; pictures of one request are of one size.
        """
        share = chance.random
        tokens = 0.0
        for size, count in self.parts:
            amount = size.draw(share())
            tokens += amount if count is None else amount * round(count.draw(share()))
        return max(1, round(tokens)), max(1, round(self.output.draw(share())))


class Lengths:
    """The lengths of the clients of one model. `of` says whose they are."""

    def __init__(self, path: Path, model: str) -> None:
        """Read a file. Raises InputError that names the line, or where it lacks the model."""
        self._path = path
        self._model = model
        fields = _read(path, model)
        if not fields:
            raise InputError(
                f"no lengths of model `{model}`",
                where=str(path),
                hint="give the file of lengths that belongs to the rates",
                code="trace.model",
            )
        self._windows: dict[str, tuple[list[float], list[Sizes]]] = {}
        for (client, start), found in sorted(fields.items(), key=lambda item: item[0][1]):
            starts, sizes = self._windows.setdefault(client, ([], []))
            starts.append(start)
            sizes.append(self._sizes(client, found))

    @property
    def clients(self) -> frozenset[str]:
        """Names of the clients that have lengths."""
        return frozenset(self._windows)

    def of(self, client: str, at: float) -> Sizes:
        """The lengths in the window that holds `at` seconds, or else in the nearest before it,
        or else in the first.
        """
        starts, sizes = self._windows[client]
        return sizes[max(0, bisect_right(starts, at) - 1)]

    def _sizes(self, client: str, found: dict[str, Quantiles]) -> Sizes:
        parts: list[tuple[Quantiles, Quantiles | None]] = []
        if _INPUT in found:
            parts.append((found[_INPUT], None))
        else:
            for name, size in found.items():
                if name.endswith(_TOKENS) and name != _OUTPUT:
                    parts.append((size, found.get(name.removesuffix(_TOKENS) + _COUNT)))
            # What a client never sends need not be drawn for each of its requests.
            parts = [part for part in parts if part[0].values[-1] > 0] or parts[:1]
        if not parts or _OUTPUT not in found:
            raise InputError(
                f"client `{client}` of `{self._model}` has no "
                f"{'lengths of prompts' if not parts else f'`{_OUTPUT}`'}",
                where=str(self._path),
                hint=f"the fields `{_INPUT}` and `{_OUTPUT}` are needed",
                code="trace.value",
            )
        return Sizes(parts=tuple(parts), output=found[_OUTPUT])


def peers(clients: Sequence[str], requests: Sequence[float], known: frozenset[str]) -> list[str]:
    """Whose lengths each client takes: its own or, without any, those of a peer.

    The largest client that has none takes those of the largest that has, the second those of the
    second, so that no single peer's lengths become those of most requests.
    """
    order = sorted(range(len(clients)), key=lambda index: -requests[index])
    having = [clients[index] for index in order if clients[index] in known]
    having = having or sorted(known)
    lacking = [index for index in order if clients[index] not in known]
    taken = list(clients)
    for rank, index in enumerate(lacking):
        taken[index] = having[rank % len(having)]
    return taken


def _read(path: Path, model: str) -> dict[tuple[str, float], dict[str, Quantiles]]:
    with closing(table(path, COLUMNS)) as rows:
        return _quantiles(rows, path, model)


def _quantiles(
    rows: Iterator[tuple[int, list[str]]], path: Path, model: str
) -> dict[tuple[str, float], dict[str, Quantiles]]:
    _, header = next(rows)
    places = [header.index(name) for name in ("model", "client", "t_s", "field")]
    quantiles = [header.index(f"q{level:g}") for level in _LEVELS]
    fields: dict[tuple[str, float], dict[str, Quantiles]] = {}
    for line, row in rows:
        name, client, start, field = (row[place] for place in places)
        where = f"{path}:{line}"
        values = tuple(_number(row[place], header[place], where) for place in quantiles)
        if any(b < a for a, b in pairwise(values)):
            raise _bad("the quantiles fall, where each must be at least the one before it", where)
        if name != model:
            continue
        found = fields.setdefault((client, _number(start, "t_s", where)), {})
        if field in found:
            raise _bad(f"`{field}` of client `{client}` at t_s {start} comes twice", where)
        found[field] = Quantiles((values[0], *values))
    return fields


def _number(cell: str, column: str, where: str) -> float:
    try:
        value = float(cell)
    except ValueError:
        value = -1.0
    if not 0 <= value <= _LARGEST:
        raise _bad(f"`{column}` must be a number from 0, not `{cell[:40]}`", where)
    return value


def _bad(message: str, where: str) -> InputError:
    return InputError(
        message, where=where, hint="leave the row out, or mend it", code="trace.value"
    )
