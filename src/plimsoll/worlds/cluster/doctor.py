"""What a cluster has and lacks for serving models, what each absence costs, and what to do."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

from plimsoll.facts.cluster import Component, components, shared_storage
from plimsoll.worlds.cluster.client import Kube
from plimsoll.worlds.cluster.info import ClusterInfo, GpuNodes, StorageClass
from plimsoll.worlds.cluster.loads import is_accelerator, quantity
from plimsoll.worlds.cluster.objects.names import POOL
from plimsoll.worlds.cluster.objects.site import Manifest
from plimsoll.worlds.cluster.survey import Survey, survey

State = Literal["ok", "missing", "warning", "unknown"]
_PRODUCT, _MEMORY = "nvidia.com/gpu.product", "nvidia.com/gpu.memory"
_DEFAULT_CLASS = "storageclass.kubernetes.io/is-default-class"
_VERSION = "app.kubernetes.io/version"
_EXTERNAL_METRICS = "external.metrics.k8s.io/v1beta1"
_NEARLY = 0.9  # share of a quota at which it is worth a word
_UNSEEN = "not allowed to look"


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One thing that a cluster has or has not.

    name   stable, for programs
    title  for people
    state  ok | missing | warning | unknown (we may not look)
    found  what there is, such as a version or a count; may be empty
    cost   what it costs; empty where it is ok
    todo   what to do; empty where it is ok
    """

    name: str
    title: str
    state: State
    found: str = ""
    cost: str = ""
    todo: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Findings:
    """Everything found, in a fixed order, and what `render` needs of it."""

    findings: tuple[Finding, ...]
    info: ClusterInfo

    def of(self, *states: State) -> tuple[Finding, ...]:
        """The findings in one of these states."""
        return tuple(one for one in self.findings if one.state in states)


async def examine(kube: Kube, namespace: str | None = None) -> Findings:
    """Look at a cluster; quotas and rights are those of `namespace`. Raises what `Kube` raises."""
    seen = await survey(kube, namespace)
    return Findings(findings=tuple(findings_of(seen)), info=info_of(seen))


async def cluster_info(kube: Kube) -> ClusterInfo:
    """What a cluster offers, for `render`. Raises what `Kube` raises; what is unseen is empty."""
    return info_of(await survey(kube, rights=False))


def info_of(seen: Survey) -> ClusterInfo:
    """What a survey means for rendering."""
    classes = [
        StorageClass(
            name=one["metadata"]["name"],
            provisioner=str(one.get("provisioner", "")),
            default=_annotation(one, _DEFAULT_CLASS) == "true",
        )
        for one in seen.storage_classes or ()
    ]
    return ClusterInfo(
        kubernetes=_minor(seen.version),
        apis=seen.apis,
        storage_classes=tuple(classes),
        device_classes=tuple(one["metadata"]["name"] for one in seen.device_classes or ()),
        gpus=_gpu_nodes(seen),
        external_metrics=_EXTERNAL_METRICS in seen.api_versions,
        dra_gpus=any(_publishes_gpus(one) for one in seen.resource_slices or ()),
    )


def findings_of(seen: Survey) -> Iterator[Finding]:
    """What a survey means for people, in the order of the facts."""
    info = info_of(seen)
    for component in components().values():
        check = _CHECKS.get(component.name)
        if check is not None:
            yield check(component, seen, info)
        else:
            yield _installed(component, seen)


def _installed(component: Component, seen: Survey) -> Finding:
    """Whether an API is served, or something runs, that belongs to the component."""
    served = set(component.apis) & set(seen.apis)
    served |= set(component.api_versions) & seen.api_versions
    running = [one for one in seen.workloads or () if _labelled(one, component)]
    if not served and (component.apis or component.api_versions):
        return _bad(component, "missing")
    if not component.labels:
        return _good(component, ", ".join(sorted(one.rpartition("/")[2] for one in served)))
    if seen.workloads is None:
        return _bad(component, "unknown", _UNSEEN) if not served else _good(component)
    if not running:
        if served:
            return _bad(component, "warning", "its definitions are there, nothing of it runs")
        return _bad(component, "missing")
    return _good(component, _release(running[0]))


