"""EKS managed node groups by `aws`."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from typing import Any

from plimsoll.facts.clouds import cloud_fact
from plimsoll.fleet import Pool
from plimsoll.units import GIB
from plimsoll.worlds.cluster.node_commands.groups import (
    Group,
    cut_notes,
    described,
    group_name,
    groups,
    machine_asked,
    machine_named,
    machine_words,
)
from plimsoll.worlds.cluster.node_commands.shell import (
    assigned,
    captured,
    command,
    comments,
    quoted,
    required,
    variable_name,
)
from plimsoll.worlds.cluster.objects.mig import mig_config
from plimsoll.worlds.cluster.objects.names import object_name
from plimsoll.worlds.cluster.objects.node_labels import node_labels
from plimsoll.worlds.cluster.objects.pool_nodes import (
    architecture,
    cloud_word,
    cluster_of,
    disk,
    has_accelerators,
    taints,
)
from plimsoll.worlds.cluster.objects.site import Site

_EFFECTS = {
    "NoSchedule": "NO_SCHEDULE",
    "NoExecute": "NO_EXECUTE",
    "PreferNoSchedule": "PREFER_NO_SCHEDULE",
}
_GROUP = ("--cluster-name", '"$cluster"'), ("--nodegroup-name", '"$name"')
_REGION = ("--region", '"$region"')
_BOUNDARY = "plimsoll"
# How EKS nodes are told that the disks inside the machine hold images and pods' scratch space.
_LOCAL_DISKS = f"""\
MIME-Version: 1.0
Content-Type: multipart/mixed; boundary="{_BOUNDARY}"

--{_BOUNDARY}
Content-Type: application/node.eks.aws

apiVersion: node.eks.aws/v1alpha1
kind: NodeConfig
spec:
  instance:
    localStorage:
      strategy: RAID0

--{_BOUNDARY}--
"""


def commands(pool: Pool, site: Site) -> str:
    """The commands that make the pool's node groups, or set what can be changed of them.

    Raises InputError for what EKS cannot have: see `machines`, `partition`.
    """
    assert pool.cloud is not None
    subnets = variable_name("EKS_SUBNETS", pool.name) if pool.cloud.zones else "EKS_SUBNETS"
    where = f" in {', '.join(pool.cloud.zones)}" if pool.cloud.zones else ""
    lines = [
        *assigned(
            "region",
            cloud_word(pool, site.fleet, "region"),
            "AWS_REGION",
            "the region of the EKS cluster",
        ),
        *assigned(
            "cluster", cluster_of(pool, site.fleet), "EKS_CLUSTER", "the name of the EKS cluster"
        ),
        required("EKS_NODE_ROLE", "the ARN of the IAM role of nodes"),
        required(subnets, f"the ids of the subnets of nodes{where}, with spaces between"),
        *machine_asked(pool),
        f'read -ra subnets <<<"${subnets}"',
    ]
    if pool.capacity == "reserved" and pool.cloud.reservation is not None:
        lines += _reservation(pool.cloud.reservation)
    lines += _template(pool, site)
    for group in groups(pool, "aws"):
        lines += ["", *_group(pool, group, site)]
    return "\n".join(lines) + "\n"


def _is_reserved(pool: Pool) -> bool:
    assert pool.cloud is not None
    return pool.capacity == "reserved" and pool.cloud.reservation is not None


def _reservation(reservation: str) -> Iterator[str]:
    yield "# A capacity block is bought ahead and asked for otherwise than a reservation."
    yield from captured(
        "reservation_type",
        [
            "aws ec2 describe-capacity-reservations",
            _REGION,
            ("--capacity-reservation-ids", quoted(reservation)),
            ("--query", "'CapacityReservations[0].ReservationType'"),
            ("--output", "text"),
        ],
    )


def _template(pool: Pool, site: Site) -> Iterator[str]:
    """The launch template: what a node group's own settings cannot say."""
    name = object_name("plimsoll", group_name(pool.name, "", "aws"), longest=100)
    yield ""
    yield "# Disk, instance metadata and reservation are the launch template's. One that is there"
    yield "# is left as it is: give the pool another name to change them, and move to it."
    if _local_disks(pool):
        yield "# UserData makes the disks inside the machine one volume for images and scratch."
    yield f"template={quoted(name, always=True)}"
    yield from captured(
        "templates",
        [
            "aws ec2 describe-launch-templates",
            _REGION,
            ("--query", "'LaunchTemplates[].LaunchTemplateName'"),
            ("--output", "text"),
        ],
    )
    if _is_reserved(pool):
        yield 'if [ "$reservation_type" = capacity-block ]; then'
        yield "  capacity=CAPACITY_BLOCK"
        yield f"  data={quoted(_json(_data(pool, site, block=True)))}"
        yield "else"
        yield "  capacity=ON_DEMAND"
        yield f"  data={quoted(_json(_data(pool, site)))}"
        yield "fi"
    else:
        yield f"data={quoted(_json(_data(pool, site)))}"
    yield 'if ! has "$template" "$templates"; then'
    yield '  echo "making launch template $template"'
    yield from command(
        [
            "aws ec2 create-launch-template", _REGION, ("--launch-template-name", '"$template"'),
            ("--launch-template-data", '"$data"'), ("--output", "text"), (">/dev/null",),
        ],
        indent="  ",
    )  # fmt: skip
    yield "fi"


