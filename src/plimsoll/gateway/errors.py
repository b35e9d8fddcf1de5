"""Every refusal of the gateway: one table of codes, statuses and types, in OpenAI's shape."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import msgspec

from plimsoll.errors import Failed
from plimsoll.facts.engines import too_long
from plimsoll.providers.protocol import Translation, UnspeakableError

_INPUT: Final = "invalid_request_error"
_SERVER: Final = "server_error"


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One kind of refusal.

    status  HTTP status
    type    OpenAI's `error.type`
    retry   whether `Retry-After` is sent
    help    when it happens
    """

    status: int
    type: str
    help: str
    retry: bool = False


TABLE: Final[dict[str, Row]] = {
    # The request cannot be read: answered at once, then the connection is closed.
    "bad_http": Row(status=400, type=_INPUT, help="not HTTP/1.1, or framed in two ways at once"),
    "request_timeout": Row(status=408, type=_INPUT, help="headers or body came too slowly"),
    "body_too_large": Row(status=413, type=_INPUT, help="the body is over the limit"),
    "target_too_long": Row(status=414, type=_INPUT, help="the path is over the limit"),
    "expectation_failed": Row(status=417, type=_INPUT, help="an `Expect` other than 100-continue"),
    "headers_too_large": Row(status=431, type=_INPUT, help="the headers are over the limits"),
    "http_version": Row(status=505, type=_INPUT, help="neither HTTP/1.1 nor HTTP/1.0"),
    # The request can be read, but asks for what is not there.
    "bad_key": Row(status=401, type=_INPUT, help="no key, or one that is not accepted"),
    "not_allowed": Row(status=403, type=_INPUT, help="the key may not do that"),
    "not_found": Row(status=404, type=_INPUT, help="no such path"),
    "method_not_allowed": Row(status=405, type=_INPUT, help="the path has other methods"),
    "bad_encoding": Row(status=400, type=_INPUT, help="a body that is not plain UTF-8"),
    "missing_body": Row(status=400, type=_INPUT, help="a request without a body"),
    "malformed_json": Row(status=400, type=_INPUT, help="a body that is not JSON"),
    "missing_parameter": Row(status=400, type=_INPUT, help="a required field is not there"),
    "invalid_type": Row(status=400, type=_INPUT, help="a field of another type"),
    "invalid_value": Row(status=400, type=_INPUT, help="a field with a value that cannot be"),
    "model_not_found": Row(status=404, type=_INPUT, help="no model of that name"),
    "wrong_task": Row(status=400, type=_INPUT, help="the model does another task"),
    "not_supported": Row(status=400, type=_INPUT, help="a field for what is not done here"),
    "context_too_long": Row(status=400, type=_INPUT, help="prompt and answer exceed the context"),
    "engine_refused": Row(status=400, type=_INPUT, help="the engine refused the request"),
    # The gateway cannot serve it now.
    "queue_full": Row(status=429, type="rate_limit_error", retry=True, help="too many wait"),
    "overloaded": Row(status=503, type=_SERVER, retry=True, help="no memory for one more body"),
    "too_many_connections": Row(status=503, type=_SERVER, retry=True, help="connections in use"),
    "no_replica": Row(status=503, type=_SERVER, retry=True, help="none was free in time"),
    "draining": Row(status=503, type=_SERVER, retry=True, help="the gateway is shutting down"),
    "internal": Row(status=500, type=_SERVER, help="a fault in the gateway itself"),
    # A replica did not do its part.
    "engine_busy": Row(status=503, type=_SERVER, retry=True, help="the engine said 429 or 503"),
    "engine_error": Row(status=502, type=_SERVER, help="the engine said another 5xx"),
    "bad_answer": Row(status=502, type=_SERVER, help="the engine's answer was not an answer"),
    "replica_lost": Row(status=502, type=_SERVER, help="the replica went away, every time"),
    "upstream_timeout": Row(status=504, type=_SERVER, help="the engine was silent for too long"),
    "stream_too_long": Row(status=504, type=_SERVER, help="the answer took too long"),
}
"""code -> what it means. `docs/reference` is generated from it."""


class Refused(Failed):
    """A request that the gateway answers with an error.

    code    a key of TABLE
    param   the field at fault, or None
    status  TABLE's, unless an engine's own 4xx is passed on
    type    TABLE's, unless an engine's own is passed on
    """

    def __init__(
        self,
        code: str,
        message: str,
        *,
        param: str | None = None,
        hint: str | None = None,
        status: int | None = None,
        type: str | None = None,  # noqa: A002 -- OpenAI's word for it
    ) -> None:
        super().__init__(message, where=param, hint=hint, code=code)
        row = TABLE[code]
        self.param = param
        self.status = status or row.status
        self.type = type or row.type
        self.retry = row.retry


_encode = msgspec.json.Encoder().encode


def error_fields(refused: Refused, request_id: bytes = b"") -> dict[str, object]:
    """What OpenAI's API says under `error`, and the request's id for APIs that show it there."""
    message = f"{refused.message}. {_sentence(refused.hint)}" if refused.hint else refused.message
    fields: dict[str, object] = {
        "message": message,
        "type": refused.type,
        "param": refused.param,
        "code": refused.code,
    }
    if request_id:
        fields["request_id"] = request_id.decode("latin-1")
    return fields


def error_body(
    refused: Refused, translation: Translation | None = None, request_id: bytes = b""
) -> bytes:
    """The error as a JSON body: `{"error": {message, type, param, code}}`, or as the caller's
    API says it.
    """
    if translation is not None:
        return translation.error(refused.status, error_fields(refused, request_id))
    return _encode({"error": error_fields(refused)})


def error_event(refused: Refused) -> bytes:
    """The error as one server-sent event, for a stream that has already begun."""
    return b"data: " + error_body(refused) + b"\n\n"


def unspeakable(error: UnspeakableError) -> Refused:
    """The refusal for a request that cannot be said in chat completions."""
    code = error.code if error.code in TABLE else "invalid_value"
    return Refused(code, error.message, param=error.where, hint=error.hint)


def too_long_for(model: str, context: int, tokens: int | None, answer: int = 0) -> Refused:
    """The refusal of a prompt, or of a prompt with its answer, that a model cannot hold.

    model   its name as a message shows it
    tokens  of the prompt, None when only the engine knows
    answer  tokens that it may have; 0: nobody said
    """
    room = f"the maximum context length of {model} is {context} tokens"
    if answer > context:
        return Refused(
            "context_too_long",
            f"{room}, and the answer alone may have {answer}",
            param="max_tokens",
            hint=f"ask for less than {context} tokens",
        )
    if tokens is None:
        return Refused("context_too_long", f"{room}, and the prompt has more")
    if answer and tokens < context:
        return Refused(
            "context_too_long",
            f"{room}, and the request needs {tokens + answer}: {tokens} of the prompt and up to "
            f"{answer} of the answer",
            hint=f"shorten the prompt, or ask for at most {context - tokens} tokens",
        )
    return Refused(
        "context_too_long",
        f"{room}, and the prompt has {tokens}",
        hint="shorten the prompt",
    )


def engines_too_long(message: str) -> Refused | None:
    """The same refusal for what an engine itself said, or None when it said something else."""
    for pattern in too_long():
        if found := pattern.search(message):
            groups = found.groupdict()
            tokens = int(groups["tokens"]) if groups.get("tokens") else None
            return too_long_for("this model", int(groups["context"]), tokens)
    return None


def _sentence(hint: str) -> str:
    return hint[:1].upper() + hint[1:]