def _kubernetes(component: Component, seen: Survey, info: ClusterInfo) -> Finding:
    first, last = _number(component.first), _number(component.last)
    if first <= info.minor <= last:
        return _good(component, seen.version)
    if info.minor > last:
        found = f"{seen.version}, newer than what we were tested with"
        return Finding(name=component.name, title=component.title, state="warning", found=found)
    return _bad(component, "warning", seen.version)


def _operator(component: Component, seen: Survey, _info: ClusterInfo) -> Finding:
    found = _installed(component, seen)
    if found.state != "ok" or seen.cluster_policies is None:
        return found
    if not seen.cluster_policies:
        return _bad(component, "warning", "installed, but there is no ClusterPolicy")
    states = {str((one.get("status") or {}).get("state", "")) for one in seen.cluster_policies}
    if states != {"ready"}:
        return _bad(component, "warning", f"its ClusterPolicy is {', '.join(sorted(states))}")
    return _good(component, "ready")


def _accelerators(component: Component, seen: Survey, info: ClusterInfo) -> Finding:
    if seen.nodes is None:
        return _bad(component, "unknown", _UNSEEN)
    total: Counter[str] = Counter()
    for alike in info.gpus:
        for name, count in alike.resources.items():
            total[name] += count * alike.nodes
    if not total:
        return _bad(component, "missing", f"{len(seen.nodes)} nodes, none offers any")
    words = ", ".join(f"{count} {name}" for name, count in sorted(total.items()))
    return _good(component, f"{words} on {sum(alike.nodes for alike in info.gpus)} nodes")


def _feature_labels(component: Component, seen: Survey, info: ClusterInfo) -> Finding:
    if seen.nodes is None:
        return _bad(component, "unknown", _UNSEEN)
    nvidia = [a for a in info.gpus if any(name.startswith("nvidia.com/") for name in a.resources)]
    bare = sum(alike.nodes for alike in nvidia if not (alike.product and alike.memory))
    if bare:
        return _bad(component, "warning", f"{bare} nodes with GPUs lack them")
    if not nvidia:
        return _good(component, "no node needs them yet")
    return _good(component, ", ".join(sorted({alike.product for alike in nvidia})))


def _dra(component: Component, seen: Survey, info: ClusterInfo) -> Finding:
    if seen.resource_slices is None or seen.device_classes is None:
        return _bad(component, "unknown", _UNSEEN)
    if not info.dra_gpus:
        found = "classes, but no GPUs in ResourceSlices" if info.device_classes else ""
        return _bad(component, "warning" if info.device_classes else "missing", found)
    return _good(component, ", ".join(info.device_classes))


def _default_class(component: Component, seen: Survey, info: ClusterInfo) -> Finding:
    if seen.storage_classes is None:
        return _bad(component, "unknown", _UNSEEN)
    defaults = [one.name for one in info.storage_classes if one.default]
    if not defaults:
        return _bad(component, "missing", f"{len(info.storage_classes)} classes, none the default")
    if len(defaults) > 1:
        return _bad(component, "warning", f"several: {', '.join(defaults)}; the newest is taken")
    return _good(component, defaults[0])


def _shared_class(component: Component, seen: Survey, info: ClusterInfo) -> Finding:
    if seen.storage_classes is None:
        return _bad(component, "unknown", _UNSEEN)
    able = [
        f"{one.name} ({known.what})"
        for one in info.storage_classes
        if (known := shared_storage(one.provisioner)) is not None
    ]
    if not able:
        return _bad(component, "missing", "no class whose provisioner is known for it")
    return _good(component, ", ".join(able))


