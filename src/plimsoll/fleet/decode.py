"""Fleet files in, one Fleet out, or every problem at once with file, line and column."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from plimsoll.errors import Diagnostic, FleetError
from plimsoll.fleet.branches import Place, build
from plimsoll.fleet.header import Part, name_of, read_part
from plimsoll.fleet.nodes import parse
from plimsoll.fleet.problems import EnoughError, Problems
from plimsoll.fleet.reading import Reader
from plimsoll.fleet.references import check_references
from plimsoll.fleet.types import Document, Fleet, Spec


def load_fleet(documents: Sequence[Document]) -> Fleet:
    """The fleet that some files add up to.

    Each file may hold several YAML documents; JSON is YAML too. Sections of all documents are put
    together in order; names must differ over all of them. A model or provider of a document with
    another namespace than the first keeps it in its own `namespace`.

    Raises FleetError with every problem of every file.
    """
    problems = Problems()
    parts: list[Part] = []
    try:
        for document in documents:
            _read(document, problems, parts)
        _check_names(parts, problems)
        check_references([part.spec for part in parts if part.spec is not None], problems)
    except EnoughError:
        problems.found.append(_enough(problems.found[-1]))
    if not documents:
        problems.found.append(
            Diagnostic(file="-", line=1, column=1, path="", message="no fleet file was given")
        )
    if problems.found:
        raise FleetError(tuple(problems.found))
    return _add_up(parts)


def _read(document: Document, problems: Problems, parts: list[Part]) -> None:
    nodes, found = parse(document)
    reader = Reader(document.file, problems)
    parts.extend(read_part(reader, node) for node in nodes)
    problems.found.extend(found)


def _check_names(parts: list[Part], problems: Problems) -> None:
    """One name and namespace is one object in Kubernetes, so no two documents may have it."""
    seen: dict[tuple[str, str | None], Place] = {}
    for part in parts:
        leaf = name_of(part)
        if leaf is None or part.metadata is None:
            continue
        key = (leaf.value, part.metadata.get("namespace"))
        first = seen.setdefault(key, leaf.place)
        if first is not leaf.place:
            message = f"another document is the fleet `{leaf.value}` too: {first}"
            hint = "give each its own name; they still add up to one fleet"
            problems.add(leaf.place, message, hint, "fleet.duplicate")


def _add_up(parts: list[Part]) -> Fleet:
    metadata = [build(part.metadata) for part in parts if part.metadata is not None]
    specs: list[Spec] = [build(part.spec) for part in parts if part.spec is not None]
    first = metadata[0]
    namespaces = [
        meta.namespace if meta.namespace != first.namespace else None for meta in metadata
    ]
    written = [part for part in parts if part.spec is not None and part.spec.has("gateway")]
    gateway: dict[str, Any] = {"gateway": specs[parts.index(written[0])].gateway} if written else {}
    return Fleet(
        name=first.name,
        namespace=first.namespace,
        models=_placed([spec.models for spec in specs], namespaces),
        pools=tuple(pool for spec in specs for pool in spec.pools),
        providers=_placed([spec.providers for spec in specs], namespaces),
        tenants=tuple(tenant for spec in specs for tenant in spec.tenants),
        **gateway,
    )


def _placed(sections: list[tuple[Any, ...]], namespaces: list[str | None]) -> tuple[Any, ...]:
    """Entries of all documents; those of another namespace say so."""
    return tuple(
        msgspec.structs.replace(entry, namespace=namespace)
        if namespace is not None and entry.namespace is None
        else entry
        for entries, namespace in zip(sections, namespaces, strict=True)
        for entry in entries
    )


def _enough(last: Diagnostic) -> Diagnostic:
    return Diagnostic(
        file=last.file,
        line=last.line,
        column=last.column,
        path="",
        message="too many problems to look for more",
        hint="is this the right file?",
        code="fleet.too-many",
    )
