"""The difference between a cluster and what is wished, for people and for programs."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import msgspec

from plimsoll.units import money
from plimsoll.worlds.cluster.changes import Change, Changes, Verdict
from plimsoll.worlds.cluster.compare import FieldChange
from plimsoll.worlds.cluster.loads import accelerators, replicas
from plimsoll.worlds.cluster.objects.site import Manifest
from plimsoll.worlds.cluster.reference import Key

Price = Callable[[Manifest], float]  # dollars per hour of one replica of a workload
MARKS: Mapping[Verdict, str] = {
    "create": "+",
    "update": "~",
    "delete": "-",
    "keep": "=",
    "blocked": "!",
    "unchanged": " ",
}
_WORDS: tuple[tuple[Verdict, str], ...] = (
    ("create", "to create"),
    ("update", "to change"),
    ("delete", "to delete"),
    ("keep", "kept"),
    ("unchanged", "unchanged"),
    ("blocked", "blocked"),
)
_LONGEST = 72  # characters of a value on one line


@dataclass(frozen=True, slots=True, kw_only=True)
class Totals:
    """What all workloads hold and cost.

    accelerators  devices, or slices of such
    dollars       per hour; None where no price is known
    """

    accelerators: Decimal
    dollars: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """The whole difference.

    before, after  totals now and after the apply
    """

    changes: Changes
    before: Totals
    after: Totals


def difference(
    changes: Changes, counts: Mapping[Key, int], price: Price | None = None
) -> Difference:
    """What changes, with the totals before and after.

    counts  replicas of workloads whose scaler owns them and that are not there yet
    price   dollars per hour of one replica; None: nobody knows
    """
    before, after = [], []
    for change in changes.changes:
        stays = change.verdict in ("keep", "blocked")
        if change.live is not None:
            before.append(change.live)
        if change.verdict == "delete":
            continue
        # Of a new workload the dry run shows Kubernetes' default, not what its scaler will choose.
        expected = change.result if change.live is not None else change.wished
        later = change.live if stays else expected or change.wished
        if later is not None:
            after.append(_counted(later, change.live))
    return Difference(
        changes=changes,
        before=_totals(before, counts, price),
        after=_totals(after, counts, price),
    )


def text(found: Difference, *, full: bool = False) -> str:
    """The difference to read; `full` shows what is new and what is unchanged, too."""
    return "\n".join([*_blocks(found, full=full), *summary(found)])


def summary(found: Difference) -> tuple[str, ...]:
    """What it comes to: objects, accelerators, dollars per hour."""
    counted = [
        f"{len(found.changes.of(verdict))} {word}"
        for verdict, word in _WORDS
        if found.changes.of(verdict)
    ]
    lines = [", ".join(counted) or "nothing is wished and nothing is there"]
    before, after = found.before, found.after
    lines.append(
        f"GPUs {before.accelerators} -> {after.accelerators} "
        f"({after.accelerators - before.accelerators:+})"
    )
    if before.dollars is not None and after.dollars is not None:
        step = after.dollars - before.dollars
        sign = "-" if step < 0 else "+"
        lines.append(
            f"{money(before.dollars)}/h -> {money(after.dollars)}/h ({sign}{money(abs(step))}/h)"
        )
    return tuple(lines)


def as_data(found: Difference) -> dict[str, Any]:
    """The difference for `--json`."""
    return {
        "changes": [_change_data(change) for change in found.changes.changes],
        "problems": [problem.as_dict() for problem in found.changes.problems],
        "gpus": {
            "before": float(found.before.accelerators),
            "after": float(found.after.accelerators),
        },
        "dollarsPerHour": {"before": found.before.dollars, "after": found.after.dollars},
    }


def _blocks(found: Difference, *, full: bool) -> Iterator[str]:
    for change in found.changes.changes:
        if change.verdict == "unchanged" and not full:
            continue
        note = f" ({change.note})" if change.note else ""
        yield f"{MARKS[change.verdict]} {change.key}{note}"
        for problem in change.problems:
            yield f"    {problem.message}"
            if problem.hint:
                yield f"    {problem.hint}"
        if change.verdict == "update" and not change.fields:
            yield "    (only who owns which field)"
        for field in change.fields:
            yield from _field_lines(field)
    for problem in found.changes.problems:
        yield f"! {problem}"


def _field_lines(field: FieldChange) -> Iterator[str]:
    before, after = _shown(field.before), _shown(field.after)
    if field.before is None:
        line = f"    {field.path}: + {after}"
    elif field.after is None:
        line = f"    {field.path}: - {before}"
    else:
        line = f"    {field.path}: {before} -> {after}"
    if "\n" not in line and len(before) + len(after) <= 2 * _LONGEST:
        yield line
        return
    yield f"    {field.path}:"
    for sign, value in (("-", field.before), ("+", field.after)):
        if value is not None:
            yield from (f"      {sign} {part}" for part in _shown(value).splitlines())


def _shown(value: Any) -> str:
    """A value as one would write it: text as it is, all else as JSON."""
    return value if isinstance(value, str) else msgspec.json.encode(value).decode()


def _counted(later: Manifest, live: Manifest | None) -> Manifest:
    """The later state with the replicas of now where a scaler owns them."""
    own = (live or {}).get("spec", {}).get("replicas")
    spec = later.get("spec")
    if own is None or not isinstance(spec, dict) or "replicas" in spec:
        return later
    return {**later, "spec": {**spec, "replicas": own}}


def _totals(manifests: list[Manifest], counts: Mapping[Key, int], price: Price | None) -> Totals:
    devices, dollars = Decimal(0), 0.0
    for manifest in manifests:
        number = replicas(manifest, counts)
        if not number:
            continue
        devices += accelerators(manifest) * number
        dollars += price(manifest) * number if price is not None else 0.0
    return Totals(accelerators=devices, dollars=dollars if price is not None else None)


def _change_data(change: Change) -> dict[str, Any]:
    found: dict[str, Any] = {
        "apiVersion": change.key.api_version,
        "kind": change.key.kind,
        "namespace": change.key.namespace,
        "name": change.key.name,
        "verdict": change.verdict,
    }
    if change.fields:
        found["fields"] = [
            {"path": field.path, "before": field.before, "after": field.after}
            for field in change.fields
        ]
    if change.problems:
        found["problems"] = [problem.as_dict() for problem in change.problems]
    if change.note:
        found["note"] = change.note
    return found
