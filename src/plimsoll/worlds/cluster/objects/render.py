"""A whole fleet as files of Kubernetes objects, in the order in which they can be applied."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Literal

from plimsoll.errors import InputError
from plimsoll.worlds.cluster.objects.device_plugin import device_plugin_objects
from plimsoll.worlds.cluster.objects.gateway import gateway_objects
from plimsoll.worlds.cluster.objects.gpu_operator import gpu_operator_values
from plimsoll.worlds.cluster.objects.karpenter import karpenter_notes, karpenter_objects
from plimsoll.worlds.cluster.objects.kserve import kserve_notes, kserve_objects
from plimsoll.worlds.cluster.objects.mig import mig_objects
from plimsoll.worlds.cluster.objects.monitors import monitor_objects
from plimsoll.worlds.cluster.objects.monitors import notes as monitor_notes
from plimsoll.worlds.cluster.objects.namespaces import namespace_objects
from plimsoll.worlds.cluster.objects.network import network_notes, network_objects
from plimsoll.worlds.cluster.objects.rights import rights_objects
from plimsoll.worlds.cluster.objects.routes import inference_pool_objects, route_objects
from plimsoll.worlds.cluster.objects.scaling import notes as scaling_notes
from plimsoll.worlds.cluster.objects.scaling import scaling_objects
from plimsoll.worlds.cluster.objects.security import mps_notes
from plimsoll.worlds.cluster.objects.site import Manifest, Site
from plimsoll.worlds.cluster.objects.workloads import shared_objects, workload_objects

Target = Literal["kubernetes", "kserve"]
GPU_OPERATOR_VALUES = "helm/gpu-operator-values.yaml"


@dataclass(frozen=True, slots=True, kw_only=True)
class File:
    """One file of the rendered tree.

    path       relative, with `/`
    manifests  its objects; never empty
    """

    path: str
    manifests: tuple[Manifest, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Rendered:
    """A fleet as objects.

    files   in the order in which they can be applied
    notes   what was assumed or left out, and what that costs
    extras  texts beside them that are for other tools, by path
    """

    files: tuple[File, ...]
    notes: tuple[str, ...]
    extras: Mapping[str, str] = field(default_factory=dict)

    @property
    def manifests(self) -> tuple[Manifest, ...]:
        """Every object, in the order in which they can be applied."""
        return tuple(manifest for file in self.files for manifest in file.manifests)


def render(
    site: Site,
    *,
    target: Target = "kubernetes",
    own_namespace: bool = False,
    picker: tuple[str, int] | None = None,
) -> Rendered:
    """Every object of a fleet.

    own_namespace  also the namespace of the fleet itself
    picker         Service and port of an endpoint picker: also an InferencePool for each model

    Raises InputError for what cannot run in this cluster, or for two objects of one name.
    """
    models = _models(site) if target == "kubernetes" else [("kserve.yaml", kserve_objects(site))]
    parts: list[tuple[str, Iterable[Manifest]]] = [
        ("namespaces.yaml", namespace_objects(site, own=own_namespace)),
        ("rights.yaml", rights_objects(site)),
        ("network.yaml", network_objects(site)),
        ("nodes.yaml", _nodes(site)),
        ("shared.yaml", shared_objects(site) if target == "kubernetes" else ()),
        *models,
        ("gateway.yaml", [*gateway_objects(site), *route_objects(site)]),
        ("monitors.yaml", monitor_objects(site)),
        ("inference-pools.yaml", _inference_pools(site, picker)),
    ]
    made = [File(path=path, manifests=tuple(objects)) for path, objects in parts]
    files = tuple(file for file in made if file.manifests)
    _check_names(files)
    return Rendered(files=files, notes=_notes(site, target), extras=_extras(site))


def _notes(site: Site, target: Target) -> tuple[str, ...]:
    own = kserve_notes(site) if target == "kserve" else scaling_notes(site)
    rest = (*monitor_notes(site), *network_notes(site), *karpenter_notes(site), *mps_notes(site))
    return (*own, *rest) if target == "kubernetes" else (*rest, *own)


def _extras(site: Site) -> dict[str, str]:
    """What the GPU Operator's own chart has to be told; it is installed by others."""
    values = gpu_operator_values(site)
    return {GPU_OPERATOR_VALUES: values} if values is not None else {}


def _models(site: Site) -> Iterator[tuple[str, Iterable[Manifest]]]:
    for workload in site.workloads:
        objects = [*workload_objects(site, workload), *scaling_objects(site, workload)]
        yield f"models/{workload.name}.yaml", objects


def _inference_pools(site: Site, picker: tuple[str, int] | None) -> Iterable[Manifest]:
    if picker is None:
        return ()
    return inference_pool_objects(site, picker=picker[0], picker_port=picker[1])


def _nodes(site: Site) -> Iterator[Manifest]:
    yield from karpenter_objects(site)
    yield from mig_objects(site)
    yield from device_plugin_objects(site)


def identity(manifest: Manifest) -> tuple[str, str, str, str]:
    """What names one object in a cluster: API group, kind, namespace, name."""
    group, slash, _ = manifest["apiVersion"].partition("/")
    meta = manifest["metadata"]
    return group if slash else "", manifest["kind"], meta.get("namespace", ""), meta["name"]


def _check_names(files: tuple[File, ...]) -> None:
    """Raises InputError where two objects are one to Kubernetes."""
    seen: dict[tuple[str, str, str, str], str] = {}
    for file in files:
        for manifest in file.manifests:
            key = identity(manifest)
            if key in seen:
                raise InputError(
                    f"{key[1]} `{key[3]}` would be made twice: in {seen[key]} and in {file.path}",
                    hint="give the models, pools or tenants names that differ",
                    code="render.name",
                )
            seen[key] = file.path
