"""Pools of nodes with accelerators: what the platform team offers to models."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec

from plimsoll.fleet.fields import NAME_SHAPE, Bytes, Derived, Items, Name, Seconds, Table
from plimsoll.fleet.kinds import Integer, Number, Text
from plimsoll.fleet.quantities import Auto, Duration

_QUALIFIED = r"([a-z0-9]([a-z0-9.-]*[a-z0-9])?/)?[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?"
Profile = Annotated[
    str,
    Text(
        what="a MIG profile",
        shape=r"[1-9]g\.[1-9][0-9]*gb(\+me(\.all)?)?",
        hint="write it like `3g.40gb`",
        longest=20,
    ),
]
CloudText = Annotated[
    str,
    Text(
        what="a cloud name",
        shape=r"[A-Za-z0-9][A-Za-z0-9._/:-]*",
        hint="use letters, digits, `.`, `_`, `/`, `:` and `-`",
        longest=128,
    ),
]
Dollars = Annotated[float, Number(minimum=0, maximum=1e6)]
NodeCount = Annotated[int, Integer(minimum=0, maximum=10_000)]


class Nodes(msgspec.Struct, frozen=True, kw_only=True):
    """How many nodes a pool has.

    min  fewest
    max  most
    """

    min: NodeCount = 0
    max: Annotated[
        int, Integer(minimum=1, maximum=10_000), Derived(words="the larger of 1 and `min`")
    ] = 0

    def __post_init__(self) -> None:
        if self.max == 0:
            msgspec.structs.force_setattr(self, "max", max(1, self.min))


class Node(msgspec.Struct, frozen=True, kw_only=True):
    """What one node has, where the catalogue of instance types does not say.

    cpu        processor cores
    memory     main memory
    localDisk  fast disk inside the node
    """

    cpu: Annotated[float, Number(minimum=0, maximum=4096, above=True)] | None = None
    memory: Bytes | None = None
    local_disk: Bytes | None = None


class Cloud(msgspec.Struct, frozen=True, kw_only=True):
    """Where the nodes are rented.

    provider       cloud
    region         the cloud's name of the region; also what data residency looks at
    zones          availability zones; empty: any
    instanceType   the cloud's name of the machine
    cluster        name of the EKS, GKE or AKS cluster, for the commands that are printed
    project        project (gcp)
    resourceGroup  resource group (azure)
    reservation    name of the capacity reservation or block, for `capacity: reserved`
    """

    provider: Literal["aws", "gcp", "azure"]
    region: CloudText | None = None
    zones: Annotated[tuple[CloudText, ...], Items(most=16)] = ()
    instance_type: CloudText | None = None
    cluster: CloudText | None = None
    project: CloudText | None = None
    resource_group: CloudText | None = None
    reservation: CloudText | None = None


class Taint(msgspec.Struct, frozen=True, kw_only=True):
    """A taint of the pool's nodes, beside `nvidia.com/gpu`, which GPU pools always have.

    key     name of the taint
    value   its value
    effect  what happens to pods that do not tolerate it
    """

    key: Annotated[
        str,
        Text(
            what="a taint key", shape=_QUALIFIED, hint="write it like `team` or `example.com/team`"
        ),
    ]
    value: Annotated[
        str,
        Text(
            what="a taint value",
            shape=r"([A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?)?",
            hint="use letters, digits, `.`, `_` and `-`",
            longest=63,
            shortest=0,
        ),
    ] = ""
    effect: Literal["NoSchedule", "PreferNoSchedule", "NoExecute"] = "NoSchedule"


class MigSlice(msgspec.Struct, frozen=True, kw_only=True):
    """Instances of one MIG profile on every accelerator of the pool.

    profile  name of the profile, such as `3g.40gb`
    count    instances per accelerator
    """

    profile: Profile
    count: Annotated[int, Integer(minimum=1, maximum=14)]


class Mig(msgspec.Struct, frozen=True, kw_only=True):
    """Accelerators cut into hardware-isolated instances.

    strategy  how instances are offered: all alike as GPUs (`single`), or by profile (`mixed`)
    layout    profiles of every accelerator; empty: the plan chooses
    """

    strategy: Literal["single", "mixed"] = "mixed"
    layout: Annotated[tuple[MigSlice, ...], Items(most=8, key="profile")] = ()


class Slices(msgspec.Struct, frozen=True, kw_only=True):
    """Accelerators that several pods use at once, without a wall between them.

    replicas              pods per accelerator
    failRequestsAboveOne  refuse pods that ask for more than one share
    """

    replicas: Annotated[int, Integer(minimum=2, maximum=48)]
    fail_requests_above_one: bool = True


class Dra(msgspec.Struct, frozen=True, kw_only=True):
    """Accelerators handed out by Dynamic Resource Allocation, where the cluster's driver can.

    deviceClass  name of the DeviceClass
    """

    device_class: Annotated[
        str,
        Text(
            what="a device class",
            shape=rf"{NAME_SHAPE}(\.{NAME_SHAPE})*",
            hint="write it like `gpu.nvidia.com`",
            longest=253,
        ),
    ] = "gpu.nvidia.com"


class PoolSharing(msgspec.Struct, frozen=True, kw_only=True):
    """How the pool's accelerators are shared; whole accelerators when empty.

    mig          hardware instances
    timeSlicing  turns on the same accelerator; no memory isolation
    mps          CUDA's Multi-Process Service; partial isolation; not together with `mig`
    dra          Dynamic Resource Allocation
    """

    mig: Mig | None = None
    time_slicing: Slices | None = None
    mps: Slices | None = None
    dra: Dra | None = None


class Price(msgspec.Struct, frozen=True, kw_only=True):
    """Price of a node, instead of the catalogue's.

    onDemand  US dollars per node and hour
    spot      US dollars per node and hour
    reserved  US dollars per node and hour
    """

    on_demand: Dollars | None = None
    spot: Dollars | None = None
    reserved: Dollars | None = None


class Disruption(msgspec.Struct, frozen=True, kw_only=True):
    """When nodes may be taken away.

    consolidateAfter  how long a node must have been empty before it goes
    expireAfter       largest age of a node; unlimited when left out
    """

    consolidate_after: Annotated[float, Duration(minimum=0, maximum=30 * 86400)] = 600.0
    expire_after: Seconds | None = None


class Pool(msgspec.Struct, frozen=True, kw_only=True):
    """Nodes that are alike.

    name          what models put in `placement.pools`
    accelerator   name of the accelerator, such as `H100-80GB-SXM`; `none` for plain nodes
    perNode       accelerators per node; `auto`: from the instance type
    nodes         how many nodes
    capacity      how the nodes are bought; `mixed` is spot first, on-demand for the rest
    spotPercent   share of spot nodes, in percent, for `mixed`
    cloud         where they are rented; left out for machines of one's own
    node          what one node has
    interconnect  what joins the accelerators of one node
    fabric        what joins the nodes
    sharing       how accelerators are shared
    provisioner   what adds and removes nodes
    price         price of a node
    disruption    when nodes may be taken away
    labels        labels of the nodes
    taints        further taints of the nodes
    """

    name: Name
    accelerator: Annotated[
        str,
        Text(
            what="an accelerator",
            shape=r"[A-Za-z0-9][A-Za-z0-9 ._-]*",
            hint="write it like `H100-80GB-SXM`, or `none`",
            longest=64,
        ),
    ]
    per_node: Annotated[int | None, Auto(of=Integer(minimum=1, maximum=72))] = None
    nodes: Nodes = Nodes()
    capacity: Literal["onDemand", "spot", "reserved", "mixed"] = "onDemand"
    spot_percent: Annotated[int, Integer(minimum=0, maximum=100)] | None = None
    cloud: Cloud | None = None
    node: Node = Node()
    interconnect: Literal["auto", "nvlink", "pcie"] = "auto"
    fabric: Literal["auto", "ethernet", "infiniband", "efa", "roce", "gpudirectTcpx"] = "auto"
    sharing: PoolSharing = PoolSharing()
    provisioner: Literal["auto", "none", "nodeGroup", "karpenter"] = "auto"
    price: Price = Price()
    disruption: Disruption = Disruption()
    labels: Annotated[Table, Items(most=32)] = Table()
    taints: Annotated[tuple[Taint, ...], Items(most=16, distinct=False)] = ()
