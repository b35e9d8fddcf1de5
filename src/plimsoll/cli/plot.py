"""Cost against latency of every configuration of a model, the chosen one marked."""

from __future__ import annotations

import html
import io
from collections.abc import Sequence
from itertools import cycle
from pathlib import Path
from typing import Any

from plimsoll.errors import InputError, MissingExtra
from plimsoll.plan.search import Candidate, Choice
from plimsoll.plan.search.splits import in_words

FORMATS = (".png", ".svg", ".pdf", ".html")
MARKERS = "osD^vP*X<>"


def save_plot(choices: Sequence[Choice], path: Path) -> None:
    """Draw one panel per model and write the file; the suffix says the format.

    Raises InputError for another suffix or a file that cannot be written, MissingExtra where
    matplotlib is not installed.
    """
    if path.suffix.lower() not in FORMATS:
        raise InputError(
            f"cannot draw a `{path.suffix}` file",
            where=str(path),
            hint=f"end the name in {', '.join(FORMATS)}",
            code="plot.format",
        )
    figure = _figure(choices)
    try:
        if path.suffix.lower() == ".html":
            path.write_text(_page(figure, choices), encoding="utf-8")
        else:
            figure.savefig(path, bbox_inches="tight", metadata=_undated(path.suffix.lower()))
    except OSError as error:
        raise InputError(
            f"cannot be written: {error.strerror or error}",
            where=str(path),
            hint="name a file in a folder that exists",
            code="plot.file",
        ) from error


def _undated(suffix: str) -> dict[str, None]:
    """No date in the file: the same plan gives the same bytes."""
    return {".svg": {"Date": None}, ".pdf": {"CreationDate": None}}.get(suffix, {})


def _figure(choices: Sequence[Choice]) -> Any:
    try:
        import matplotlib as mpl  # noqa: PLC0415 -- half a second that only a plot should cost
        from matplotlib.figure import Figure  # noqa: PLC0415
    except ImportError as error:
        raise MissingExtra(
            "drawing needs matplotlib", hint="pip install 'plimsoll[plan]'"
        ) from error
    mpl.rcParams["svg.hashsalt"] = "plimsoll"  # ids in SVG files would be random otherwise
    figure = Figure(figsize=(8, 5 * len(choices)), layout="constrained")
    panels = figure.subplots(len(choices), 1, squeeze=False)
    for choice, (axes,) in zip(choices, panels, strict=True):
        _panel(axes, choice)
    return figure


def _panel(axes: Any, choice: Choice) -> None:
    points = [one for one in choice.found.candidates if one.tpot is not None]
    priced = all(one.dollars is not None for one in points)
    grounds = list(dict.fromkeys(one.ground.name for one in points))
    for ground, marker in zip(grounds, cycle(MARKERS), strict=False):
        here = [one for one in points if one.ground.name == ground]
        axes.plot(
            [_cost(one, priced=priced) for one in here],
            [_milliseconds(one) for one in here],
            marker, linestyle="", label=ground, alpha=0.7,
        )  # fmt: skip
    front = _front(points, priced=priced)
    axes.plot(
        [_cost(one, priced=priced) for one in front],
        [_milliseconds(one) for one in front],
        "-", color="0.6", linewidth=1, zorder=0, label="nothing better in both",
    )  # fmt: skip
    chosen = choice.chosen
    if chosen.tpot is not None:
        where = (_cost(chosen, priced=priced), _milliseconds(chosen))
        axes.plot(
            *where, "o", markersize=18, fillstyle="none", color="black", markeredgewidth=2,
            linestyle="", label="chosen",
        )  # fmt: skip
        axes.annotate(_name(chosen), where, xytext=(14, 10), textcoords="offset points")
    if choice.found.demand.tpot is not None:
        axes.axhline(1000 * choice.found.demand.tpot, linestyle="--", color="0.4")
        axes.annotate(
            "objective", (0.99, 1000 * choice.found.demand.tpot), ha="right", va="bottom",
            xycoords=("axes fraction", "data"),
        )  # fmt: skip
    axes.set_title(choice.model)
    axes.set_xlabel("US dollars per hour" if priced else "devices (a price is missing)")
    axes.set_ylabel("time per output token, ms")
    axes.set_xlim(left=0)
    highest = max([_milliseconds(one) for one in points] or [0.0])
    axes.set_ylim(0, 1.1 * max(highest, 1000 * (choice.found.demand.tpot or 0.0)))
    axes.legend(fontsize="small")


def _cost(candidate: Candidate, *, priced: bool) -> float:
    if priced and candidate.dollars is not None:
        return candidate.dollars
    return float(candidate.devices * candidate.replicas)


def _milliseconds(candidate: Candidate) -> float:
    return 1000 * candidate.tpot.value if candidate.tpot else 0.0


def _name(candidate: Candidate) -> str:
    split = in_words(candidate.deployment.split)
    return f"{candidate.replicas} x {candidate.label}, {split}\non {candidate.ground.name}"


def _front(points: Sequence[Candidate], *, priced: bool) -> list[Candidate]:
    """Those that no other beats in cost and latency, by cost."""
    best: list[Candidate] = []
    for one in sorted(points, key=lambda c: (_cost(c, priced=priced), _milliseconds(c))):
        if not best or _milliseconds(one) < _milliseconds(best[-1]):
            best.append(one)
    return best


def _page(figure: Any, choices: Sequence[Choice]) -> str:
    """A page that needs nothing else: the drawing, and its points as a table."""
    drawing = io.StringIO()
    figure.savefig(drawing, format="svg", bbox_inches="tight", metadata={"Date": None})
    svg = drawing.getvalue()
    svg = svg[svg.index("<svg") :]
    rows = "\n".join(_row(choice, one) for choice in choices for one in choice.found.candidates)
    return (
        "<!doctype html>\n<html lang=en><meta charset=utf-8><title>Plimsoll plan</title>\n"
        "<style>body{font:14px sans-serif;margin:2em}table{border-collapse:collapse}"
        "td,th{padding:.2em .8em;text-align:left;border-bottom:1px solid #ccc}"
        "tr.chosen{font-weight:bold}</style>\n"
        f"{svg}\n<table><tr><th>model<th>where<th>configuration<th>replicas<th>$/hour"
        f"<th>ms per token<th>limited by</tr>\n{rows}\n</table>\n</html>\n"
    )


def _row(choice: Choice, one: Candidate) -> str:
    cells = (
        choice.model,
        one.ground.name,
        f"{one.label}, {in_words(one.deployment.split)}",
        str(one.replicas),
        "not known" if one.dollars is None else f"{one.dollars:.2f}",
        f"{_milliseconds(one):.1f}",
        one.limited_by,
    )
    mark = " class=chosen" if one is choice.chosen else ""
    return f"<tr{mark}>" + "".join(f"<td>{html.escape(cell)}" for cell in cells) + "</tr>"
