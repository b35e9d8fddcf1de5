"""One HTTP GET of a gateway pod's metrics: the operator's only word to anything but the API."""

from __future__ import annotations

from typing import Self

import httpx

from plimsoll.errors import Failed

TIMEOUT_SECONDS = 3.0
LARGEST = 64 * 2**20  # bytes; a gateway of 1,000 models says about 2 MiB
_OK = 200


class MetricsReader:
    """Asks gateway pods; an async context manager that keeps connections open between looks."""

    def __init__(self) -> None:
        # Inside the cluster a pod is asked by its address, for which no certificate is made;
        # what is read are numbers, and nothing is sent.
        self._client = httpx.AsyncClient(
            timeout=TIMEOUT_SECONDS,
            trust_env=False,
            verify=False,  # noqa: S501
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._client.aclose()

    async def fetch(self, address: str) -> str:
        """The text under `address`/metrics. Raises Failed where there is no such answer."""
        try:
            answer = await self._client.get(f"{address}/metrics")
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise Failed(
                f"does not answer: {str(error) or type(error).__name__}",
                where=address,
                code="operator.gateway-silent",
            ) from error
        if answer.status_code != _OK or len(answer.content) > LARGEST:
            raise Failed(
                f"answers with status {answer.status_code}",
                where=address,
                code="operator.gateway-silent",
            )
        return answer.text
