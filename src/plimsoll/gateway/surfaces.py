"""The paths that serve models: what a request must be before it reaches an engine.

Bodies are checked and only the fields that routing needs are read; the bytes stay as they came,
but for what an engine would misunderstand or another API says differently.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from types import MappingProxyType
from typing import Final

import msgspec

from plimsoll.gateway.access import ANYONE, Caller
from plimsoll.gateway.board import Board
from plimsoll.gateway.bodies import (
    NOTHING,
    Body,
    Chat,
    Completion,
    Decoder,
    Embedding,
    decode,
    decoder,
    plain,
)
from plimsoll.gateway.errors import Refused, too_long_for, unspeakable
from plimsoll.gateway.http_request import Request
from plimsoll.gateway.json_splice import added, without
from plimsoll.policy.requests.types import Served
from plimsoll.policy.routing.prompt import BYTES_PER_TOKEN, blocks_of
from plimsoll.providers.anthropic import AnthropicCount, AnthropicMessages
from plimsoll.providers.protocol import Translation, UnspeakableError
from plimsoll.providers.responses import OpenAIResponses

_LISTED: Final = 50  # names in a message
_COMPARED: Final = 100  # names that a wrong one is compared with, each in up to 40 us
_SHOWN: Final = 80  # characters of a caller's own word in a message
_DENSE: Final = 3  # bytes of a prompt per token, fewer than which hardly any text has
_LONG: Final = 16 * 1024  # bytes of a prompt from which on it is looked through for pictures
_PICTURE = re.compile(rb'"data:[a-z]+/[^"]{256,}"')
_PICTURE_BYTES: Final = 4096  # of text that a picture's tokens amount to, whatever its size
_CHAT_TASKS = frozenset({"chat"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Surface:
    """One path that serves models.

    name         label in metrics and logs
    path         where callers ask
    engine_path  where the engine is asked
    tasks        models that may be asked here
    streams      whether its answers can be streamed
    decoder      reads what the engine is sent
    translation  between the caller's API and chat completions; None: they are the same
    prefills     whether a chat that ends with the assistant's words is to be gone on with
    counts       whether only the tokens of the prompt are asked
    """

    name: str
    path: bytes
    engine_path: bytes
    tasks: frozenset[str]
    streams: bool
    decoder: Decoder
    translation: Translation | None = None
    prefills: bool = False
    counts: bool = False


_CHAT_PATH: Final = b"/v1/chat/completions"
_CHAT = decoder(Chat)

CHAT = Surface(
    name="chat",
    path=_CHAT_PATH,
    engine_path=_CHAT_PATH,
    tasks=_CHAT_TASKS,
    streams=True,
    decoder=_CHAT,
)
COMPLETIONS = Surface(
    name="completions",
    path=b"/v1/completions",
    engine_path=b"/v1/completions",
    tasks=frozenset({"chat", "completion"}),
    streams=True,
    decoder=decoder(Completion),
)
EMBEDDINGS = Surface(
    name="embeddings",
    path=b"/v1/embeddings",
    engine_path=b"/v1/embeddings",
    tasks=frozenset({"embedding"}),
    streams=False,
    decoder=decoder(Embedding),
)
RESPONSES = Surface(
    name="responses",
    path=b"/v1/responses",
    engine_path=_CHAT_PATH,
    tasks=_CHAT_TASKS,
    streams=True,
    decoder=_CHAT,
    translation=OpenAIResponses(),
)
MESSAGES = Surface(
    name="messages",
    path=b"/v1/messages",
    engine_path=_CHAT_PATH,
    tasks=_CHAT_TASKS,
    streams=True,
    decoder=_CHAT,
    translation=AnthropicMessages(),
    prefills=True,
)
COUNT_TOKENS = Surface(
    name="count_tokens",
    path=b"/v1/messages/count_tokens",
    engine_path=_CHAT_PATH,
    tasks=_CHAT_TASKS,
    streams=False,
    decoder=_CHAT,
    translation=AnthropicCount(),
    prefills=True,
    counts=True,
)
SURFACES: Mapping[bytes, Surface] = MappingProxyType(
    {
        surface.path: surface
        for surface in (CHAT, COMPLETIONS, EMBEDDINGS, RESPONSES, MESSAGES, COUNT_TOKENS)
    }
)


class Call(msgspec.Struct, frozen=True, kw_only=True):
    """A request that may go to an engine.

    surface  where it came
    served   the model that it asks for
    stream   whether the caller wants the answer as events
    body     the caller's bytes, in chat completions where another API is spoken; `fitted` makes
             of it what the model's engine understands
    watched  fields of it which some engine would silently ignore
    goes_on  whether it is a chat to be gone on with where the assistant's words end
    named    the caller's word for the model, where an engine does not know it: an alias, a tier
    prompt   tokens of the prompt, as far as anybody can tell from its bytes
    answer   tokens that its answers may have at most in all; 0: the caller did not say
    choices  answers that are wanted
    near     whether prompt and answer may be too much for the context: the prompt is to be
             counted first
    blocks   chained hashes of the prompt's beginning, see `policy.routing.prompt`
    session  what names its conversation; empty where nothing does
    caller   who asks
    """

    surface: Surface
    served: Served
    stream: bool
    body: bytes = b""
    watched: Mapping[str, msgspec.Raw] = MappingProxyType({})
    goes_on: bool = False
    named: str = ""
    prompt: int = 0
    answer: int = 0
    choices: int = 1
    near: bool = False
    blocks: tuple[int, ...] = ()
    session: str = ""
    caller: Caller = ANYONE


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


def read_call(
    surface: Surface,
    body: bytes,
    board: Board,
    caller: Caller = ANYONE,
    *,
    request_id: bytes = b"",
    headers: Mapping[bytes, bytes] = MappingProxyType({}),
) -> Call:
    """What a body asks for. Raises Refused.

    request_id  chooses where several models share a name, and nothing names the conversation
    headers     of those that name conversations, as far as they were sent
    """
    if surface.translation is not None:
        body = _translated(surface.translation, body)
    fields = decode(surface.decoder, body)
    fields.check()
    if surface.translation is None:
        body = plain(body)
    word = fields.model
    served = board.served(word)
    if served is None:
        key = _session(fields, next(iter(headers.values()), b"")) or request_id.decode("latin-1")
        served = board.resolve(word, key)
    if served is None or served.task not in surface.tasks or not caller.may(word):
        raise _not_for(surface, word, served, board, caller)
    prompt = fields.prompt
    size = len(prompt)
    if size > _LONG:
        size = _without_pictures(prompt)
    limit = fields.answer
    context = served.context
    needed = 1 if served.cuts_answers else max(1, limit)
    if context and needed > context:
        raise too_long_for(f"`{served.name}`", context, None, limit)
    choices = 1 if fields.n is None else max(1, int(fields.n))
    session = ""
    blocks: tuple[int, ...] = ()
    if served.affinity == "prefix":
        blocks = blocks_of(prompt)
    elif served.affinity == "session":
        session = _session(fields, headers.get(served.affinity_header.encode(), b""))
    elif served.affinity == "tenant":
        session = caller.tenant
    watched = fields.watched()
    if watched:
        fit(served, body, watched)
    return Call(
        surface=surface,
        served=served,
        stream=bool(fields.stream),
        body=body,
        watched=watched,
        goes_on=surface.prefills and isinstance(fields, Chat) and fields.last_role == "assistant",
        named="" if word == served.name or word in served.adapters else word,
        prompt=size // BYTES_PER_TOKEN,
        answer=limit * choices,
        choices=choices,
        near=context > 0 and size // _DENSE + needed > context,
        blocks=blocks,
        session=session,
        caller=caller,
    )


def _not_for(
    surface: Surface, word: str, served: Served | None, board: Board, caller: Caller
) -> Refused:
    """Why a caller cannot have a model here."""
    if served is None or not caller.may(word):
        return no_model(word, board, caller)
    return Refused(
        "wrong_task",
        f"`{served.name}` is a model for {served.task}, not for {surface.name}",
        param="model",
        hint=_other_models(surface, board, caller),
    )


def _translated(translation: Translation, body: bytes) -> bytes:
    if not body:
        raise Refused("missing_body", "the request has no body", hint="send a JSON object")
    try:
        return translation.request(body)
    except UnspeakableError as error:
        raise unspeakable(error) from error


def _session(fields: Body, header: bytes) -> str:
    """What names a conversation: a header, or the fields with which OpenAI's API does."""
    if header:
        return header.decode("latin-1")
    for raw in (fields.prompt_cache_key, fields.user):
        if raw is not NOTHING and bytes(raw)[:1] == b'"':
            return bytes(raw).decode()
    return ""