def _data(pool: Pool, site: Site, *, block: bool = False) -> dict[str, Any]:
    assert pool.cloud is not None
    local = _local_disks(pool)
    volume = {
        "DeleteOnTermination": True,
        "Encrypted": True,
        "Iops": int(cloud_fact("aws", "root.iops")),
        "Throughput": int(cloud_fact("aws", "root.throughput")),
        "VolumeSize": disk(None if local else site, pool) // GIB,
        "VolumeType": cloud_fact("aws", "root.volume"),
    }
    found: dict[str, Any] = {
        "BlockDeviceMappings": [{"DeviceName": cloud_fact("aws", "root.device"), "Ebs": volume}],
        "MetadataOptions": {
            "HttpEndpoint": "enabled",
            "HttpPutResponseHopLimit": 1,
            "HttpTokens": "required",
        },
    }
    if local:
        found["UserData"] = base64.b64encode(_LOCAL_DISKS.encode()).decode()
    if _is_reserved(pool):
        target = {"CapacityReservationId": pool.cloud.reservation}
        found["CapacityReservationSpecification"] = {"CapacityReservationTarget": target}
        found |= _reserved_machine(pool)
    if block:
        found["InstanceMarketOptions"] = {"MarketType": "capacity-block"}
    return found


def _reserved_machine(pool: Pool) -> dict[str, str]:
    """Reserved machines are of one type, which the launch template then says."""
    rows = groups(pool, "aws")[0].machines
    kind = rows[0].type if rows else machine_named(pool)
    return {"InstanceType": kind} if kind is not None else {}


def _local_disks(pool: Pool) -> bool:
    rows = groups(pool, "aws")[0].machines
    return bool(rows) and all(row.local_disk for row in rows)


def _group(pool: Pool, group: Group, site: Site) -> Iterator[str]:
    yield from comments(
        [described(pool, group), *_notes(pool, group), *cut_notes(mig_config(pool, site))]
    )
    yield f"name={quoted(group.name, always=True)}"
    yield from captured(
        "existing",
        [
            "aws eks list-nodegroups", _REGION, ("--cluster-name", '"$cluster"'),
            ("--query", "'nodegroups[]'"), ("--output", "text"),
        ],
    )  # fmt: skip
    bounds = f"minSize={group.fewest},maxSize={group.most}"
    yield 'if has "$name" "$existing"; then'
    yield '  echo "node group $name is there: setting its bounds, labels and taints"'
    yield from command(["aws eks wait nodegroup-active", _REGION, *_GROUP], indent="  ")
    yield from command(
        [
            "aws eks update-nodegroup-config", _REGION, *_GROUP,
            ("--scaling-config", bounds),
            ("--labels", quoted(_json({"addOrUpdateLabels": node_labels(pool, site)}))),
            *_new_taints(pool),
            ("--output", "text"), (">/dev/null",),
        ],
        indent="  ",
    )  # fmt: skip
    yield "else"
    yield '  echo "making node group $name"'
    yield from command(
        ["aws eks create-nodegroup", _REGION, *_GROUP, *_made(pool, group, site, bounds)],
        indent="  ",
    )
    yield from command(["aws eks wait nodegroup-active", _REGION, *_GROUP], indent="  ")
    yield "fi"


def _new_taints(pool: Pool) -> Iterator[tuple[str, ...]]:
    if _taints(pool):
        yield ("--taints", quoted(_json({"addOrUpdateTaints": _taints(pool)})))


def _notes(pool: Pool, group: Group) -> Iterator[str]:
    if group.fewest == 0:
        yield "From zero nodes the cluster autoscaler needs the right eks:DescribeNodegroup."
    if pool.fabric == "efa":
        yield "EFA needs a network interface per card in the launch template, which is not made"
        yield "here: `eksctl` with `efaEnabled: true`, or Karpenter, makes them."


def _taints(pool: Pool) -> list[dict[str, str]]:
    return [{**taint, "effect": _EFFECTS[taint["effect"]]} for taint in taints(pool)]


def _made(pool: Pool, group: Group, site: Site, bounds: str) -> Iterator[tuple[str, ...]]:
    image = f"ami.{architecture(pool)}{'.gpu' if has_accelerators(pool) else ''}"
    yield ("--node-role", '"$EKS_NODE_ROLE"')
    yield ("--subnets", '"${subnets[@]}"')
    yield ("--ami-type", cloud_fact("aws", image))
    if _is_reserved(pool):
        yield ("--capacity-type", '"$capacity"')
    else:
        yield ("--capacity-type", "SPOT" if group.spot else "ON_DEMAND")
    if not _is_reserved(pool) or not _reserved_machine(pool):
        yield ("--instance-types", *machine_words(pool, group))
    yield ("--scaling-config", f"{bounds},desiredSize={group.fewest}")
    yield ("--update-config", "maxUnavailable=1")
    yield ("--labels", quoted(_json(node_labels(pool, site))))
    if _taints(pool):
        yield ("--taints", quoted(_json(_taints(pool))))
    yield ("--launch-template", '"name=$template,version=1"')
    yield ("--output", "text")
    yield (">/dev/null",)


def _json(value: Any) -> str:
    return json.dumps(value, separators=(",", ":"), sort_keys=True)
