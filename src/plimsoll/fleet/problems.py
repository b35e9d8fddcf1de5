"""Every problem of the fleet files, up to a bound that no honest file reaches."""

from __future__ import annotations

from plimsoll.errors import Diagnostic
from plimsoll.fleet.branches import Place

MOST = 1000  # problems; whoever has more is not reading a fleet file


class EnoughError(Exception):
    """So many problems that looking for more is a waste."""


class Problems:
    """Problems as they are found, in any order."""

    def __init__(self) -> None:
        self.found: list[Diagnostic] = []

    def add(
        self, place: Place, message: str, hint: str | None = None, code: str = "fleet.invalid"
    ) -> None:
        """Keep one problem. Raises EnoughError when there are too many."""
        self.found.append(
            Diagnostic(
                file=place.file,
                line=place.mark.line,
                column=place.mark.column,
                path=place.path,
                message=message,
                hint=hint,
                code=code,
            )
        )
        if len(self.found) >= MOST:
            raise EnoughError
