"""Where a gateway listens: a port of its own, or one that several processes share."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import socket
import ssl
from collections.abc import Callable, Iterator
from functools import partial

from plimsoll.errors import Failed, PortTaken

_BACKLOG = 1024  # connections that the system keeps until they are accepted
_NEIGHBOURS = 20  # ports tried after a taken one, for the hint


async def listen(
    protocol: Callable[[], asyncio.Protocol],
    host: str,
    port: int,
    *,
    tls: ssl.SSLContext | None,
    handshake_seconds: float,
    shared: bool,
) -> asyncio.Server:
    """A server for connections; port 0 lets the system choose.

    An empty host is every address of the machine, of IPv6 and IPv4.

    shared  other processes of the same user listen there, too: the system divides new connections
            among them by a hash of their addresses (SO_REUSEPORT)

    Raises PortTaken, and Failed for an address that cannot be listened on.
    """
    create = partial(
        asyncio.get_running_loop().create_server,
        protocol,
        backlog=_BACKLOG,
        ssl=tls,
        ssl_handshake_timeout=handshake_seconds if tls else None,
    )
    with _told(host, port):
        if host:
            return await create(host=host, port=port, reuse_port=shared or None)
        return await create(sock=_every_address(port, shared=shared))


@contextlib.contextmanager
def reserved(host: str, port: int) -> Iterator[int]:
    """A port on which only processes of ours can listen, as `shared`; nobody listens by this.

    Raises PortTaken, and Failed for an address that cannot be listened on.
    """
    with _told(host, port):
        # One that shares the port would be let in silently, were it another gateway's.
        with _bound(host, port, shared=False) as alone:
            alone.listen()
            port = int(alone.getsockname()[1])
        held = _bound(host, port, shared=True)
    with held:
        yield port


@contextlib.contextmanager
def _told(host: str, port: int) -> Iterator[None]:
    """The system's errors as ours."""
    try:
        yield
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            raise _port_taken(host, port) from error
        raise Failed(f"cannot listen: {error.strerror or error}", where=f"{host}:{port}") from error


def _bound(host: str, port: int, *, shared: bool) -> socket.socket:
    if not host:
        return _every_address(port, shared=shared)
    family, _, _, _, address = socket.getaddrinfo(
        host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
    )[0]
    return _bind(family, address, shared=shared)


def _every_address(port: int, *, shared: bool) -> socket.socket:
    """Bound for IPv6 and IPv4 together, or for IPv4 where the machine has no IPv6."""
    if socket.has_dualstack_ipv6():
        try:
            return _bind(socket.AF_INET6, ("::", port), shared=shared, both=True)
        except OSError as error:
            if error.errno not in (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT):
                raise
    return _bind(socket.AF_INET, ("", port), shared=shared)


def _bind(
    family: int, address: tuple[object, ...], *, shared: bool, both: bool = False
) -> socket.socket:
    with contextlib.ExitStack() as undo:
        bound = undo.enter_context(socket.socket(family, socket.SOCK_STREAM))
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if shared:
            bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        if family == socket.AF_INET6:
            bound.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, not both)
        bound.bind(address)
        undo.pop_all()
        return bound


def _port_taken(host: str, port: int) -> PortTaken:
    free = _free_port(host, port)
    hint = f"port {free} is free" if free else "choose another port"
    return PortTaken(f"port {port} is taken", where=f"{host}:{port}", hint=hint)


def _free_port(host: str, taken: int) -> int | None:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    for port in (*range(taken + 1, min(taken + _NEIGHBOURS, 65535) + 1), 0):
        with socket.socket(family, socket.SOCK_STREAM) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((host, port))
            except OSError:
                continue
            return int(probe.getsockname()[1])
    return None
