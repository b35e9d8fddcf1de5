"""The paths that the gateway answers by itself: models and health; metrics are in `scrape`."""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import unquote

import msgspec

from plimsoll.gateway.board import Board
from plimsoll.gateway.http_reply import JSON
from plimsoll.gateway.queue import Served
from plimsoll.gateway.surfaces import SURFACES, no_model

_encode = msgspec.json.Encoder().encode
_MODELS = b"/v1/models"
_ONE_MODEL = b"/v1/models/"
_HEALTH = b"/health"
METRICS = b"/metrics"


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """An answer without an engine.

    name   label in metrics
    """

    name: str
    status: int
    body: bytes
    content_type: bytes = JSON


class Pages:
    """Every page of one gateway.

    created   UTC seconds shown as every model's `created`
    draining  whether the gateway is shutting down
    """

    def __init__(self, board: Board, *, created: int) -> None:
        self.draining = False
        self._board = board
        self._created = created

    def page(self, target: bytes) -> Page | None:
        """The page of a path, or None when there is none. Raises Refused `model_not_found`."""
        if target == _HEALTH:
            return self._health()
        if target == _MODELS:
            data = [self._model(queue.served) for queue in self._board.queues()]
            return Page(name="models", status=200, body=_encode({"object": "list", "data": data}))
        if target.startswith(_ONE_MODEL):
            return self._one(unquote(target[len(_ONE_MODEL) :].decode("ascii", "replace")))
        return None

    def _one(self, name: str) -> Page:
        queue = self._board.find(name)
        if queue is None:
            raise no_model(name, self._board)
        return Page(name="models", status=200, body=_encode(self._model(queue.served)))

    def _health(self) -> Page:
        status, word = (503, "draining") if self.draining else (200, "serving")
        return Page(name="health", status=status, body=_encode({"status": word}))

    def _model(self, served: Served) -> dict[str, object]:
        return {
            "id": served.name,
            "object": "model",
            "created": self._created,
            "owned_by": "plimsoll",
            "aliases": served.aliases,
            "task": served.task,
            "context": served.context,
        }


def methods(target: bytes) -> bytes:
    """The methods of a path as `Allow` lists them, empty for a path that does not exist."""
    if target in SURFACES:
        return b"POST"
    if target in (_MODELS, _HEALTH, METRICS) or target.startswith(_ONE_MODEL):
        return b"GET, HEAD"
    return b""
