"""Mixed-integer programs, solved by HiGHS: the one place that imports it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from math import inf
from types import ModuleType
from typing import Any

from plimsoll.errors import Failed, MissingExtra


@dataclass(slots=True, kw_only=True)
class Program:
    """Minimise cost over columns within rows. Built column by column, row by row.

    costs    cost per unit of each column
    uppers   largest value of each column; the smallest is 0
    whole    whether a column takes whole numbers only
    rows     coefficients by column
    ranges   smallest and largest value of each row
    """

    costs: list[float] = field(default_factory=list)
    uppers: list[float] = field(default_factory=list)
    whole: list[bool] = field(default_factory=list)
    rows: list[dict[int, float]] = field(default_factory=list)
    ranges: list[tuple[float, float]] = field(default_factory=list)

    def column(self, *, cost: float = 0.0, upper: float = inf, whole: bool = True) -> int:
        """A new column's number."""
        self.costs.append(cost)
        self.uppers.append(upper)
        self.whole.append(whole)
        return len(self.costs) - 1

    def row(
        self,
        terms: Mapping[int, float] | Iterable[tuple[int, float]],
        *,
        least: float = -inf,
        most: float = inf,
    ) -> None:
        """`least <= sum of coefficient times column <= most`; a column may come twice."""
        pairs = terms.items() if isinstance(terms, Mapping) else terms
        row: dict[int, float] = {}
        for column, coefficient in pairs:
            row[column] = row.get(column, 0.0) + coefficient
        self.rows.append(row)
        self.ranges.append((least, most))


@dataclass(frozen=True, slots=True, kw_only=True)
class Solution:
    """What the solver found.

    values    of the columns, whole numbers where asked for; empty where there is no solution
    cost      of the solution
    bound     no solution costs less; infinite where there is none
    finished  whether the solver proved it (optimal, or that there is no solution)
    """

    values: tuple[float, ...]
    cost: float
    bound: float
    finished: bool


def solve(program: Program, *, seconds: float = 60.0, gap: float = 0.0) -> Solution:
    """The cheapest solution, or the best found in the time given with its bound.

    seconds  after which the solver stops; what it then has is not the same on every machine
    gap      relative gap between cost and bound at which it may stop

    Raises MissingExtra without HiGHS, Failed when it fails.
    """
    highspy = _highspy()
    if not program.costs:
        possible = all(least <= 0 <= most for least, most in program.ranges)
        worst = 0.0 if possible else inf
        return Solution(values=(), cost=worst, bound=worst, finished=True)
    highs = highspy.Highs()
    for option, value in _options(seconds, gap):
        highs.setOptionValue(option, value)
    highs.passModel(_model(highspy, program))
    if highs.run() == highspy.HighsStatus.kError:
        raise Failed("HiGHS failed on a program", code="share.solver")
    return _solution(highspy, highs, program)


def _options(seconds: float, gap: float) -> tuple[tuple[str, Any], ...]:
    return (
        ("output_flag", False),
        ("threads", 1),
        ("random_seed", 1),
        ("time_limit", float(seconds)),
        ("mip_rel_gap", float(gap)),
        ("mip_abs_gap", 1e-7),
        ("mip_feasibility_tolerance", 1e-7),
    )


def _model(highspy: ModuleType, program: Program) -> Any:
    lp = highspy.HighsLp()
    kinds = highspy.HighsVarType
    lp.num_col_, lp.num_row_ = len(program.costs), len(program.rows)
    lp.col_cost_ = program.costs
    lp.col_lower_ = [0.0] * len(program.costs)
    lp.col_upper_ = [_finite(highspy, upper) for upper in program.uppers]
    lp.integrality_ = [kinds.kInteger if whole else kinds.kContinuous for whole in program.whole]
    lp.row_lower_ = [_finite(highspy, least) for least, _ in program.ranges]
    lp.row_upper_ = [_finite(highspy, most) for _, most in program.ranges]
    matrix = lp.a_matrix_
    matrix.format_ = highspy.MatrixFormat.kRowwise
    starts = [0]
    for row in program.rows:
        starts.append(starts[-1] + len(row))
    matrix.start_ = starts
    matrix.index_ = [column for row in program.rows for column in row]
    matrix.value_ = [value for row in program.rows for value in row.values()]
    return lp


def _finite(highspy: ModuleType, value: float) -> float:
    infinite: float = highspy.kHighsInf
    return max(-infinite, min(infinite, value))


def _solution(highspy: ModuleType, highs: Any, program: Program) -> Solution:
    status, kinds = highs.getModelStatus(), highspy.HighsModelStatus
    if status in (kinds.kInfeasible, kinds.kUnboundedOrInfeasible):
        return Solution(values=(), cost=inf, bound=inf, finished=True)
    info = highs.getInfo()
    bound = info.mip_dual_bound if any(program.whole) else info.objective_function_value
    if info.primal_solution_status != highspy.SolutionStatus.kSolutionStatusFeasible:
        return Solution(values=(), cost=inf, bound=bound, finished=False)
    values = tuple(
        float(round(value)) if whole else value
        for value, whole in zip(highs.getSolution().col_value, program.whole, strict=True)
    )
    cost = sum(value * price for value, price in zip(values, program.costs, strict=True))
    return Solution(
        values=values, cost=cost, bound=min(bound, cost), finished=status == kinds.kOptimal
    )


def _highspy() -> ModuleType:
    try:
        import highspy  # noqa: PLC0415 - optional, and slow to import
    except ImportError as error:
        raise MissingExtra(
            "choosing among accelerators needs the package highspy",
            hint="pip install 'plimsoll[plan]'",
        ) from error
    module: ModuleType = highspy
    return module
