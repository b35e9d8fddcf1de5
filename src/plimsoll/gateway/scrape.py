"""One answer to `GET /metrics`: made in slices, so that requests never wait for a scrape."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from time import monotonic

from plimsoll.gateway import http_reply
from plimsoll.gateway.errors import Refused
from plimsoll.gateway.exchange import Client, Means
from plimsoll.gateway.http_request import Request
from plimsoll.telemetry.metrics import CONTENT_TYPE

_SLICE = 0.002  # seconds of work at once, after which others have their turn
_NAME = "metrics"


class Scrape:
    """See the module's docstring; a client's connection treats it as any exchange.

    refusal  an error -> the answer that says so
    """

    def __init__(
        self,
        means: Means,
        client: Client,
        request: Request,
        request_id: bytes,
        refusal: Callable[[Refused], bytes],
    ) -> None:
        self._means = means
        self._client = client
        self._request = request
        self._request_id = request_id
        self._refusal = refusal
        self._task: asyncio.Task[None] | None = None

    def begin(self) -> None:
        """Begin to write the text."""
        self._client.deadline = monotonic() + self._means.settings.write_seconds
        self._task = asyncio.get_running_loop().create_task(self._answer())

    def pause(self) -> None:
        """The caller takes no more bytes for now, which are sent when the text is whole."""

    def resume(self) -> None:
        """The caller takes bytes again."""

    def expire(self, now: float) -> None:
        """It took too long."""
        self.cut(Refused("overloaded", "the metrics took too long to write"))

    def cut(self, refused: Refused) -> None:
        """End it now with an error."""
        self.cancel()
        self._client.write(self._refusal(refused))
        self._client.answered(self._request, keep_alive=False)

    def cancel(self) -> None:
        """The caller has left."""
        if self._task is not None:
            self._task.cancel()

    async def _answer(self) -> None:
        try:
            text = await self._text()
        except Exception as error:  # noqa: BLE001 -- reported; the caller is told, not kept waiting
            context = {"message": "the metrics could not be written", "exception": error}
            asyncio.get_running_loop().call_exception_handler(context)
            self._task = None
            self.cut(Refused("internal", "the metrics could not be written"))
            return
        keep_alive = self._client.keeps(self._request)
        self._client.write(
            http_reply.whole(
                200,
                text,
                request=self._request,
                request_id=self._request_id,
                keep_alive=keep_alive,
                content_type=CONTENT_TYPE.encode(),
            )
        )
        self._means.metrics.none.answered(_NAME, 200)
        self._client.answered(self._request, keep_alive=keep_alive)

    async def _text(self) -> bytes:
        parts = []
        until = monotonic() + _SLICE
        for part in self._means.metrics.parts():
            parts.append(part)
            if monotonic() >= until:
                await asyncio.sleep(0)
                until = monotonic() + _SLICE
        return b"".join(parts)
