"""The gateway's limits as the fleet file wishes them, and its pace as the facts say."""

from __future__ import annotations

from collections.abc import Callable

from plimsoll.facts.kubernetes import figure
from plimsoll.fleet import Fleet
from plimsoll.gateway import GatewaySettings, LookPace


def gateway_settings(fleet: Fleet) -> GatewaySettings:
    """The gateway's settings from the fleet's `gateway` section and what its models look at."""
    wish = fleet.gateway
    limits = wish.limits
    return GatewaySettings(
        max_body=limits.body,
        max_head=limits.headers,
        max_connections=limits.connections,
        head_seconds=limits.header_time,
        body_seconds=limits.body_time,
        idle_seconds=limits.idle_time,
        queue_requests=wish.queue.requests,
        queue_bytes=wish.queue.bytes,
        queue_wait=wish.queue.wait,
        max_stream=wish.max_stream,
        tries=wish.retries.attempts,
        continuation=wish.retries.continuation,
        session_headers=frozenset(
            model.affinity.header.lower().encode()
            for model in fleet.models
            if model.affinity.by == "session"
        ),
    )


def look_pace(jitter: Callable[[], float]) -> LookPace:
    """How often a gateway in a cluster looks at its replicas' metrics.

    jitter  a number from 0 to 1, another one at each call
    """
    return LookPace(
        interval=figure("engine_look"),
        rate=figure("engine_look_rate"),
        at_once=int(figure("engine_look_at_once")),
        seconds=figure("engine_look_time"),
        largest=int(figure("engine_look_largest")),
        believed=figure("engine_look_believed"),
        jitter=jitter,
    )
