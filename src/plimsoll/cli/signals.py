"""SIGINT and SIGTERM as calls in the event loop, for as long as a block lasts."""

from __future__ import annotations

import asyncio
import contextlib
import signal
from collections.abc import Callable, Iterator

_ENDING = (signal.SIGINT, signal.SIGTERM)


@contextlib.contextmanager
def on_signals(callback: Callable[[], object]) -> Iterator[None]:
    """Call `callback` at each SIGINT or SIGTERM; afterwards they do again what they did before."""
    loop = asyncio.get_running_loop()
    for number in _ENDING:
        loop.add_signal_handler(number, callback)
    try:
        yield
    finally:
        for number in _ENDING:
            loop.remove_signal_handler(number)
