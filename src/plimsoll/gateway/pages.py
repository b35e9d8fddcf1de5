"""The paths that the gateway answers by itself: models, health, why a request went where it
went; metrics are in `scrape`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from urllib.parse import unquote

import msgspec
from msgspec import structs

from plimsoll.gateway.access import Caller
from plimsoll.gateway.board import Board
from plimsoll.gateway.errors import Refused
from plimsoll.gateway.http_reply import JSON
from plimsoll.gateway.surfaces import SURFACES, no_model
from plimsoll.policy.requests.types import Served
from plimsoll.telemetry.recent import Recent

_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(dict[str, object]).decode
_MODELS = b"/v1/models"
_ONE_MODEL = b"/v1/models/"
_HEALTH = b"/health"
_REQUEST = b"/plimsoll/requests/"
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

    def __init__(self, board: Board, recent: Recent, *, created: int) -> None:
        self.draining = False
        self._board = board
        self._recent = recent
        self._created = created

    def page(self, target: bytes, caller: Callable[[], Caller]) -> Page | None:
        """The page of a path, or None when there is none.

        caller  who asks, for pages that are not anybody's to see; may raise Refused
        Raises Refused `model_not_found` and `not_found`.
        """
        if target == _HEALTH:
            return self._health()
        if target == _MODELS:
            return self._all(caller())
        if target.startswith(_ONE_MODEL):
            return self._one(_rest(target, _ONE_MODEL), caller())
        if target.startswith(_REQUEST):
            return self._request(_rest(target, _REQUEST), caller())
        return None

    def _all(self, caller: Caller) -> Page:
        """Every model, in one list that clients of OpenAI's and of Anthropic's API can read."""
        shown = (self._model(served, caller) for served in self._board.offered())
        models = [model for model in shown if model is not None]
        body = {
            "object": "list",
            "data": models,
            "has_more": False,
            "first_id": models[0]["id"] if models else None,
            "last_id": models[-1]["id"] if models else None,
        }
        return Page(name="models", status=200, body=_encode(body))

    def _one(self, name: str, caller: Caller) -> Page:
        served = self._board.resolve(name) if caller.may(name) else None
        model = self._model(served, caller) if served is not None else None
        if model is None:
            raise no_model(name, self._board, caller)
        return Page(name="models", status=200, body=_encode(model))

    def _request(self, name: str, caller: Caller) -> Page:
        """What became of a request of the caller's tenant, and why it went where it went."""
        known = self.known(caller.scope + name.encode())
        if known is None:
            raise Refused(
                "not_found",
                f"nothing is known of a request `{name[:80]}`",
                hint="ids are in `x-request-id` of answers; only the last requests are kept",
            )
        return _known_page(name, known)

    def known(self, key: bytes) -> dict[str, object] | None:
        """`outcome` and `routing` of a request, None for one that is not known.

        key  of the tenant and the request's id
        """
        story = self._recent.find(key)
        explanation = self._board.explain(key, story.model if story is not None else "")
        if explanation is None and story is None:
            return None
        outcome = structs.asdict(story) if story is not None else None
        if outcome is not None:
            del outcome["key"]  # its tenant is the caller's
        return {"outcome": outcome, "routing": explanation}

    def encoded(self, key: bytes) -> bytes:
        """As `known` has it, for another worker; empty for a request that is not known."""
        known = self.known(key)
        return _encode(known) if known is not None else b""

    def request_key(self, target: bytes, caller: Caller) -> bytes:
        """Under which the request of a path is known."""
        return caller.scope + _rest(target, _REQUEST).encode()

    def told(self, target: bytes, encoded: bytes) -> Page | None:
        """The page of a request by what another worker said; None if that knows nothing."""
        return _known_page(_rest(target, _REQUEST), _decode(encoded)) if encoded else None

    def _health(self) -> Page:
        status, word = (503, "draining") if self.draining else (200, "serving")
        return Page(name="health", status=status, body=_encode({"status": word}))

    def _model(self, served: Served, caller: Caller) -> dict[str, object] | None:
        """A model by the words that a caller may use; None where there are none."""
        words = caller.among((served.name, *served.aliases, served.tier, *served.adapters))
        name = next((word for word in words if word), None)
        if name is None:
            return None
        return {
            "id": name,
            "object": "model",
            "created": self._created,
            "owned_by": "plimsoll",
            "type": "model",
            "display_name": name,
            "created_at": datetime.fromtimestamp(self._created, UTC).isoformat(),
            "lifecycle": "active",
            "max_input_tokens": served.context,
            "aliases": caller.among(served.aliases),
            "task": served.task,
            "context": served.context,
        }


def of_request(target: bytes) -> bool:
    """Whether a path is of what became of one request."""
    return target.startswith(_REQUEST)


def methods(target: bytes) -> bytes:
    """The methods of a path as `Allow` lists them, empty for a path that does not exist."""
    if target in SURFACES:
        return b"POST"
    if target in (_MODELS, _HEALTH, METRICS) or target.startswith((_ONE_MODEL, _REQUEST)):
        return b"GET, HEAD"
    return b""


def _known_page(name: str, known: dict[str, object]) -> Page:
    return Page(name="requests", status=200, body=_encode({"id": name, **known}))


def _rest(target: bytes, before: bytes) -> str:
    return unquote(target[len(before) :].decode("ascii", "replace"))
