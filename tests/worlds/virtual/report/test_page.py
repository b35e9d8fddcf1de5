"""A page that stands alone, says what happened, and is well formed."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET

import pytest

from plimsoll.worlds.virtual.report.page import POINTS, page
from plimsoll.worlds.virtual.report.plot import Series, plot
from plimsoll.worlds.virtual.tally import Minute, Spent


def minute(number: int, *, late: int = 0) -> Minute:
    return Minute(
        at=number * 60.0, model="m", arrived=60, ended=60, refused=0, broken=0, attained=60 - late,
        ttft_p50=0.1, ttft_p95=0.5, tpot_p95=0.02, queued=late, in_flight=3, ready=2, loading=0,
        draining=0, wanted=2, prompt=100, cached=0, output=100, spent=Spent(busy=90, idle=30),
    )  # fmt: skip


def drawn(text: str) -> list[ET.Element]:
    return [ET.fromstring(each) for each in re.findall(r"<svg.*?</svg>", text)]


def test_a_page_asks_nothing_of_the_network_and_runs_no_script() -> None:
    text = page("m", "all is well", [minute(0), minute(1)], carried=1.0)
    assert not re.search(r"https?:|src=|href=|<script|url\(|@import", text)


@pytest.mark.parametrize("count", [1, 2, 5 * POINTS + 1])
def test_every_plot_is_well_formed_and_bounded(count: int) -> None:
    plots = drawn(page("m", "", [minute(at) for at in range(count)], carried=1.0))
    assert len(plots) == 4
    for each in plots:
        for line in each.iter("polyline"):
            assert 1 <= len(line.attrib["points"].split()) <= POINTS


def test_what_names_say_is_text() -> None:
    assert "<b>" not in page("<b>", "<b>", [minute(0)], carried=1.0)


def test_the_worst_minute_comes_first() -> None:
    text = page("m", "", [minute(0), minute(1, late=3), minute(2, late=7)], carried=1.0)
    first, second = re.findall(r"<tr><td>([^<]*)</td>", text)
    assert (first, second) == ("2 min", "1 min")


def test_stacked_layers_end_at_their_sum() -> None:
    layers = [Series(name="a", values=[1.0, 1.0]), Series(name="b", values=[1.0, 0.0])]
    (svg,) = drawn(plot([0.0, 60.0], layers, "", stacked=True))
    upper = list(svg.iter("polygon"))[1].attrib["points"].split()
    heights = [float(point.split(",")[1]) for point in upper]
    assert heights[0] == 10.0  # the top of the plot: both, of a scale up to 2
    assert heights[1] == heights[2]  # nothing of b there
