"""The door for requests: HTTP in and out, the queue for replicas, and the relay of answers."""

from plimsoll.gateway.board import Board, ModelDemand, Served, Upstream
from plimsoll.gateway.client import GatewayClient, GatewayError
from plimsoll.gateway.server import Gateway, new_event_loop
from plimsoll.gateway.settings import GatewaySettings

__all__ = [
    "Board",
    "Gateway",
    "GatewayClient",
    "GatewayError",
    "GatewaySettings",
    "ModelDemand",
    "Served",
    "Upstream",
    "new_event_loop",
]
