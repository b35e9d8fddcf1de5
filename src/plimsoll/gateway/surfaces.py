"""The paths that serve models: what a request must be before it reaches an engine.

Bodies are checked and only the fields that routing needs are read; the bytes stay as they came.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from types import MappingProxyType
from typing import Protocol

import msgspec

from plimsoll.gateway.board import Board
from plimsoll.gateway.errors import Refused
from plimsoll.gateway.http_request import Request
from plimsoll.gateway.queue import ModelQueue

_SHOWN = 80  # characters of a caller's own word in a message


class _Message(msgspec.Struct):
    role: str


class _Chat(msgspec.Struct):
    model: str
    messages: list[_Message]
    stream: bool | None = None

    def check(self) -> None:
        """Raises Refused when there is no message."""
        if not self.messages:
            raise Refused("invalid_value", "`messages` is empty", param="messages")


class _Completion(msgspec.Struct):
    model: str
    prompt: msgspec.Raw
    stream: bool | None = None

    def check(self) -> None:
        """Raises Refused when the prompt is neither text nor a list."""
        _text_or_list(self.prompt, "prompt")


class _Embedding(msgspec.Struct):
    model: str
    input: msgspec.Raw
    stream: bool | None = None

    def check(self) -> None:
        """Raises Refused when the input is neither text nor a list, or a stream is asked for."""
        _text_or_list(self.input, "input")
        if self.stream:
            raise Refused("invalid_value", "embeddings are not streamed", param="stream")


class _Body(Protocol):
    @property
    def model(self) -> str: ...
    @property
    def stream(self) -> bool | None: ...
    def check(self) -> None: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Surface:
    """One path that serves models.

    name     label in metrics and logs
    path     the same here and at the engine
    tasks    models that may be asked here
    streams  whether its answers can be streamed
    """

    name: str
    path: bytes
    tasks: frozenset[str]
    streams: bool
    decoder: (
        msgspec.json.Decoder[_Chat]
        | msgspec.json.Decoder[_Completion]
        | (msgspec.json.Decoder[_Embedding])
    )


CHAT = Surface(
    name="chat",
    path=b"/v1/chat/completions",
    tasks=frozenset({"chat"}),
    streams=True,
    decoder=msgspec.json.Decoder(_Chat),
)
COMPLETIONS = Surface(
    name="completions",
    path=b"/v1/completions",
    tasks=frozenset({"chat", "completion"}),
    streams=True,
    decoder=msgspec.json.Decoder(_Completion),
)
EMBEDDINGS = Surface(
    name="embeddings",
    path=b"/v1/embeddings",
    tasks=frozenset({"embedding"}),
    streams=False,
    decoder=msgspec.json.Decoder(_Embedding),
)
SURFACES: Mapping[bytes, Surface] = MappingProxyType(
    {surface.path: surface for surface in (CHAT, COMPLETIONS, EMBEDDINGS)}
)


class Call(msgspec.Struct, frozen=True, kw_only=True):
    """A request that may go to an engine.

    queue   of the model it asks for
    stream  whether the caller wants the answer as events
    alias   whether it names the model by an alias, which an engine does not know
    """

    surface: Surface
    queue: ModelQueue
    stream: bool
    alias: bool = False


def check_head(request: Request) -> None:
    """Refuse what the headers alone show to be wrong. Raises Refused."""
    if request.content_encoding not in (b"", b"identity"):
        raise Refused(
            "bad_encoding",
            "compressed bodies are not read here",
            hint="send the body without `Content-Encoding`",
        )
    kind = request.content_type
    if kind and kind != b"application/json" and b"charset" in kind.lower():
        charset = kind.lower().split(b"charset", 1)[1].strip(b" =\"'")
        if not charset.startswith((b"utf-8", b"utf8", b"us-ascii")):
            raise Refused("bad_encoding", "the body must be UTF-8")


def read_call(surface: Surface, body: bytes, board: Board) -> Call:
    """What a body asks for. Raises Refused."""
    fields = _decode(surface, body)
    queue = board.find(fields.model)
    if queue is None:
        raise no_model(fields.model, board)
    served = queue.served
    if served.task not in surface.tasks:
        raise Refused(
            "wrong_task",
            f"`{served.name}` is a model for {served.task}, not for {surface.name}",
            param="model",
            hint=_other_models(surface, board),
        )
    fields.check()
    return Call(
        surface=surface,
        queue=queue,
        stream=bool(fields.stream),
        alias=fields.model in served.aliases,
    )


def _decode(surface: Surface, body: bytes) -> _Body:
    if not body:
        raise Refused("missing_body", "the request has no body", hint="send a JSON object")
    try:
        if not body.isascii():
            str(body, "utf-8")
        return surface.decoder.decode(body)
    except UnicodeDecodeError as error:
        raise Refused(
            "bad_encoding", f"the body is not UTF-8 from byte {error.start} on"
        ) from error
    except msgspec.ValidationError as error:
        raise _invalid(str(error)) from error
    except msgspec.DecodeError as error:
        raise Refused("malformed_json", f"the body is not JSON: {error}") from error
    except RecursionError as error:
        raise Refused("malformed_json", "the body is nested too deeply") from error


_MISSING = re.compile(r"Object missing required field `(\w+)`(?: - at `\$\.(.+)`)?")
_WRONG = re.compile(r"Expected `(.+?)`, got `(\w+)`(?: - at `\$\.?(.*)`)?")
_WORDS = {"str": "a string", "array": "a list", "object": "an object", "bool | null": "a boolean"}


def _invalid(message: str) -> Refused:
    """A refusal in our words for what the decoder said."""
    if found := _MISSING.fullmatch(message):
        param = f"{found[2]}.{found[1]}" if found[2] else found[1]
        return Refused("missing_parameter", f"`{param}` is required", param=param)
    if found := _WRONG.fullmatch(message):
        wanted, got, param = _WORDS.get(found[1], found[1]), found[2], found[3] or None
        subject = f"`{param}`" if param else "the body"
        return Refused("invalid_type", f"{subject} must be {wanted}, not {got}", param=param)
    return Refused("invalid_value", message)


def _text_or_list(value: msgspec.Raw, param: str) -> None:
    if memoryview(value)[0] not in b'"[':
        raise Refused("invalid_type", f"`{param}` must be a string or a list", param=param)


def no_model(name: str, board: Board) -> Refused:
    """The refusal for a model that is not offered, with the names that are."""
    names = ", ".join(f"`{known}`" for known in board.names()) or "none"
    near = get_close_matches(name[:_SHOWN], board.spoken(), n=1, cutoff=0.6)
    hint = f"did you mean `{near[0]}`? The models are: {names}" if near else f"models: {names}"
    return Refused(
        "model_not_found", f"there is no model `{name[:_SHOWN]}`", param="model", hint=hint
    )


def _other_models(surface: Surface, board: Board) -> str:
    names = [
        f"`{queue.served.name}`" for queue in board.queues() if queue.served.task in surface.tasks
    ]
    return f"models for {surface.name}: {', '.join(names) or 'none'}"
