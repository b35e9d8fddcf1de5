"""Conditions as Kubernetes means them: the time changes only when the status does. Pure.

Source: `metav1.Condition`; KEP-1623.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal

State = Literal["True", "False", "Unknown"]

LONGEST_MESSAGE = 2048  # characters; the whole status has to fit into one object


@dataclass(frozen=True, slots=True, kw_only=True)
class Condition:
    """One thing that is true of a Fleet, or not.

    kind     what: `Ready`, `Accepted`, ...
    status   whether
    reason   one word in CamelCase
    message  for a person
    """

    kind: str
    status: State
    reason: str
    message: str = ""


def merged(
    before: Sequence[Mapping[str, Any]],
    now: Iterable[Condition],
    *,
    generation: int,
    at: float,
) -> list[dict[str, Any]]:
    """The conditions to write; `before` are those that the object has.

    at  seconds since 1970
    """
    old = {entry["type"]: entry for entry in before}
    found = []
    for condition in now:
        last = old.get(condition.kind)
        same = last is not None and last.get("status") == condition.status
        since = last.get("lastTransitionTime") if same and last is not None else None
        found.append(
            {
                "type": condition.kind,
                "status": condition.status,
                "observedGeneration": generation,
                "lastTransitionTime": since or written_time(at),
                "reason": condition.reason,
                "message": _cut(condition.message),
            }
        )
    return found


def written_time(seconds: float) -> str:
    """A time as the API writes it: whole seconds in UTC."""
    return datetime.fromtimestamp(int(seconds), UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def written_micro_time(seconds: float) -> str:
    """A time as a Lease holds it: microseconds in UTC."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def changes(
    before: Sequence[Mapping[str, Any]], after: Sequence[Mapping[str, Any]]
) -> list[Mapping[str, Any]]:
    """Conditions whose status or reason is another than before."""
    old = {entry["type"]: (entry.get("status"), entry.get("reason")) for entry in before}
    return [
        entry for entry in after if old.get(entry["type"]) != (entry["status"], entry["reason"])
    ]


def _cut(message: str) -> str:
    return message if len(message) <= LONGEST_MESSAGE else f"{message[: LONGEST_MESSAGE - 4]} ..."
