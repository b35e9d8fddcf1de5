"""What one gateway's page of metrics says of each model. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from plimsoll.errors import Failed
from plimsoll.telemetry.metrics import IN_FLIGHT, QUEUED, REPLICAS, REQUESTS, TOKENS

_NOT_DEMAND = re.compile(r"4(?!29|99)\d\d")
"""Statuses of requests that no replica could have served: the caller's own errors. Refused for want
of room (429) and left by their callers (499) they were demand."""
_TURNED_AWAY = ("429", "503")
"""Statuses of requests for which there was no room: a full queue, no replica in time."""
_SAMPLE = re.compile(
    r'^(?P<name>[a-z_]+)\{(?P<labels>(?:[^"{}]|"(?:[^"\\]|\\.)*")*)\}[ \t]+'
    r"(?P<value>\d+(?:\.\d+)?(?:[eE][+-]?\d{1,2})?)(?:[ \t]|$)",
    re.MULTILINE,
)
_LABEL = re.compile(r'([a-z_]+)="((?:[^"\\]|\\.)*)"')
_ESCAPED = re.compile(r"\\(.)")
_REQUESTS = f"{REQUESTS.name}_total"
_TOKENS = f"{TOKENS.name}_total"
_AT_ONCE = 10  # samples in one part
_NAMES = (_REQUESTS, _TOKENS, QUEUED.name, IN_FLIGHT.name, REPLICAS.name)


@dataclass(slots=True, kw_only=True)
class Counts:
    """One model at one gateway.

    queued      requests that wait now
    in_flight   requests at replicas now
    ready       replicas that get new work now
    ended       requests that were demand and are over, since the gateway's start
    answered    of these, answered well
    missed      of these, turned away for want of room
    prompt      tokens of prompts of answers that stated them, since then
    completion  tokens of those answers
    """

    queued: float = 0.0
    in_flight: float = 0.0
    ready: float = 0.0
    ended: float = 0.0
    answered: float = 0.0
    missed: float = 0.0
    prompt: float = 0.0
    completion: float = 0.0


def counts_of(text: str) -> Mapping[str, Counts]:
    """What a page says, by model.

    Raises Failed for a text that has none of the families: it is no gateway's, or was cut off.
    """
    page = Page(text)
    for _ in page.parts():
        pass
    return page.counts


class Page:
    """A page while it is read.

    counts  what it says by model, once it is read
    """

    def __init__(self, text: str) -> None:
        self.counts: dict[str, Counts] = {}
        self._text = text

    def parts(self) -> Iterator[None]:
        """Read it in parts of a fraction of a millisecond. Raises Failed as `counts_of` does."""
        known = False
        number = 0
        for name in _NAMES:
            block = _family(self._text, name)
            known = known or bool(block)
            for labels, value in _samples(block, name):
                number += 1
                if number % _AT_ONCE == 0:
                    yield
                model = labels.get("model", "")
                if model:
                    _add(self.counts.setdefault(model, Counts()), name, labels, value)
        if not known:
            raise Failed(
                "the page is not a gateway's metrics",
                hint="see which port and path the gateway shows its metrics at",
                code="scaler.page",
            )


def _family(text: str, name: str) -> str:
    """The part of the text with a family's samples."""
    start = text.find(f"# TYPE {name} ")
    if start < 0:
        return ""
    end = text.find("\n# HELP ", start)
    return text[start : end if end >= 0 else len(text)]


def _samples(block: str, name: str) -> Iterator[tuple[Mapping[str, str], float]]:
    for sample in _SAMPLE.finditer(block):
        if sample["name"] == name:
            labels = {key: _plain(value) for key, value in _LABEL.findall(sample["labels"])}
            yield labels, float(sample["value"])


def _add(counts: Counts, name: str, labels: Mapping[str, str], value: float) -> None:
    if name == _REQUESTS:
        status = labels.get("status", "")
        if not _NOT_DEMAND.fullmatch(status):
            counts.ended += value
        if status.startswith("2"):
            counts.answered += value
        elif status in _TURNED_AWAY:
            counts.missed += value
    elif name == _TOKENS:
        if labels.get("kind") == "prompt":
            counts.prompt += value
        else:
            counts.completion += value
    elif name == QUEUED.name:
        counts.queued += value
    elif name == IN_FLIGHT.name:
        counts.in_flight += value
    else:
        counts.ready += value


def _plain(value: str) -> str:
    if "\\" not in value:
        return value
    return _ESCAPED.sub(lambda match: "\n" if match[1] == "n" else match[1], value)
