"""The smallest fractional cover, in whole numbers throughout: nothing is rounded."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction

Counts = tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class FractionalCover:
    """The best of: as few patterns in all as cover the demand, fractions allowed.

    total    sum over patterns
    uses     how often each pattern is used
    weights  value of each demanded thing: no pattern holds more than 1 in all unless its uses are
             limited, and without limits the demand's weight is `total`
    """

    total: Fraction
    uses: tuple[Fraction, ...]
    weights: tuple[Fraction, ...]


def fractional_cover(
    patterns: Sequence[Counts], demand: Counts, limits: Mapping[int, int]
) -> FractionalCover | None:
    """Minimise the sum of uses so that patterns cover the demand; None where they cannot.

    patterns  what each holds of each thing, all of the demand's length
    limits    most uses of a pattern, by its position

    Dual simplex on a condensed tableau with one common denominator (Edmonds' integer pivots), with
    the smallest index on ties, so that it ends.
    """
    width = len(patterns)
    rows = [[-pattern[i] for pattern in patterns] + [-need] for i, need in enumerate(demand)]
    for position, most in limits.items():
        rows.append([int(j == position) for j in range(width)] + [most])
    tableau = _Tableau(rows, width)
    if not tableau.solve():
        return None
    uses = [Fraction(0)] * width
    weights = [Fraction(0)] * len(demand)
    for row, variable in zip(tableau.rows, tableau.basic, strict=False):
        if variable < width:
            uses[variable] = Fraction(row[-1], tableau.scale)
    for column, variable in enumerate(tableau.free):
        if width <= variable < width + len(demand):
            weights[variable - width] = Fraction(-tableau.rows[-1][column], tableau.scale)
    return FractionalCover(
        total=Fraction(tableau.rows[-1][-1], tableau.scale),
        uses=tuple(uses),
        weights=tuple(weights),
    )


class _Tableau:
    """Basic variables in terms of the others, times `scale`; the last row is the objective."""

    def __init__(self, rows: list[list[int]], width: int) -> None:
        self.rows = [*rows, [-1] * width + [0]]
        self.scale = 1
        self.free = list(range(width))
        self.basic = list(range(width, width + len(rows)))

    def solve(self) -> bool:
        """Pivot until no basic variable is negative; False where that cannot be."""
        while True:
            low = [i for i, row in enumerate(self.rows[:-1]) if row[-1] < 0]
            if not low:
                return True
            leaving = min(low, key=self.basic.__getitem__)
            entering = self._entering(self.rows[leaving])
            if entering is None:
                return False
            self._pivot(leaving, entering)

    def _entering(self, row: list[int]) -> int | None:
        """The column with the smallest ratio of reduced cost to entry, both negative."""
        costs = self.rows[-1]
        best: int | None = None
        for column, entry in enumerate(row[:-1]):
            if entry >= 0:
                continue
            if best is None:
                best = column
                continue
            gain = costs[column] * row[best] - costs[best] * entry
            if gain < 0 or (gain == 0 and self.free[column] < self.free[best]):
                best = column
        return best

    def _pivot(self, leaving: int, entering: int) -> None:
        pivot_row = self.rows[leaving]
        pivot, scale = pivot_row[entering], self.scale
        for index, row in enumerate(self.rows):
            if index == leaving:
                continue
            factor = row[entering]
            changed = [
                (entry * pivot - factor * other) // scale
                for entry, other in zip(row, pivot_row, strict=True)
            ]
            changed[entering] = -factor
            self.rows[index] = changed
        pivot_row = list(pivot_row)
        pivot_row[entering] = scale
        self.rows[leaving] = pivot_row
        if pivot < 0:
            self.rows = [[-entry for entry in row] for row in self.rows]
            pivot = -pivot
        self.scale = pivot
        self.basic[leaving], self.free[entering] = self.free[entering], self.basic[leaving]
