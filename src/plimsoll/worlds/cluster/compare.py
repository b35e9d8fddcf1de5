"""What differs between two states of an object, field by field."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

# What the API server writes itself; it changes without anybody's wish.
_SERVER_METADATA = frozenset({
    "creationTimestamp", "deletionGracePeriodSeconds", "deletionTimestamp", "generation",
    "managedFields", "resourceVersion", "selfLink", "uid",
})  # fmt: skip
_ANNOTATIONS = frozenset({
    "deployment.kubernetes.io/revision", "kubectl.kubernetes.io/last-applied-configuration",
})  # fmt: skip
_ITEM_NAMES = ("name", "mountPath", "containerPort", "topologyKey", "type", "key")
HIDDEN = "(hidden)"


@dataclass(frozen=True, slots=True, kw_only=True)
class FieldChange:
    """One field that changes.

    path    `spec.template.spec.containers[vllm].image`
    before  its value; None: it was not there
    after   its value; None: it goes
    """

    path: str
    before: Any
    after: Any


def field_changes(
    before: Mapping[str, Any] | None, after: Mapping[str, Any] | None
) -> tuple[FieldChange, ...]:
    """Fields that differ, in order of their paths; a Secret's values are hidden."""
    secret = "Secret" in ((before or {}).get("kind"), (after or {}).get("kind"))
    found = _differences("", _lasting(before), _lasting(after))
    return tuple(_hidden(change) if secret else change for change in found)


def _lasting(found: Mapping[str, Any] | None) -> dict[str, Any]:
    """An object without its status and what the API server writes into its metadata."""
    if found is None:
        return {}
    kept = {
        name: value
        for name, value in found.items()
        if name not in {"apiVersion", "kind", "status", "metadata"}
    }
    meta = {
        name: value
        for name, value in found.get("metadata", {}).items()
        if name not in _SERVER_METADATA | {"name", "namespace"}
    }
    annotations = {
        name: value
        for name, value in (meta.pop("annotations", None) or {}).items()
        if name not in _ANNOTATIONS
    }
    if annotations:
        meta["annotations"] = annotations
    return {"metadata": meta, **kept} if meta else kept


def _differences(path: str, before: Any, after: Any) -> Iterator[FieldChange]:
    if before == after:
        return
    if isinstance(before, dict) and isinstance(after, dict):
        for name in sorted(before.keys() | after.keys()):
            inner = f"{path}.{_written(name)}" if path else name
            yield from _differences(inner, before.get(name), after.get(name))
        return
    if isinstance(before, list) and isinstance(after, list):
        names = _item_names(before, after)
        if names is not None:
            olds, news = names
            for name in dict.fromkeys([*olds, *news]):
                yield from _differences(f"{path}[{name}]", olds.get(name), news.get(name))
            if olds.keys() == news.keys() and [*olds] != [*news]:
                yield FieldChange(path=f"{path} (order)", before=[*olds], after=[*news])
            return
    yield FieldChange(path=path, before=before, after=after)


def _item_names(
    before: list[Any], after: list[Any]
) -> tuple[dict[str, Any], dict[str, Any]] | None:
    """The items of two lists by what tells them apart; None: nothing does."""
    for name in _ITEM_NAMES:
        if all(isinstance(item, dict) and name in item for item in [*before, *after]):
            olds = {str(item[name]): item for item in before}
            news = {str(item[name]): item for item in after}
            if len(olds) == len(before) and len(news) == len(after):
                return olds, news
    return None


def _written(name: str) -> str:
    """A name as it stands in a path; names with points are quoted."""
    return f'"{name}"' if "." in name or "/" in name else name


def _hidden(change: FieldChange) -> FieldChange:
    if not change.path.startswith(("data", "stringData")):
        return change
    return FieldChange(
        path=change.path,
        before=None if change.before is None else HIDDEN,
        after=None if change.after is None else HIDDEN,
    )
