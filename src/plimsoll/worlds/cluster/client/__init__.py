"""The door to a cluster: `Kube`, the one adapter of the Kubernetes client library (kr8s)."""

from plimsoll.worlds.cluster.client.calls import Listed
from plimsoll.worlds.cluster.client.kube import Kube
from plimsoll.worlds.cluster.client.transport import Patience
from plimsoll.worlds.cluster.client.watching import Event, EventType

__all__ = ["Event", "EventType", "Kube", "Listed", "Patience"]