def _quota(component: Component, seen: Survey, _info: ClusterInfo) -> Finding:
    if seen.quotas is None:
        return _bad(component, "unknown", _UNSEEN)
    if not seen.quotas:
        return _good(component, f"none in namespace {seen.namespace}")
    tight, told = [], []
    for one in seen.quotas:
        status = one.get("status") or {}
        used = status.get("used") or {}
        for name, hard in sorted((status.get("hard") or {}).items()):
            taken = used.get(name, "0")
            words = f"{name} {taken} of {hard}"
            told.append(words)
            if quantity(taken) >= quantity(hard) * quantity(_NEARLY):
                tight.append(words)
    if tight:
        return _bad(component, "warning", "; ".join(tight))
    return _good(component, "; ".join(told))


def _rights(component: Component, seen: Survey, _info: ClusterInfo) -> Finding:
    where = f"in namespace {seen.namespace}"
    if seen.refused:
        return _bad(component, "warning", f"refused {where}: {', '.join(seen.refused)}")
    return _good(component, f"everything that an apply needs {where}")


_CHECKS = {
    "kubernetes": _kubernetes,
    "gpu-operator": _operator,
    "accelerators": _accelerators,
    "feature-labels": _feature_labels,
    "dra": _dra,
    "default-storage-class": _default_class,
    "shared-storage": _shared_class,
    "quota": _quota,
    "rights": _rights,
}


def _gpu_nodes(seen: Survey) -> tuple[GpuNodes, ...]:
    """Nodes with accelerators, those that are alike counted together."""
    alike: Counter[tuple[str, int, str, tuple[tuple[str, int], ...]]] = Counter()
    for node in seen.nodes or ():
        offered = (node.get("status") or {}).get("allocatable") or {}
        devices = tuple(
            sorted(
                (name, int(quantity(amount)))
                for name, amount in offered.items()
                if is_accelerator(name) and quantity(amount) > 0
            )
        )
        if devices:
            labels = node["metadata"].get("labels") or {}
            memory = labels.get(_MEMORY, "")
            size = int(memory) if memory.isdecimal() else 0
            alike[labels.get(_PRODUCT, ""), size, labels.get(POOL, ""), devices] += 1
    return tuple(
        GpuNodes(product=product, memory=size, pool=pool, nodes=count, resources=dict(devices))
        for (product, size, pool, devices), count in sorted(alike.items())
    )


def _publishes_gpus(piece: Manifest) -> bool:
    """Whether a ResourceSlice holds devices of a driver of GPUs: `gpu.nvidia.com`."""
    spec = piece.get("spec") or {}
    return str(spec.get("driver", "")).startswith("gpu.") and bool(spec.get("devices"))


def _labelled(workload: Manifest, component: Component) -> bool:
    labels: Mapping[str, str] = workload["metadata"].get("labels") or {}
    return any(labels.get(key) == value for key, _, value in _split(component.labels))


def _split(labels: tuple[str, ...]) -> Iterator[tuple[str, str, str]]:
    return (label.partition("=") for label in labels)


def _release(workload: Manifest) -> str:
    """The version of what runs: its label, else the tag of its image."""
    labels = workload["metadata"].get("labels") or {}
    if version := labels.get(_VERSION):
        return str(version)
    containers = ((workload["spec"].get("template") or {}).get("spec") or {}).get("containers")
    image = str((containers or [{}])[0].get("image", ""))
    tag = image.rpartition("/")[2].partition("@")[0].partition(":")[2]
    return tag or "running"


def _good(component: Component, found: str = "") -> Finding:
    return Finding(name=component.name, title=component.title, state="ok", found=found)


def _bad(component: Component, state: State, found: str = "") -> Finding:
    return Finding(
        name=component.name,
        title=component.title,
        state=state,
        found=found,
        cost=component.cost,
        todo=component.todo,
    )


def _annotation(one: Manifest, name: str) -> str:
    return str((one["metadata"].get("annotations") or {}).get(name, ""))


def _minor(version: str) -> str:
    """`1.34` of `1.34.2-eks-1234`."""
    match = re.match(r"(\d+)\.(\d+)", version)
    return f"{match[1]}.{match[2]}" if match else version


def _number(version: str) -> int:
    return int(version.partition(".")[2])
