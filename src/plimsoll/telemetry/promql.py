"""Text of PromQL: strings, numbers and selectors, escaped so that no name can change a query."""

from __future__ import annotations

from collections.abc import Mapping

_ESCAPES = {"\\": r"\\", '"': r"\"", "\n": r"\n", "\r": r"\r", "\t": r"\t"}


def quoted(text: str) -> str:
    """A string literal that stands for exactly `text`.

    Source: prometheus.io, PromQL basics: strings in double quotes follow Go's escapes.
    """
    return f'"{"".join(_ESCAPES.get(char) or _printable(char) for char in text)}"'


def number(value: float) -> str:
    """A number as PromQL, KEDA and Kubernetes' quantities all read it, without an exponent."""
    return f"{value:.9f}".rstrip("0").rstrip(".")


def selector(metric: str, labels: Mapping[str, str]) -> str:
    """The series of a metric whose labels have exactly these values.

    metric  a name; or a name with matchers of its own, such as `blocks{kind="fraction"}`
    """
    name, _, own = metric.partition("{")
    matchers = [own.rstrip("}")] if own else []
    matchers += [f"{label}={quoted(value)}" for label, value in labels.items()]
    return f"{name}{{{','.join(matchers)}}}"


def _printable(char: str) -> str:
    return char if char.isprintable() else f"\\U{ord(char):08x}"
