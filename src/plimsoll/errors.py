"""The one error tree: what happened, where, what to try, and a stable code.

PlimsollError
├── InputError        the user's input is wrong            (exit 2)
│   ├── FleetError    one or more diagnostics of fleet files
│   ├── FormatError   a model file is broken or not of a kind we know
│   └── UnitError     a quantity that cannot be read
├── DoesNotFit        the plan needs more than there is    (exit 3)
└── Failed            the world did not do as asked        (exit 1)
    ├── SourceError   a model could not be fetched whole
    ├── EngineError   a replica did not start, or died
    ├── PortTaken     somebody else listens there
    └── MissingExtra  an optional dependency is not installed

Exit codes are named here for the reader; the table that sets them is in cli/.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar


class PlimsollError(Exception):
    """What every error of ours carries.

    message  what happened, one sentence, no final full stop
    where    `file:line:column`, a JSON path, or the object's name
    hint     what to try next
    code     stable, dotted; programs match on it
    details  more to read, such as a table; set by whoever shows it, empty otherwise
    """

    details: str = ""
    default_code: ClassVar[str] = "error"

    def __init__(
        self,
        message: str,
        *,
        where: str | None = None,
        hint: str | None = None,
        code: str | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.where = where
        self.hint = hint
        self.code = code or self.default_code

    def __str__(self) -> str:
        head = f"{self.where}: {self.message}" if self.where else self.message
        return f"{head} ({self.hint})" if self.hint else head

    def as_dict(self) -> dict[str, object]:
        """The error for `--json`: keys `code`, `message`, `where`, `hint`."""
        return {
            "code": self.code,
            "message": self.message,
            "where": self.where,
            "hint": self.hint,
        }


class InputError(PlimsollError):
    """The user's input is wrong; nothing was done."""

    default_code = "input"


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class Diagnostic:
    """One problem in one file.

    file     path as the user gave it, `-` for standard input
    line     1-based
    column   1-based
    path     `spec.models[0].context`; empty for the document itself
    message  what is wrong
    hint     what to try, or None
    code     stable, dotted, such as `fleet.unknown-field`
    """

    file: str
    line: int
    column: int
    path: str
    message: str
    hint: str | None = None
    code: str = "fleet.invalid"

    def __str__(self) -> str:
        place = f"{self.file}:{self.line}:{self.column}"
        subject = f" {self.path}:" if self.path else ""
        hint = f" ({self.hint})" if self.hint else ""
        return f"{place}:{subject} {self.message}{hint}"


class FleetError(InputError):
    """Every problem of the fleet files at once, in file order."""

    default_code = "fleet"

    def __init__(self, diagnostics: tuple[Diagnostic, ...]) -> None:
        if not diagnostics:
            raise ValueError("a FleetError needs at least one diagnostic")
        self.diagnostics = tuple(sorted(diagnostics, key=lambda d: (d.file, d.line, d.column)))
        count = len(diagnostics)
        super().__init__("1 problem" if count == 1 else f"{count} problems")

    def __str__(self) -> str:
        return "\n".join(str(d) for d in self.diagnostics)


class FormatError(InputError):
    """A model file is broken, truncated, or of a kind that is not known here."""

    default_code = "model.format"


class UnitError(InputError):
    """A quantity such as `8Gi` or `500ms` that cannot be read."""

    default_code = "unit"


class DoesNotFit(PlimsollError):
    """The plan needs more than the machine or the pool has."""

    default_code = "does-not-fit"


class Failed(PlimsollError):
    """The world did not do as asked; the input may be fine."""

    default_code = "failed"


class SourceError(Failed):
    """A model could not be fetched whole. Nothing half-fetched is ever used."""

    default_code = "source"


class EngineError(Failed):
    """A replica did not start, or died."""

    default_code = "engine"


class PortTaken(Failed):
    """Somebody else listens on the port that was asked for."""

    default_code = "port-taken"


class MissingExtra(Failed):
    """An optional dependency is not installed; the hint says how to get it."""

    default_code = "missing-extra"
