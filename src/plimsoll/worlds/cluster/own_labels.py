"""Labels that a pod puts on itself, so that others can be scheduled by what it knows."""

from __future__ import annotations

from collections.abc import Mapping

from plimsoll.errors import InputError
from plimsoll.worlds.cluster.client import Kube

_NAME, _NAMESPACE = "POD_NAME", "POD_NAMESPACE"


def own_pod(environment: Mapping[str, str]) -> tuple[str, str]:
    """Namespace and name of this pod, from the variables that its manifest sets.

    Raises InputError outside a pod.
    """
    try:
        return environment[_NAMESPACE], environment[_NAME]
    except KeyError as missing:
        raise InputError(
            f"`--label` is for pods: {missing.args[0]} is not set",
            hint="leave it out on a machine of your own",
            code="fetch.label",
        ) from None


async def set_label(kube: Kube, pod: tuple[str, str], label: str, value: str) -> None:
    """Put a label on a pod; other labels stay as they are. Raises as `Kube.apply` does."""
    namespace, name = pod
    manifest = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "namespace": namespace, "labels": {label: value}},
    }
    # One manager for each label: what a manager leaves out of a later apply, it removes.
    manager = f"plimsoll-{label.rpartition('/')[2]}"
    await kube.apply(manifest, manager=manager, force=True)
