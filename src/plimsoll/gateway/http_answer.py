"""What is told of a replica's answer while it comes, and to whom."""

from __future__ import annotations

from typing import Protocol

from plimsoll.policy.retry import Failure


class Head:
    """The head of an answer, as far as anybody here asks.

    status        HTTP status
    content_type  lower case, with its parameters
    encoded       whether it has a content encoding other than identity
    """

    status = 0
    content_type = b""
    encoded = False


class Receiver(Protocol):
    """Who gets the answer to a request: a head, data, then exactly one of done and failed."""

    def upstream_head(self, head: Head) -> None:
        """The headers are whole."""
        ...

    def upstream_data(self, data: bytes) -> None:
        """More of the body, never empty."""
        ...

    def upstream_done(self) -> None:
        """The answer is whole; the connection is no longer the receiver's."""
        ...

    def upstream_failed(self, failure: Failure, detail: str) -> None:
        """There will be no more; the connection is gone."""
        ...
