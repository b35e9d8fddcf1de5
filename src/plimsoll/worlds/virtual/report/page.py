"""The page: what became of a simulation, its plots, and its worst minutes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from html import escape

from plimsoll.units import duration
from plimsoll.worlds.virtual.report.plot import Series, plot
from plimsoll.worlds.virtual.tally import Minute

POINTS = 600
"""Points of a plot at most; where there are more minutes, some share one."""
WORST = 10
"""Minutes in the table of the worst."""

_STYLE = (
    "body{font:15px/1.5 system-ui,sans-serif;max-width:960px;margin:2em auto;padding:0 1em;"
    "color:#222;background:#fff}svg{width:100%;height:auto}svg text{font-size:11px;fill:#555}"
    "pre{overflow-x:auto;background:#f6f6f6;padding:1em}table{border-collapse:collapse}"
    "td,th{text-align:right;padding:2px 12px;border-bottom:1px solid #ddd}"
)
_CAUSES = ("busy", "idle", "loading", "lost")


def page(title: str, summary: str, minutes: Sequence[Minute], *, carried: float) -> str:
    """One page of HTML.

    summary  of the whole, as plain text
    minutes  of one model, in order, one at least
    carried  requests/s that one replica is planned for, above 0: what demand is counted in
    """
    groups = _groups(minutes)
    times = [group[0].at for group in groups]

    def mean(figure: Callable[[Minute], float]) -> list[float]:
        return [sum(map(figure, group)) / len(group) for group in groups]

    def most(figure: Callable[[Minute], float]) -> list[float]:
        return [max(map(figure, group)) for group in groups]

    plots = (
        (
            "Replicas against demand",
            plot(
                times,
                [
                    Series(name="ready", values=mean(lambda row: row.ready)),
                    Series(name="wanted", values=mean(lambda row: row.wanted)),
                    Series(name="demand", values=mean(lambda row: row.arrived / 60 / carried)),
                ],
                "",
                stacked=False,
            ),
        ),
        (
            "Requests waiting at the gateway",
            plot(
                times,
                [Series(name="waiting", values=most(lambda row: row.queued))],
                "",
                stacked=False,
            ),
        ),
        (
            "Time to the first token",
            plot(
                times,
                [
                    Series(name="p50", values=most(lambda row: row.ttft_p50)),
                    Series(name="p95", values=most(lambda row: row.ttft_p95)),
                ],
                "s",
                stacked=False,
            ),
        ),
        ("GPUs paid for, by cause", plot(times, _causes(groups), "", stacked=True)),
    )
    body = "".join(f"<h2>{escape(name)}</h2>{drawn}" for name, drawn in plots)
    return (
        f'<!DOCTYPE html><html lang="en"><head><meta charset="utf-8"><title>{escape(title)}</title>'
        f"<style>{_STYLE}</style></head><body><h1>{escape(title)}</h1>"
        f"<pre>{escape(summary)}</pre>{body}{_worst(minutes)}</body></html>\n"
    )


def _groups(minutes: Sequence[Minute]) -> list[Sequence[Minute]]:
    each = -(-len(minutes) // POINTS)
    return [minutes[at : at + each] for at in range(0, len(minutes), each)]


def _causes(groups: Sequence[Sequence[Minute]]) -> list[Series]:
    """GPUs that each cause takes on average; loading is paid when it is over, and stands there."""
    return [
        Series(
            name=cause,
            values=[
                sum(getattr(row.spent, cause) for row in group) / (60 * len(group))
                for group in groups
            ],
        )
        for cause in _CAUSES
    ]


def _missed(row: Minute) -> int:
    return row.ended - row.attained + row.refused + row.broken


def _worst(minutes: Sequence[Minute]) -> str:
    """The minutes in which most requests were late, refused or broken."""
    rows = [row for row in sorted(minutes, key=_missed, reverse=True)[:WORST] if _missed(row)]
    if not rows:
        return "<h2>Worst minutes</h2><p>No request was late, refused or broken off.</p>"
    head = "".join(
        f"<th>{name}</th>"
        for name in (
            "after",
            "arrived",
            "late",
            "refused",
            "TTFT p95",
            "waiting",
            "ready",
            "wanted",
        )
    )
    cells = "".join(
        "<tr>"
        + "".join(
            f"<td>{cell}</td>"
            for cell in (
                duration(row.at), row.arrived, row.ended - row.attained, row.refused + row.broken,
                duration(row.ttft_p95), row.queued, row.ready, row.wanted,
            )
        )
        + "</tr>"
        for row in rows
    )  # fmt: skip
    return f"<h2>Worst minutes</h2><table><tr>{head}</tr>{cells}</table>"
