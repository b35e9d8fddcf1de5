"""What is known of Kubernetes and the clouds' nodes: times, features by version, spot notices."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from functools import cache

import msgspec

from plimsoll.facts.table import csv_rows, sparse_csv_rows


class Figure(msgspec.Struct, frozen=True, kw_only=True):
    """One figure.

    name    what code calls it
    value   in `unit`
    unit    `s`, `B`, `vCPU`, `times`, `share`
    what    in words
    source  where it is written, or whose choice it is
    date    when it was read or chosen
    """

    name: str
    value: float
    unit: str
    what: str
    source: str
    date: dt.date


class Feature(msgspec.Struct, frozen=True, kw_only=True):
    """One feature of Kubernetes.

    name    what code calls it
    minor   first version 1.x that has it without being asked
    what    in words
    source  where it is written
    date    when it was read
    """

    name: str
    minor: int
    what: str
    source: str
    date: dt.date


class Spot(msgspec.Struct, frozen=True, kw_only=True):
    """How one provider of nodes treats spot nodes.

    provider     `aws`, `gcp`, `azure`, or `karpenter`
    notice       seconds from the notice to the end of the node
    for_pods     seconds of them that pods of users get
    label        of spot nodes
    label_value  its value
    taint        of spot nodes, effect NoSchedule; empty where there is none
    taint_value  its value
    source       where it is written
    date         when it was read
    """

    provider: str
    notice: float
    for_pods: float
    label: str
    label_value: str
    taint: str = ""
    taint_value: str = ""
    source: str
    date: dt.date


class DeviceResource(msgspec.Struct, frozen=True, kw_only=True):
    """What a maker's device plugin calls one whole accelerator.

    vendor    `nvidia`, `amd`, `intel`
    resource  extended resource, also the key of the usual taint
    device_group  group of the node that its device files belong to, whose number differs from node
              to node; empty where everybody may open them
    source    where it is written
    date      when it was read
    """

    vendor: str
    resource: str
    device_group: str = ""
    source: str
    date: dt.date


@cache
def kubernetes_figures() -> Mapping[str, Figure]:
    """Every figure by its name."""
    return {row.name: row for row in csv_rows("kubernetes_figures.csv", Figure)}


def figure(name: str) -> float:
    """The value of one figure. Raises KeyError."""
    return kubernetes_figures()[name].value


@cache
def kubernetes_features() -> Mapping[str, Feature]:
    """Every feature by its name."""
    return {row.name: row for row in csv_rows("kubernetes_features.csv", Feature)}


@cache
def spots() -> Mapping[str, Spot]:
    """Spot nodes by provider."""
    return {row.provider: row for row in sparse_csv_rows("spot.csv", Spot)}


@cache
def device_resources() -> Mapping[str, DeviceResource]:
    """Extended resources by vendor."""
    return {row.vendor: row for row in sparse_csv_rows("device_resources.csv", DeviceResource)}
