"""What clouds and NVIDIA's operators call things: labels, images, flags, limits of names."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from functools import cache

import msgspec

from plimsoll.facts.table import csv_rows


class CloudFact(msgspec.Struct, frozen=True, kw_only=True):
    """One name, value or limit.

    provider  `aws`, `gcp`, `azure`; `nvidia` for its operators, `grace` for superchips, `disk`
    name      dotted: `ami.amd64.gpu`, `accelerator.H100-80GB-SXM`
    value     as the cloud writes it; a number of bytes or a length where the name says so
    source    where it is written
    date      when it was read
    """

    provider: str
    name: str
    value: str
    source: str
    date: dt.date


def cloud_fact(provider: str, name: str) -> str:
    """The value of that name. Raises KeyError where it is not known."""
    return cloud_facts()[provider, name].value


def known_cloud_fact(provider: str, name: str) -> str | None:
    """The value of that name, or None where it is not known."""
    found = cloud_facts().get((provider, name))
    return found.value if found else None


def architecture_of(accelerator: str) -> str:
    """`arm64` for accelerators that are one with an Arm processor, else `amd64`.

    accelerator  its name in the catalogue
    """
    return known_cloud_fact("grace", accelerator) or "amd64"


@cache
def cloud_facts() -> Mapping[tuple[str, str], CloudFact]:
    """Every fact, by provider and name."""
    return {(row.provider, row.name): row for row in csv_rows("clouds.csv", CloudFact)}
