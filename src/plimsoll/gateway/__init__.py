"""The door for requests: HTTP in and out, the queue for replicas, and the relay of answers."""

from plimsoll.gateway.board import Board, ModelDemand
from plimsoll.gateway.client import GatewayClient, GatewayError
from plimsoll.gateway.engine_looks import EngineLooks, LookPace, Spoken
from plimsoll.gateway.server import Gateway, new_event_loop
from plimsoll.gateway.settings import GatewaySettings
from plimsoll.policy.requests.types import Served, Upstream

__all__ = [
    "Board",
    "EngineLooks",
    "Gateway",
    "GatewayClient",
    "GatewayError",
    "GatewaySettings",
    "LookPace",
    "ModelDemand",
    "Served",
    "Spoken",
    "Upstream",
    "new_event_loop",
]
