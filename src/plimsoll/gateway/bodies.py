"""What is read of request bodies: the few fields that the gateway needs, and nothing twice."""

from __future__ import annotations

import re
from typing import Any

import msgspec

from plimsoll.facts.engines import watched_fields
from plimsoll.gateway.errors import Refused
from plimsoll.gateway.json_splice import once

NOTHING = msgspec.Raw(b"")
"""What a field is that is not there."""

_WATCHED = watched_fields()
_NONE_WATCHED = (NOTHING,) * len(_WATCHED)


class Body(msgspec.Struct):
    """What every body has.

    model       as the caller names it
    stream      whether the answer is wanted as events
    n           answers that are wanted
    user        names the caller's own user
    prompt_cache_key  names prompts that begin alike
    """

    model: str
    stream: bool | None = None
    n: int | float | None = None
    user: msgspec.Raw = NOTHING
    prompt_cache_key: msgspec.Raw = NOTHING

    def check(self) -> None:
        """Raises Refused when a field is not what it must be."""
        raise NotImplementedError

    @property
    def prompt(self) -> bytes:
        """The JSON of everything that the model reads."""
        raise NotImplementedError

    @property
    def answer(self) -> int:
        """Tokens that one answer may have at most; 0: the caller did not say."""
        return 0

    def watched(self) -> dict[str, msgspec.Raw]:
        """Fields which some engine would silently ignore, those that are there and not null."""
        values = msgspec.structs.astuple(self)[-len(_WATCHED) :]
        if values == _NONE_WATCHED:
            return {}
        named = zip(_WATCHED, values, strict=True)
        return {name: raw for name, raw in named if bytes(raw) not in (b"", b"null")}


class _Message(msgspec.Struct, gc=False):
    role: str


_decode_messages = msgspec.json.Decoder(list[_Message]).decode


class Chat(Body):
    """A chat.

    messages  the conversation
    tools     what the model may call
    """

    messages: msgspec.Raw = NOTHING
    tools: msgspec.Raw = NOTHING
    max_tokens: int | float | None = None
    max_completion_tokens: int | float | None = None

    def check(self) -> None:
        """Raises Refused when there is no message, or one that has no role."""
        if self.messages is NOTHING:
            raise _missing("messages")
        try:
            messages = _decode_messages(self.messages)
        except msgspec.ValidationError as error:
            raise _invalid(str(error), "messages") from error
        if not messages:
            raise Refused("invalid_value", "`messages` is empty", param="messages")

    @property
    def last_role(self) -> str:
        """Who says the last message; it must have been checked."""
        return _decode_messages(self.messages)[-1].role

    @property
    def prompt(self) -> bytes:
        """Tools come first, as templates write them."""
        messages = bytes(self.messages)
        return messages if self.tools is NOTHING else bytes(self.tools) + messages

    @property
    def answer(self) -> int:
        """See Body."""
        return max(0, int(self.max_completion_tokens or self.max_tokens or 0))


class Completion(Body):
    """A completion.

    written  the prompt: a text, or a list of texts or tokens
    """

    written: msgspec.Raw = msgspec.field(default=NOTHING, name="prompt")
    max_tokens: int | float | None = None

    def check(self) -> None:
        """Raises Refused when the prompt is neither text nor a list."""
        _text_or_list(self.written, "prompt")

    @property
    def prompt(self) -> bytes:
        """See Body."""
        return bytes(self.written)

    @property
    def answer(self) -> int:
        """See Body."""
        return max(0, int(self.max_tokens or 0))


class Embedding(Body):
    """Texts that are wanted as vectors.

    input  a text, or a list of texts or tokens
    """

    input: msgspec.Raw = NOTHING

    def check(self) -> None:
        """Raises Refused when the input is neither text nor a list, or a stream is asked for."""
        _text_or_list(self.input, "input")
        if self.stream:
            raise Refused("invalid_value", "embeddings are not streamed", param="stream")

    @property
    def prompt(self) -> bytes:
        """See Body."""
        return bytes(self.input)


Decoder = msgspec.json.Decoder[Any]


def decoder(kind: type[Body]) -> Decoder:
    """A decoder for one kind of body, which also reads the watched fields."""
    watched = [(name, msgspec.Raw, NOTHING) for name in _WATCHED]
    made = msgspec.defstruct(kind.__name__, watched, bases=(kind,))
    return msgspec.json.Decoder(made)


def decode(by: Decoder, body: bytes) -> Body:
    """A body's fields. Raises Refused."""
    if not body:
        raise Refused("missing_body", "the request has no body", hint="send a JSON object")
    try:
        if not body.isascii():
            str(body, "utf-8")
        fields: Body = by.decode(body)
    except UnicodeDecodeError as error:
        raise Refused(
            "bad_encoding", f"the body is not UTF-8 from byte {error.start} on"
        ) from error
    except msgspec.ValidationError as error:
        raise _invalid(str(error)) from error
    except msgspec.DecodeError as error:
        raise Refused("malformed_json", f"the body is not JSON: {error}") from error
    except RecursionError as error:
        raise too_deep() from error
    return fields


def too_deep() -> Refused:
    """The refusal for a body that nests more lists and objects than can be followed."""
    return Refused("malformed_json", "the body is nested too deeply")


_BACKSLASH = 0x5C  # one byte is found much faster than bytes of length one


def plain(body: bytes) -> bytes:
    """The body of sound JSON with one `model` and one `stream` at most, so that its engine goes
    by those that were checked here, whichever of two it would have read.

    They are looked for cheaply, so one inside another object, or a letter written as an escape,
    has the body written anew for nothing.
    """
    if (
        body.find(b'"model"') != body.rfind(b'"model"')
        or body.find(b'"stream"') != body.rfind(b'"stream"')
        or (_BACKSLASH in body and (b"\\u006" in body or b"\\u007" in body))
    ):
        return once(body)
    return body


_MISSING = re.compile(r"Object missing required field `(\w+)`(?: - at `\$\.?(.+)`)?")
_WRONG = re.compile(r"Expected `(.+?)`, got `(\w+)`(?: - at `\$\.?(.*)`)?")
_WORDS = {
    "str": "a string",
    "array": "a list",
    "object": "an object",
    "bool | null": "a boolean",
    "int | float | null": "a number",
}


def _invalid(message: str, within: str = "") -> Refused:
    """A refusal in our words for what the decoder said of a body, or of one of its fields."""
    if found := _MISSING.fullmatch(message):
        param = f"{within}{found[2] or ''}.{found[1]}".lstrip(".")
        return _missing(param)
    if found := _WRONG.fullmatch(message):
        wanted, got = _WORDS.get(found[1], found[1]), found[2]
        param = f"{within}{found[3] or ''}"
        subject = f"`{param}`" if param else "the body"
        return Refused(
            "invalid_type", f"{subject} must be {wanted}, not {got}", param=param or None
        )
    return Refused("invalid_value", message)


def _missing(param: str) -> Refused:
    return Refused("missing_parameter", f"`{param}` is required", param=param)


def _text_or_list(value: msgspec.Raw, param: str) -> None:
    if value is NOTHING:
        raise _missing(param)
    if memoryview(value)[0] not in b'"[':
        raise Refused("invalid_type", f"`{param}` must be a string or a list", param=param)
