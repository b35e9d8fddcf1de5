"""What a cluster may have: components and what their absence costs, shared storage, own groups."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from functools import cache

import msgspec

from plimsoll.facts.table import csv_rows, yaml_rows


class Component(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One thing that a cluster has or has not.

    name          what code calls it
    title         for people
    apis          `group/version/Kind`; any one of them says that it is installed
    api_versions  `group/version`; any one of them is enough
    labels        `key=value` on a DaemonSet or Deployment; any one says that it runs
    first, last   versions that we are made for; empty: any
    cost          what it costs where it is missing
    todo          what to do about that
    source        where this is written
    date          when it was read
    """

    name: str
    title: str
    apis: tuple[str, ...] = ()
    api_versions: tuple[str, ...] = ()
    labels: tuple[str, ...] = ()
    first: str = ""
    last: str = ""
    cost: str
    todo: str
    source: str
    date: dt.date


class SharedStorage(msgspec.Struct, frozen=True, kw_only=True):
    """A volume provisioner whose volumes several nodes can write.

    provisioner  its name
    what         what is behind it
    source       where this is written
    date         when it was read
    """

    provisioner: str
    what: str
    source: str
    date: dt.date


class _Group(msgspec.Struct, frozen=True, kw_only=True):
    group: str
    source: str
    date: dt.date


@cache
def components() -> Mapping[str, Component]:
    """Components by name, in the order in which they are told."""
    return {row.name: row for row in yaml_rows("cluster_components.yaml", Component)}


@cache
def kubernetes_groups() -> frozenset[str]:
    """API groups of Kubernetes itself, whose kinds every cluster has."""
    return frozenset({"", *(row.group for row in csv_rows("kubernetes_groups.csv", _Group))})


@cache
def _shared() -> tuple[SharedStorage, ...]:
    return csv_rows("shared_storage.csv", SharedStorage)


def shared_storage(provisioner: str) -> SharedStorage | None:
    """What is known of a provisioner whose volumes several nodes can write; None: nothing is.

    Operators put their own name before it: `rook-ceph.cephfs.csi.ceph.com`.
    """
    for row in _shared():
        if provisioner == row.provisioner or provisioner.endswith(f".{row.provisioner}"):
            return row
    return None
