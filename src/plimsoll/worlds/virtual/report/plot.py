"""Lines and stacked areas over time as inline SVG."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from math import ceil, floor, log10

WIDTH, HEIGHT = 900, 220
_LEFT, _RIGHT, _TOP, _BOTTOM = 60, 10, 10, 24
_COLOURS = ("#1f6f8b", "#c8553d", "#8a9a5b", "#6d597a")


@dataclass(frozen=True, slots=True, kw_only=True)
class Series:
    """One line, or one layer.

    name    for the legend
    values  one for each time; 0 or more
    """

    name: str
    values: Sequence[float]


def plot(times: Sequence[float], series: Sequence[Series], unit: str, *, stacked: bool) -> str:
    """An SVG of series over times (seconds, rising, one at least).

    stacked  areas one upon the other, in the order of `series`, instead of lines
    """
    layers = _stack(series) if stacked else [each.values for each in series]
    most = _round_up(max((max(values, default=0.0) for values in layers), default=0.0))
    end = max(times[-1], 1.0)
    parts = _axes(end, most, unit)
    below: Sequence[float] = [0.0] * len(times)
    for index, (each, values) in enumerate(zip(series, layers, strict=True)):
        colour = _COLOURS[index % len(_COLOURS)]
        points = _points(times, values, end, most)
        if stacked:
            back = _points(times[::-1], below[::-1], end, most)
            shape = f'<polygon points="{points} {back}" fill="{colour}" fill-opacity="0.8"/>'
            below = values
        else:
            shape = (
                f'<polyline points="{points}" fill="none" stroke="{colour}" stroke-width="1.5"/>'
            )
        parts.append(shape)
        at = _LEFT + 10 + 150 * index
        parts.append(f'<rect x="{at}" y="{_TOP}" width="10" height="10" fill="{colour}"/>')
        parts.append(f'<text x="{at + 15}" y="{_TOP + 9}">{escape(each.name)}</text>')
    names = ", ".join(escape(each.name) for each in series)
    return (
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{names} over time">'
        + "".join(parts)
        + "</svg>"
    )


def _stack(series: Sequence[Series]) -> list[list[float]]:
    layers: list[list[float]] = []
    for each in series:
        below = layers[-1] if layers else [0.0] * len(each.values)
        layers.append([low + value for low, value in zip(below, each.values, strict=True)])
    return layers


def _round_up(value: float) -> float:
    """The next of 1, 2, 5, 10, ... at or above a value; 1 of nothing."""
    if value <= 0.0:
        return 1.0
    power = 10.0 ** floor(log10(value))
    return next(step * power for step in (1, 2, 5, 10) if step * power >= value * (1 - 1e-9))


def _place(at: float, value: float, end: float, most: float) -> tuple[float, float]:
    x = _LEFT + (WIDTH - _LEFT - _RIGHT) * at / end
    y = HEIGHT - _BOTTOM - (HEIGHT - _TOP - _BOTTOM) * value / most
    return x, y


def _points(times: Sequence[float], values: Sequence[float], end: float, most: float) -> str:
    places = (_place(at, value, end, most) for at, value in zip(times, values, strict=True))
    return " ".join(f"{x:.1f},{y:.1f}" for x, y in places)


def _axes(end: float, most: float, unit: str) -> list[str]:
    """Grid lines with their figures: five levels, and hours or minutes."""
    parts = []
    for step in range(5):
        value = most * step / 4
        _, y = _place(0.0, value, end, most)
        parts.append(f'<path d="M{_LEFT} {y:.1f}H{WIDTH - _RIGHT}" stroke="#ddd"/>')
        parts.append(
            f'<text x="{_LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">'
            f"{value:g} {escape(unit)}</text>"
        )
    scale, name = (3600.0, "h") if end > 2 * 3600 else (60.0, "min")
    every = max(1, ceil(end / scale / 10))
    for tick in range(0, floor(end / scale) + 1, every):
        x, _ = _place(tick * scale, 0.0, end, most)
        anchor = "end" if x > WIDTH - _RIGHT - 20 else "middle"  # else the last one is cut off
        parts.append(
            f'<text x="{x:.1f}" y="{HEIGHT - 6}" text-anchor="{anchor}">{tick} {name}</text>'
        )
    return parts
