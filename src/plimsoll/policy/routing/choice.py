"""Which router a model gets."""

from __future__ import annotations

from plimsoll.policy.requests.types import Served
from plimsoll.policy.routing.load import LeastLoaded
from plimsoll.policy.routing.prefix import PrefixRouter
from plimsoll.policy.routing.prompt import BLOCK_TOKENS
from plimsoll.policy.routing.protocol import Router
from plimsoll.policy.routing.sessions import SessionRouter


def router_for(served: Served) -> Router:
    """The router that the model's affinity asks for. `prefix` reads `Ticket.blocks` as
    `prompt.blocks_of` makes them; `session` and `tenant` read `Ticket.session`.
    """
    if served.affinity == "prefix":
        return PrefixRouter(
            served.name,
            ends=BLOCK_TOKENS,
            rate=served.prefill_rate,
            tokens=served.kv_tokens,
        )
    if served.affinity in ("session", "tenant"):
        return SessionRouter(served.name, ttl=served.affinity_ttl)
    return LeastLoaded(served.name)
