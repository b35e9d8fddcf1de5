"""What a cluster offers: found by `plimsoll doctor`, taken by `plimsoll render`. Plain data."""

from __future__ import annotations

import msgspec

# What is taken for granted where no cluster was asked: the newest that every object is made for.
ASSUMED_KUBERNETES = "1.34"

KEDA = "keda.sh/v1alpha1/ScaledObject"
LEADER_WORKER_SET = "leaderworkerset.x-k8s.io/v1/LeaderWorkerSet"
POD_MONITOR = "monitoring.coreos.com/v1/PodMonitor"
SERVICE_MONITOR = "monitoring.coreos.com/v1/ServiceMonitor"
NODE_POOL = "karpenter.sh/v1/NodePool"
EC2_NODE_CLASS = "karpenter.k8s.aws/v1/EC2NodeClass"
VERTICAL_POD_AUTOSCALER = "autoscaling.k8s.io/v1/VerticalPodAutoscaler"
RAY_SERVICE = "ray.io/v1/RayService"
INFERENCE_POOL = "inference.networking.k8s.io/v1/InferencePool"
HTTP_ROUTE = "gateway.networking.k8s.io/v1/HTTPRoute"
DEVICE_CLASS = "resource.k8s.io/v1/DeviceClass"
CLUSTER_POLICY = "nvidia.com/v1/ClusterPolicy"


class StorageClass(msgspec.Struct, frozen=True, kw_only=True):
    """One storage class.

    name         of the class
    provisioner  that makes its volumes
    default      whether claims without a class get it
    """

    name: str
    provisioner: str = ""
    default: bool = False


class GpuNodes(msgspec.Struct, frozen=True, kw_only=True):
    """Nodes of a cluster that are alike.

    product     label `nvidia.com/gpu.product`; empty where feature discovery does not run
    memory      label `nvidia.com/gpu.memory`, MiB; 0 where it is missing
    nodes       how many
    resources   allocatable devices of one node by resource name: `nvidia.com/gpu` -> 8
    pool        label `plimsoll.dev/pool`; empty where it is missing
    """

    product: str = ""
    memory: int = 0
    nodes: int = 0
    resources: dict[str, int] = {}
    pool: str = ""


class ClusterInfo(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a cluster offers.

    kubernetes        version of the API server, `1.34`
    assumed           whether nobody asked a cluster and these are assumptions
    apis              `group/version/Kind` of what is installed beside Kubernetes itself
    storage_classes   its storage classes
    device_classes    DeviceClasses of Dynamic Resource Allocation
    gpus              its nodes with accelerators, those that are alike together
    external_metrics  whether something serves `external.metrics.k8s.io`
    dra_gpus          whether some driver publishes GPUs as ResourceSlices
    """

    kubernetes: str = ASSUMED_KUBERNETES
    assumed: bool = False
    apis: tuple[str, ...] = ()
    storage_classes: tuple[StorageClass, ...] = ()
    device_classes: tuple[str, ...] = ()
    gpus: tuple[GpuNodes, ...] = ()
    external_metrics: bool = False
    dra_gpus: bool = False

    def has(self, api: str) -> bool:
        """Whether `group/version/Kind` is installed."""
        return api in self.apis

    @property
    def minor(self) -> int:
        """The number after the first point of the version: 34 for `1.34`."""
        return int(self.kubernetes.split(".")[1].rstrip("+"))


ASSUMED = ClusterInfo(
    assumed=True,
    apis=(
        KEDA,
        LEADER_WORKER_SET,
        POD_MONITOR,
        SERVICE_MONITOR,
        NODE_POOL,
        EC2_NODE_CLASS,
        RAY_SERVICE,
        HTTP_ROUTE,
        INFERENCE_POOL,
        CLUSTER_POLICY,
    ),
)
