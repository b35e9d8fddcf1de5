"""The reference page of the fleet file, made from the types."""

from __future__ import annotations

import json
from collections.abc import Iterator

from plimsoll.fleet.editor_schema import written_default
from plimsoll.fleet.kinds import Kind
from plimsoll.fleet.rules import rules_of
from plimsoll.fleet.shapes import (
    Field,
    ListShape,
    Record,
    RecordShape,
    Shape,
    TableShape,
    fields_of,
    file_name,
    summary,
)
from plimsoll.fleet.types import API_VERSION, KIND, Spec

_INTRODUCTION = f"""\
# The fleet file

<!-- Made from src/plimsoll/fleet; edit that, then see tests/fleet/test_reference.py. -->

```yaml
apiVersion: {API_VERSION}
kind: {KIND}
metadata:
  name: my-fleet          # required
  namespace: inference    # where everything lives that does not say another
spec:                     # models, pools, providers, tenants, gateway: each may be left out
  models:
    - name: demo
      source: builtin:demo
```

`plimsoll check FILE...` names every problem with file, line and column. Several documents in one
file (separated by `---`) and several files add up to one fleet; names must differ over all of them,
and only one document describes the gateway.

## How values are written

| kind | written | means |
|---|---|---|
| size | `512Mi`, `8Gi`, `500G`, `4096` | bytes; `Ki Mi Gi` count by 1024, `k M G` by 1000 |
| count | `600`, `200k`, `1.5M` | `k` is 1,000, also for tokens: `8k` is 8,000 and `8192` is 8,192 |
| duration | `500ms`, `60s`, `5m`, `1h30m`, `7d` | the unit is always written; the finest is 1 ms |
| `auto` | `auto` | the plan chooses, and says why |
| text | `name`, `"0.33"` | what looks like a number, `true` or `null` needs quotes to be text |

The file is YAML; JSON is YAML too. kubectl reads YAML 1.1 and most editors 1.2, so what they read
differently is refused: unquoted `yes`, `no`, `on`, `off`, `y`, `n`; numbers with leading zeros,
underscores or colons, in octal, hexadecimal or binary; `.inf` and `.nan`. `1e3` is 1000. Anchors,
aliases and `<<` may be used, up to 400,000 values and 32 levels; tags may not. Fields that do not
exist, empty values (`key:` with nothing after it) and keys written twice are errors.
"""


def reference() -> str:
    """The page docs/reference/fleet.md, as Markdown."""
    parts = [_INTRODUCTION, *(_section(record, path) for path, record in _records())]
    return "\n".join(parts)


def _records() -> Iterator[tuple[str, Record]]:
    """Every record once, with the path where it is first met, in the order of the file."""
    seen: set[Record] = set()

    def visit(record: Record, path: str) -> Iterator[tuple[str, Record]]:
        if record in seen:
            return
        seen.add(record)
        yield path, record
        for field in fields_of(record):
            shape, inside = field.shape, f"{path}.{field.name}"
            if isinstance(shape, ListShape):
                shape, inside = shape.item, f"{inside}[]"
            if isinstance(shape, RecordShape):
                yield from visit(shape.record, inside)

    yield from visit(Spec, "spec")


def _section(record: Record, path: str) -> str:
    lines = [
        f"## {record.__name__}",
        "",
        f"`{path}` {summary(record)}"
        if path == "spec"
        else f"{summary(record)} First at `{path}`.",
        "",
        "| field | what | kind | default |",
        "|---|---|---|---|",
        *(_row(field) for field in fields_of(record)),
    ]
    rules = rules_of(record)
    if rules:
        lines += ["", "Also:", ""]
        lines += [f"- `{file_name(rule.at)}`: {rule.message}" for rule in rules]
    return "\n".join([*lines, ""])


def _row(field: Field) -> str:
    cells = (f"`{field.name}`", field.description, _kind(field.shape), _default(field))
    return "| " + " | ".join(cells) + " |"


def _kind(shape: Shape) -> str:
    if isinstance(shape, RecordShape):
        name = shape.record.__name__
        return f"[{name}](#{name.lower()})"
    if isinstance(shape, ListShape):
        return f"list, at most {shape.bounds.most}: {_kind(shape.item)}"
    if isinstance(shape, TableShape):
        return f"mapping of text, at most {shape.bounds.most}"
    assert isinstance(shape, Kind)
    return shape.label()


def _default(field: Field) -> str:
    if field.required:
        return "required"
    if field.derived is not None:
        return field.derived
    written = written_default(field)
    if isinstance(written, str):
        return f"`{written}`" if written else "empty"
    return f"`{json.dumps(written)}`" if written is not None else ""
