"""The label by which a pod of the cluster says how far its download is; needed by few runs."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

from plimsoll.worlds.cluster.client import Kube
from plimsoll.worlds.cluster.objects.node_models import LOADING, READY
from plimsoll.worlds.cluster.own_labels import own_pod, set_label


class OwnLabel:
    """One label of the pod that this process runs in. Raises InputError outside a pod.

    Its methods raise what `Kube` raises; whoever started the process starts it again.
    """

    def __init__(self, label: str, environment: Mapping[str, str]) -> None:
        self._label = label
        self._pod = own_pod(environment)

    def loading(self) -> None:
        """The download has begun."""
        self._put(LOADING)

    def ready(self) -> None:
        """Everything is there."""
        self._put(READY)

    def _put(self, value: str) -> None:
        async def put() -> None:
            async with await Kube.connect() as kube:
                await set_label(kube, self._pod, self._label, value)

        asyncio.run(put())
