"""A memory ledger as a table: each term with a bar for its share, and the arithmetic."""

from __future__ import annotations

from plimsoll.cli.tables import table
from plimsoll.plan import Ledger
from plimsoll.units import size


def ledger_text(ledger: Ledger) -> str:
    """The terms of a ledger, the bar of the limiting one the longest."""
    largest = max(ledger.largest.bytes, 1)
    rows = [
        (
            f"  {term.name}",
            size(term.bytes).rjust(10),
            "#" * round(12 * term.bytes / largest),
            term.why,
        )
        for term in ledger.terms
    ]
    rows.append(("  total", size(ledger.total).rjust(10), "", ""))
    return table(("  TERM", "    MEMORY", "SHARE", "WHY"), rows)