def fitted(call: Call) -> bytes:
    """The call's body as its model's engine understands it. Raises Refused."""
    body = call.body
    if call.watched:
        body = fit(call.served, body, call.watched)
    if call.goes_on:
        told = {
            name: b"true" if value else b"false"
            for name, value in call.served.continue_fields.items()
            if f'"{name}"'.encode() not in body
        }
        body = added(body, told)
    return body


def fit(served: Served, body: bytes, watched: Mapping[str, msgspec.Raw]) -> bytes:
    """The body with the engine's own word for each field that it would silently ignore.

    Raises Refused where it has none, and where two of them come to the same.
    """
    renamed = served.renamed_fields
    wanted = {name: renamed[name] for name in watched if name in renamed}
    if not wanted:
        return body
    instead: dict[str, dict[str, msgspec.Raw]] = {}
    for name, path in wanted.items():
        if not path:
            raise Refused(
                "not_supported",
                f"the engine of `{served.name}` would ignore `{name}`",
                param=name,
                hint=f"write {_known_instead(renamed.values())}",
            )
        root, _, leaf = path.partition(".")
        inner = instead.setdefault(root, {})
        if leaf in inner or (root in watched and root not in wanted):
            raise Refused(
                "invalid_value",
                f"`{name}` and another field both say what `{path}` says",
                param=name,
                hint="leave one of them out",
            )
        inner[leaf] = watched[name]
    written = {root: _value(inner) for root, inner in instead.items()}
    return without(body, frozenset(wanted), written)


