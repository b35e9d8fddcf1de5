"""Every limit of the gateway with its default; the fleet file and the command line set some."""

from __future__ import annotations

from dataclasses import dataclass

from plimsoll.units import KIB, MIB


@dataclass(frozen=True, slots=True, kw_only=True)
class GatewaySettings:
    """Limits; bytes and seconds.

    max_body             one request body
    max_bodies           all request bodies held at once; above it new ones get 503
    max_target           the request target (path and query)
    max_head             the request line and headers together
    max_headers          number of headers
    max_pipelined        requests that may wait on one connection behind another
    max_connections      client connections; one more is told 503 and closed
    max_reply            the body of an answer that is not streamed
    max_event            one server-sent event
    head_seconds         from the first byte of a request to the end of its headers
    body_seconds         from the headers to the end of the body
    idle_seconds         between two requests on one connection
    linger_seconds       reading on after a refusal, so that the caller can read it
    write_seconds        a client that takes nothing from a full buffer for so long is cut
    queue_requests       requests per model that may wait for a replica
    queue_bytes          their bodies together, per model
    queue_wait           seconds of the longest wait for a replica
    retry_after          seconds named in `Retry-After`
    connect_seconds      to open a connection to a replica
    first_byte_seconds   from the request to the first byte of the replica's answer
    between_seconds      between two chunks of an answer
    max_stream           seconds of the longest answer
    keep_seconds         a kept connection to a replica is not used after so long; llama.cpp
                         closes its own after 5
    tries                tries per request that may reach a replica
    continuation         whether a stream whose replica died is continued on another
    session_headers      headers that name conversations, in small letters
    suspect_seconds      a replica that broke a connection gets no new work for so long
    """

    max_body: int = 32 * MIB
    max_bodies: int = 512 * MIB
    max_target: int = 8 * KIB
    max_head: int = 64 * KIB
    max_headers: int = 100
    max_pipelined: int = 32
    max_connections: int = 10_000
    max_reply: int = 64 * MIB
    max_event: int = 4 * MIB
    head_seconds: float = 10.0
    body_seconds: float = 60.0
    idle_seconds: float = 75.0
    linger_seconds: float = 2.0
    write_seconds: float = 30.0
    queue_requests: int = 2000
    queue_bytes: int = 64 * MIB
    queue_wait: float = 60.0
    retry_after: float = 2.0
    connect_seconds: float = 5.0
    first_byte_seconds: float = 300.0
    between_seconds: float = 120.0
    max_stream: float = 600.0
    keep_seconds: float = 4.0
    tries: int = 3
    continuation: bool = True
    session_headers: frozenset[bytes] = frozenset()
    suspect_seconds: float = 0.5
