"""What the gateway is told, from a ConfigMap or a file, as often as it changes.

A configuration that is broken is logged and counted, and the last good one stays.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator
from contextlib import suppress
from pathlib import Path

from plimsoll.errors import InputError, PlimsollError
from plimsoll.telemetry.watch_metrics import WatchMetrics
from plimsoll.worlds.cluster.client import Kube
from plimsoll.worlds.cluster.following import Followed, Following, Pace
from plimsoll.worlds.cluster.served import KEY, GatewayConfiguration, decode

_LOOK = 1.0  # seconds between two looks at a file

_log = logging.getLogger(__name__)


async def from_config_map(
    kube: Kube, namespace: str, name: str, *, pace: Pace, metrics: WatchMetrics
) -> AsyncGenerator[GatewayConfiguration, None]:
    """The configuration in a ConfigMap, now and after every change, without end."""
    changed = asyncio.Event()
    following = Following(
        kube,
        Followed(api_version="v1", kind="ConfigMap", namespace=namespace, name=name),
        pace=pace,
        metrics=metrics,
        changed=changed.set,
    )
    task = asyncio.create_task(following.run())
    last: str | None = None
    try:
        while True:
            await changed.wait()
            changed.clear()
            found = following.objects.get(name)
            if found is None:
                _log.warning("there is no ConfigMap %s in namespace %s", name, namespace)
                continue
            text = (found.get("data") or {}).get(KEY, "")
            if text == last:
                continue
            last = text
            configuration = await _decoded(text, f"ConfigMap {namespace}/{name}", metrics)
            if configuration is not None:
                yield configuration
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


async def from_file(
    path: Path, *, metrics: WatchMetrics
) -> AsyncGenerator[GatewayConfiguration, None]:
    """The configuration in a file, now and after every change, without end.

    Raises InputError when the file cannot be used at the beginning; later that is logged.
    """
    seen = _stamp(path)
    yield decode(_text(path), where=str(path))
    while True:
        await asyncio.sleep(_LOOK)
        try:
            stamp = _stamp(path)
            if stamp == seen:
                continue
            text = _text(path)
        except InputError as error:
            _log.warning("%s", error)
            continue
        seen = stamp
        configuration = await _decoded(text, str(path), metrics)
        if configuration is not None:
            yield configuration


async def _decoded(
    text: str | bytes, where: str, metrics: WatchMetrics
) -> GatewayConfiguration | None:
    """The configuration, or None and a reason in the log."""
    try:
        # In a thread: reading a thousand models must not hold up the streams.
        configuration = await asyncio.to_thread(decode, text, where=where)
    except PlimsollError as error:
        metrics.configurations["refused"] += 1
        _log.error(
            "the configuration stays as it was: %s", error, extra={"fields": {"code": error.code}}
        )
        return None
    metrics.configurations["applied"] += 1
    return configuration


def _stamp(path: Path) -> tuple[int, int, int]:
    """What changes when the file does; a replaced file has another inode."""
    try:
        found = path.stat()
    except OSError as error:
        raise _unreadable(path, error) from error
    return found.st_mtime_ns, found.st_size, found.st_ino


def _text(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise _unreadable(path, error) from error


def _unreadable(path: Path, error: OSError) -> InputError:
    return InputError(
        f"cannot be read: {error.strerror or error}",
        where=str(path),
        hint="check the path",
        code="input.file",
    )