def _known_instead(paths: Iterable[str]) -> str:
    words = sorted({path.partition(".")[0] for path in paths if path})
    return " or ".join(f"`{word}`" for word in ("response_format", *words)) + " instead"


def _value(inner: Mapping[str, msgspec.Raw]) -> bytes:
    """What stands under a field: the value itself, or an object of several."""
    if "" in inner:
        return bytes(inner[""])
    pairs = (b'"%b":%b' % (leaf.encode(), bytes(raw)) for leaf, raw in inner.items())
    return b"{" + b",".join(pairs) + b"}"


def _without_pictures(prompt: bytes) -> int:
    """Bytes of a prompt, each picture in it counted as what its tokens amount to."""
    size = len(prompt)
    if b";base64," in prompt:
        for picture in _PICTURE.finditer(prompt):
            size += _PICTURE_BYTES - (picture.end() - picture.start())
    return max(0, size)


def no_model(name: str, board: Board, caller: Caller = ANYONE) -> Refused:
    """The refusal for a model that is not offered to a caller, with the names that are."""
    names = _listed(caller.among(board.names()))
    spoken = caller.among(board.spoken())[:_COMPARED]
    near = get_close_matches(name[:_SHOWN], spoken, n=1, cutoff=0.6)
    hint = f"did you mean `{near[0]}`? The models are: {names}" if near else f"models: {names}"
    return Refused(
        "model_not_found", f"there is no model `{name[:_SHOWN]}`", param="model", hint=hint
    )


def _other_models(surface: Surface, board: Board, caller: Caller) -> str:
    names = [
        served.name
        for served in board.offered()
        if served.task in surface.tasks and caller.may(served.name)
    ]
    return f"models for {surface.name}: {_listed(names)}"


def _listed(names: Sequence[str]) -> str:
    """Names as a message shows them: the first of many."""
    shown = ", ".join(f"`{name}`" for name in names[:_LISTED]) or "none"
    more = len(names) - _LISTED
    return f"{shown} and {more} more, see /v1/models" if more > 0 else shown
