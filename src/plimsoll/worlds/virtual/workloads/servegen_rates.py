"""ServeGen's rates: how many requests each client sends in each window, and how unevenly.

Source of the shape: alibaba/ServeGen, Apache-2.0.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from plimsoll.errors import InputError
from plimsoll.units import duration
from plimsoll.worlds.virtual.workloads.lines import table

COLUMNS = frozenset({"model", "client", "t_s", "rate_rps", "cv", "iat_dist", "p1", "p2"})
WINDOW_SECONDS = 600.0  # of the published files
DISTRIBUTIONS = ("Gamma", "Weibull")
_LARGEST = 1e9
_MOST_RATE = 1e4  # requests/s of one client, whose window is held in memory
_UNLIKELY = 1e-3  # holes as long that chance would make in the whole file


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientWindow:
    """One client in one window.

    client  index into `Rates.clients`
    start   of the window, seconds
    rate    requests/s
    kind    index into DISTRIBUTIONS, of the times between requests
    shape   of that distribution
    """

    client: int
    start: float
    rate: float
    kind: int
    shape: float


class Rates:
    """The clients of one model, window by window.

    model    name
    clients  names, in the order of the file
    window   length of a window, seconds
    start    of the first window, seconds
    seconds  from the start of the first window to the end of the last
    """

    def __init__(self, model: str) -> None:
        self.model = model
        self.clients: list[str] = []
        self.window = WINDOW_SECONDS
        self.start = 0.0
        self.seconds = 0.0
        self._starts = array("d")
        self._client = array("l")
        self._rate = array("d")
        self._kind = bytearray()
        self._shape = array("d")

    def add(self, row: ClientWindow) -> None:
        """One more row, in any order."""
        self._starts.append(row.start)
        self._client.append(row.client)
        self._rate.append(row.rate)
        self._kind.append(row.kind)
        self._shape.append(row.shape)

    def close(self) -> None:
        """Order what was added by time."""
        starts = self._starts
        order = sorted(range(len(starts)), key=starts.__getitem__)
        distinct = sorted(set(starts))
        if len(distinct) > 1:
            # Rows further apart than a window's usual length leave out idle windows.
            self.window = min(WINDOW_SECONDS, *(b - a for a, b in pairwise(distinct)))
        self.start = distinct[0]
        self.seconds = distinct[-1] - distinct[0] + self.window
        self._starts = array("d", (starts[i] for i in order))
        self._client = array("l", (self._client[i] for i in order))
        self._rate = array("d", (self._rate[i] for i in order))
        self._kind = bytearray(self._kind[i] for i in order)
        self._shape = array("d", (self._shape[i] for i in order))

    def at(self, start: float) -> Iterator[ClientWindow]:
        """Every client that asks in the window that begins then."""
        starts = self._starts
        index = bisect_left(starts, start)
        while index < len(starts) and starts[index] == start:
            yield ClientWindow(
                client=self._client[index],
                start=start,
                rate=self._rate[index],
                kind=self._kind[index],
                shape=self._shape[index],
            )
            index += 1

    def starts(self, begin: float, end: float) -> Iterator[float]:
        """Starts of the windows that have rows and touch the time from `begin` to `end`."""
        starts = self._starts
        index = bisect_left(starts, begin - self.window + 1e-9)
        while index < len(starts) and starts[index] < end:
            start = starts[index]
            yield start
            index = bisect_left(starts, start + self.window / 2, index)

    def requests(self) -> list[float]:
        """Requests that each client sends in all, by its index."""
        sums = [0.0] * len(self.clients)
        for client, rate in zip(self._client, self._rate, strict=True):
            sums[client] += rate * self.window
        return sums

    def holes(self) -> Iterator[tuple[float, float]]:
        """Start and end of each time in which no client asks, though some client should have.

        A hole is one that chance would not make: each client asks in as many windows as it does,
        at random.
        """
        windows = max(1, round(self.seconds / self.window))
        none = 1.0
        for asked in Counter(self._client).values():
            none *= max(1, windows - asked) / (windows + 1)
        before = self.start
        for start in self.starts(self.start, self.start + self.seconds):
            missing = round((start - before) / self.window) - 1
            if missing > 0 and windows * none**missing < _UNLIKELY:
                yield before + self.window, start
            before = start


def read_rates(path: Path, model: str | None = None, *, allow_gaps: bool = False) -> Rates:
    """The rates of one model of a file; without a name, of the only one there is.

    Raises InputError that names the line: columns, values, windows of a client that are twice or
    not in order, and, unless `allow_gaps`, windows in which all clients are missing.
    """
    with closing(table(path, COLUMNS)) as rows:
        return _read(rows, path, model, allow_gaps=allow_gaps)


def _read(
    rows: Iterator[tuple[int, list[str]]], path: Path, model: str | None, *, allow_gaps: bool
) -> Rates:
    _, header = next(rows)
    places = tuple(map(header.index, ("model", "client", "t_s", "rate_rps", "iat_dist", "p1")))
    found: dict[str, Rates] = {}
    clients: dict[tuple[str, str], tuple[int, float]] = {}
    first: dict[tuple[str, float], int] = {}
    for line, row in rows:
        name, client, *cells = (row[place] for place in places)
        where = f"{path}:{line}"
        if not name.strip() or not client.strip():
            raise _bad("a row needs a `model` and a `client`", where)
        start, rate, shape = (
            _number(cell, column, where)
            for cell, column in zip(
                (cells[0], cells[1], cells[3]), ("t_s", "rate_rps", "p1"), strict=True
            )
        )
        if rate > _MOST_RATE:
            raise _bad(f"`rate_rps` is above {_MOST_RATE:g}, more than one client sends", where)
        rates = found.setdefault(name, Rates(name))
        index, last = clients.get((name, client), (len(rates.clients), -1.0))
        if last < 0:
            rates.clients.append(client)
        elif start <= last:
            raise _unsorted(client, name, start=start, last=last, where=where)
        clients[name, client] = (index, start)
        first[name, start] = min(line, first.get((name, start), line))
        kind = _kind(cells[2], rate=rate, shape=shape, where=where)
        if rate > 0:
            rates.add(ClientWindow(client=index, start=start, rate=rate, kind=kind, shape=shape))
    rates = _chosen(found, model, path)
    if not allow_gaps:
        for begin, end in rates.holes():
            raise InputError(
                f"no client of `{rates.model}` asks in the {duration(end - begin)} before "
                f"t_s {end:g}: part of the trace seems to be missing",
                where=f"{path}:{first[rates.model, end]}",
                hint="fill it, or use the part before or after it; `--allow-gaps` if nobody "
                "asked then",
                code="trace.gap",
            )
    return rates


def _chosen(found: dict[str, Rates], model: str | None, path: Path) -> Rates:
    names = ", ".join(f"`{name}`" for name in sorted(found))
    if not found:
        raise InputError(
            "a header and no rates",
            where=f"{path}:2",
            hint="see whether the file is whole",
            code="trace.empty",
        )
    if model is None and len(found) > 1:
        raise InputError(
            f"rates of {len(found)} models, and none of them was chosen",
            where=str(path),
            hint=f"choose one of {names}",
            code="trace.model",
        )
    rates = found.get(next(iter(found)) if model is None else model)
    if rates is None:
        raise InputError(
            f"no rates of model `{model}`",
            where=str(path),
            hint=f"it has {names}",
            code="trace.model",
        )
    if not any(rates.requests()):
        raise InputError(
            f"every rate of `{rates.model}` is 0",
            where=str(path),
            hint="choose another model or file",
            code="trace.empty",
        )
    rates.close()
    return rates


def _kind(text: str, *, rate: float, shape: float, where: str) -> int:
    if text not in DISTRIBUTIONS:
        raise _bad(f"`iat_dist` must be {' or '.join(DISTRIBUTIONS)}, not `{text[:40]}`", where)
    if rate > 0 and shape <= 0:
        raise _bad("`p1`, the shape, must be above 0 where there is a rate", where)
    return DISTRIBUTIONS.index(text)


def _number(cell: str, column: str, where: str) -> float:
    try:
        value = float(cell)
    except ValueError:
        value = -1.0
    if not 0 <= value <= _LARGEST:
        raise _bad(f"`{column}` must be a number from 0, not `{cell[:40]}`", where)
    return value


def _unsorted(client: str, model: str, *, start: float, last: float, where: str) -> InputError:
    fault = "twice" if start == last else f"after t_s {last:g}"
    return InputError(
        f"t_s {start:g} of client `{client}` of `{model}` comes {fault}",
        where=where,
        hint="sort the rows by model, client and t_s, each window once",
        code="trace.unsorted",
    )


def _bad(message: str, where: str) -> InputError:
    return InputError(
        message, where=where, hint="leave the row out, or mend it", code="trace.value"
    )
