"""Manifests as YAML text: the same manifests always give the same text.

PyYAML decides how a scalar is quoted, once for each; the layout of maps and lists around it is
written here, which takes a tenth of the time for a thousand models.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from functools import lru_cache
from typing import Any

import yaml

from plimsoll.worlds.cluster.objects.site import Manifest

_WIDEST = 1 << 30  # columns: a line that is broken makes two lines of a diff out of one


def to_yaml(manifests: Iterable[Manifest]) -> str:
    """One YAML document per manifest, each after `---`."""
    lines: list[str] = []
    for manifest in manifests:
        lines.append("---")
        lines.extend(_map(manifest, ""))
    return "\n".join(lines) + "\n" if lines else ""


def _map(entries: Mapping[str, Any], indent: str) -> Iterator[str]:
    for key, value in entries.items():
        yield from _entry(f"{indent}{_scalar(key)}:", value, indent)


def _list(items: Iterable[Any], indent: str) -> Iterator[str]:
    """Each item after a dash; the first entry of a map stands beside it."""
    inner = f"{indent}  "
    for item in items:
        if isinstance(item, Mapping) and item:
            first, *rest = _map(item, inner)
            yield f"{indent}- {first[len(inner) :]}"
            yield from rest
        elif isinstance(item, list | tuple) and item:
            first, *rest = _list(item, inner)
            yield f"{indent}- {first[len(inner) :]}"
            yield from rest
        else:
            yield from _entry(f"{indent}-", item, indent)


def _entry(head: str, value: Any, indent: str) -> Iterator[str]:
    if isinstance(value, Mapping):
        if not value:
            yield f"{head} {{}}"
            return
        yield head
        yield from _map(value, f"{indent}  ")
    elif isinstance(value, list | tuple):
        if not value:
            yield f"{head} []"
            return
        yield head
        yield from _list(value, indent)
    elif isinstance(value, str) and "\n" in value:
        yield from _text(head, value, f"{indent}  ")
    else:
        yield f"{head} {_scalar(value)}"


def _text(head: str, value: str, indent: str) -> Iterator[str]:
    """Text of several lines as a block, to be read; quoted where a block would not do."""
    lines = value.removesuffix("\n").split("\n")
    odd = any(line != line.rstrip() or not line.isprintable() for line in lines)
    if odd or not lines[0].strip() or lines[0][0] == " " or not lines[-1]:
        yield f"{head} {_quoted(value)}"
        return
    yield f"{head} |" if value.endswith("\n") else f"{head} |-"
    for line in lines:
        yield f"{indent}{line}" if line else ""


def _scalar(value: Any) -> str:
    # What is cached is text, of which much is repeated; `1`, `1.0` and `True` would be one key.
    return _known(value) if isinstance(value, str) else _written(value)


@lru_cache(maxsize=65_536)
def _known(text: str) -> str:
    return _written(text) if text.isprintable() else _quoted(text)


def _written(value: Any) -> str:
    """A scalar as PyYAML writes it."""
    if type(value) is int:
        return str(value)
    text: str = yaml.safe_dump(value, width=_WIDEST, allow_unicode=True)
    return text.removesuffix("\n").removesuffix("\n...")


def _quoted(value: str) -> str:
    """Text in double quotes on one line."""
    text: str = yaml.safe_dump(value, default_style='"', width=_WIDEST, allow_unicode=True)
    return text.removesuffix("\n")
