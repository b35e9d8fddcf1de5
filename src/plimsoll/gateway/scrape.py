"""The gateway's own answers that take a while: made in slices, so that requests never wait."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from time import monotonic

from plimsoll.errors import PlimsollError
from plimsoll.gateway import http_reply
from plimsoll.gateway.errors import Refused
from plimsoll.gateway.http_request import Request
from plimsoll.gateway.one_try import Means
from plimsoll.gateway.pages import Page
from plimsoll.gateway.reply import Client

_SLICE = 0.002  # seconds of work at once, after which others have their turn


class SlowPage:
    """A page while it is made; a client's connection treats it as any exchange.

    make     makes it; may raise Refused
    what     the page in words, for errors
    refusal  an error -> the answer that says so
    """

    def __init__(
        self,
        means: Means,
        client: Client,
        request: Request,
        request_id: bytes,
        *,
        make: Callable[[], Awaitable[Page]],
        what: str,
        refusal: Callable[[Refused], bytes],
    ) -> None:
        self._means = means
        self._client = client
        self._request = request
        self._request_id = request_id
        self._make = make
        self._what = what
        self._refusal = refusal
        self._task: asyncio.Task[None] | None = None

    def begin(self) -> None:
        """Begin to make it."""
        self._client.deadline = monotonic() + self._means.settings.write_seconds
        self._task = asyncio.get_running_loop().create_task(self._answer())

    def pause(self) -> None:
        """The caller takes no more bytes for now, which are sent when the page is whole."""

    def resume(self) -> None:
        """The caller takes bytes again."""

    def expire(self, now: float) -> None:
        """It took too long."""
        self.cut(Refused("overloaded", f"{self._what} took too long to write"))

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
            page = await self._make()
        except Refused as refused:
            self._fail(refused)
            return
        except PlimsollError as error:
            self._fail(Refused("overloaded", f"{self._what} cannot be told now: {error}"))
            return
        except Exception as error:  # noqa: BLE001 -- reported; the caller is told, not kept waiting
            context = {"message": f"{self._what} could not be written", "exception": error}
            asyncio.get_running_loop().call_exception_handler(context)
            self._fail(Refused("internal", f"{self._what} could not be written"))
            return
        keep_alive = self._client.keeps(self._request)
        self._client.write(
            http_reply.whole(
                page.status,
                page.body,
                request=self._request,
                request_id=self._request_id,
                keep_alive=keep_alive,
                content_type=page.content_type,
            )
        )
        self._means.metrics.none.answered(page.name, page.status)
        self._client.answered(self._request, keep_alive=keep_alive)

    def _fail(self, refused: Refused) -> None:
        self._task = None
        self.cut(refused)


async def in_slices(parts: Iterable[bytes]) -> bytes:
    """Parts of a text as one, made with pauses in which others have their turn."""
    made = []
    until = monotonic() + _SLICE
    for part in parts:
        made.append(part)
        if monotonic() >= until:
            await asyncio.sleep(0)
            until = monotonic() + _SLICE
    return b"".join(made)
