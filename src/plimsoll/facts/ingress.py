"""What Ingress controllers must be told so that they pass streams on: annotations of each."""

from __future__ import annotations

import datetime as dt
from functools import cache

import msgspec

from plimsoll.facts.table import sparse_csv_rows


class IngressAnnotation(msgspec.Struct, frozen=True, kw_only=True):
    """One annotation of one controller.

    controller  its name
    match       part of the names that people give to its ingress classes
    annotation  name of the annotation
    value       its value; `{seconds}`, `{body}` (bytes) and `{service}` stand for the fleet's
    most        largest number of seconds that it takes; 0: any
    when        `tls`: only where the gateway itself speaks TLS
    what        what it does, in words
    source      where it is written
    date        when it was read
    """

    controller: str
    match: str
    annotation: str
    value: str
    most: int = 0
    when: str = ""
    what: str
    source: str
    date: dt.date


@cache
def ingress_annotations() -> tuple[IngressAnnotation, ...]:
    """Every annotation of every controller that is known here."""
    return sparse_csv_rows("ingress_annotations.csv", IngressAnnotation)


def annotations_of(
    ingress_class: str | None, *, seconds: int, body: int, service: str, tls: bool
) -> dict[str, str]:
    """The annotations of an Ingress.

    ingress_class  None, and a class that no row matches: those of every controller, for each
                   reads only its own
    seconds        of the longest answer, waiting included
    body           bytes of the largest request
    service        that the Ingress leads to
    tls            whether that speaks TLS
    """
    rows = ingress_annotations()
    matched = tuple(row for row in rows if ingress_class and row.match in ingress_class.lower())
    return {
        row.annotation: row.value.format(
            seconds=min(seconds, row.most or seconds), body=body, service=service
        )
        for row in matched or rows
        if row.when != "tls" or tls
    }
