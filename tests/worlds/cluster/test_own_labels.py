"""A pod says on itself how far its downloads are; other labels stay."""

from __future__ import annotations

import asyncio

import pytest

from plimsoll.errors import InputError
from plimsoll.worlds.cluster.client import Kube
from plimsoll.worlds.cluster.own_labels import own_pod, set_label
from tests.worlds.cluster.api import Api

POD = {
    "apiVersion": "v1",
    "kind": "Pod",
    "metadata": {
        "name": "models-x1",
        "namespace": "default",
        "labels": {"app": "models", "plimsoll.dev/weights-a": "loading"},
    },
    "spec": {"containers": [{"name": "c", "image": "registry.example.com/c:1"}]},
}


def test_labels_are_changed_one_by_one(api: Api) -> None:
    api.create(POD)

    async def scene() -> None:
        async with await Kube.connect(url=api.url) as kube:
            pod = ("default", "models-x1")
            await set_label(kube, pod, "plimsoll.dev/weights-a", "ready")
            await set_label(kube, pod, "plimsoll.dev/weights-b", "loading")
            await set_label(kube, pod, "plimsoll.dev/weights-b", "ready")

    asyncio.run(scene())
    (found,) = api.objects("v1", "Pod", "default")
    assert found["metadata"]["labels"] == {
        "app": "models",
        "plimsoll.dev/weights-a": "ready",
        "plimsoll.dev/weights-b": "ready",
    }


def test_a_pod_knows_itself_by_two_variables() -> None:
    assert own_pod({"POD_NAME": "a", "POD_NAMESPACE": "b"}) == ("b", "a")
    with pytest.raises(InputError, match="for pods"):
        own_pod({"POD_NAME": "a"})
