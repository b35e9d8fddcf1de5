"""How the rest of a stream that broke off is asked for: which part of its text the next engine
is given, which part it says again, and where that would not be sound. Pure.

At temperature 0 the answer is made again from its beginning and must come again word for word,
for an engine that reads a text may go on otherwise than one that generated it, where two words are
almost as likely (benchmarks/failover measures it). So is what an engine cannot be given, such
as constrained text, also with a seed.

Else, or when that would take too long, the engine is given the text. It may not cut it into the
tokens that it was made of, and templates may trim it, so the text is not given to its end: what
follows is generated again and dropped. At temperature 0 that is from before a token that begins
a word, and must come again word for word; else it is white space, as far as it comes again.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

import msgspec

from plimsoll.gateway.continuation_sent import Sent
from plimsoll.policy.retry import MOST_REPEATED

_FARTHEST = 512  # characters that are generated again at most, to begin at a word
_HIGH = 2**31 - 2**24  # a seed above it is lowered, where others are raised
_WORD = re.compile(r" [^\s]")
_LIMITS = ("max_tokens", "max_completion_tokens", "n_predict")
_CONSTRAINTS = (
    "grammar", "json_schema", "structured_outputs", "guided_json", "guided_regex",
    "guided_choice", "guided_grammar", "regex", "ebnf",
)  # fmt: skip
_PENALTIES = ("presence_penalty", "frequency_penalty")

_decode = msgspec.json.Decoder().decode
_decode_fields = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_decode_list = msgspec.json.Decoder(list[msgspec.Raw]).decode
_encode = msgspec.json.Encoder().encode


class UnsoundError(ValueError):
    """The rest cannot be generated so that it fits; says why."""


class Continuing(Protocol):
    """What an engine can do; `policy.requests.types.Served` says it."""

    @property
    def continues(self) -> bool:
        """Whether it can go on from given text."""
        ...

    @property
    def continue_fields(self) -> Mapping[str, bool]:
        """Fields that make a chat go on from its last message; empty: it does so by itself."""
        ...

    @property
    def completion_tokens(self) -> int:
        """Tokens of a completion that names no limit; 0: no limit."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Resumption:
    """How one stream goes on.

    pieces  the part of its text that the engine is given, as it came
    drop    what it says again, by where that stands
    exact   whether `drop` must come again word for word; else it is white space, which is
            dropped as far as it comes
    stops   strings that end the text
    keeps   whether the string that ended it is a part of the text
    """

    pieces: Sequence[str] = ()
    drop: Mapping[str, str]
    exact: bool
    stops: tuple[str, ...] = ()
    keeps: bool = False

    @property
    def given(self) -> str:
        """The part of its text that the engine is given."""
        return "".join(self.pieces)


def resume(sent: Sent, body: bytes, engine: Continuing, *, diverged: bool = False) -> Resumption:
    """How to go on after `sent`, which was the beginning of the answer to `body`.

    diverged  the same text did not come again from where the last resumption began
    Raises UnsoundError where nothing would fit.
    """
    if sent.nothing:
        return Resumption(drop={}, exact=True)
    fields = _Fields(body)
    if sent.other or fields.several:
        raise UnsoundError(f"it holds {sent.other or 'several choices'}")
    texts = sent.texts
    why = _only_from_the_beginning(texts, fields, engine)
    if why and (diverged or not (fields.greedy or fields.get("seed") is not None)):
        raise UnsoundError(why)
    if why or (fields.greedy and not diverged and _anew(sent, fields)):
        return Resumption(drop=texts, exact=True)
    where, text = next(iter(texts.items()))
    begun = sent.pieces[where]
    exact = fields.greedy and not diverged
    pieces = _before_last_word(begun) if exact else _without_end(begun)
    return Resumption(
        pieces=pieces, drop={where: text[sum(map(len, pieces)) :]}, exact=exact,
        stops=fields.stops, keeps=bool(fields.get("include_stop_str_in_output")),
    )  # fmt: skip


def _only_from_the_beginning(texts: Mapping[str, str], fields: _Fields, engine: Continuing) -> str:
    """Why an engine cannot be given the text itself; empty: it can."""
    if not engine.continues:
        return "its engine does not go on from given text"
    if len(texts) > 1 or not {"content", "text"} & texts.keys():
        return "it holds reasoning"
    return fields.bound(chat="text" not in texts)


def _anew(sent: Sent, fields: _Fields) -> bool:
    """Whether an answer at temperature 0 is made again from its beginning."""
    trimmed = any(text[:1].isspace() for text in sent.texts.values())  # by a template
    return sent.events <= MOST_REPEATED or trimmed or fields.penalised


def _before_last_word(pieces: Sequence[str]) -> Sequence[str]:
    """The pieces before the last that begins a word. Without one near the end it is none of
    them or, when that is far, all.
    """
    cut = _word_begin(pieces, len(pieces) - 1)
    far = sum(map(len, pieces[cut:])) > _FARTHEST
    return _without_end(pieces) if far else pieces[:cut]


def _word_begin(pieces: Sequence[str], most: int) -> int:
    """The number of the last piece that begins a word, at most `most`; 0 when none does."""
    for number in range(most, 0, -1):
        after = pieces[number + 1] if number + 1 < len(pieces) else ""
        if _WORD.match(pieces[number] + after) and not pieces[number - 1][-1:].isspace():
            return number
    return 0


def shorten(resumption: Resumption, sent: Sent, alike: int) -> Resumption:
    """The same, but the engine is given only what it cuts into the tokens that were generated:
    no more than the first `alike` pieces. The rest must come again.
    """
    if alike >= len(resumption.pieces) or not resumption.exact:
        return resumption
    where = next(iter(resumption.drop))
    begun = sent.pieces[where]
    cut = _word_begin(begun, alike)
    return replace(resumption, pieces=begun[:cut], drop={where: "".join(begun[cut:])})


def _without_end(pieces: Sequence[str]) -> Sequence[str]:
    """The pieces without the white space that they end in."""
    kept = list(pieces)
    while kept and not (last := kept.pop().rstrip()):
        pass
    return [*kept, last] if pieces and last else kept


class _Fields:
    """The fields of a request that decide how its answer may go on."""

    def __init__(self, body: bytes) -> None:
        self._raw = _decode_fields(body)

    def get(self, name: str) -> Any:
        """A field's value, None without it."""
        raw = self._raw.get(name)
        return None if raw is None else _decode(raw)

    @property
    def greedy(self) -> bool:
        return bool(self.get("temperature") == 0)

    @property
    def penalised(self) -> bool:
        """Whether engines weigh what they generated, but not what they were given."""
        return any(self.get(name) for name in _PENALTIES)

    @property
    def several(self) -> bool:
        counts = (self.get(name) for name in ("n", "best_of", "n_cmpl"))
        return bool(self.get("use_beam_search")) or any(
            isinstance(count, int) and count > 1 for count in counts
        )

    @property
    def stops(self) -> tuple[str, ...]:
        stop = self.get("stop")
        stops = [stop] if isinstance(stop, str) else stop if isinstance(stop, list) else ()
        return tuple(each for each in stops if isinstance(each, str) and each)

    def bound(self, *, chat: bool) -> str:
        """Why the answer cannot be cut in two; empty: it can."""
        form = self.get("response_format")
        if (isinstance(form, dict) and form.get("type", "text") != "text") or any(
            self.get(name) for name in _CONSTRAINTS
        ):
            return "its text has a required form"
        if self.get("tool_choice") not in (None, "auto", "none"):
            return "a tool call is required"
        for name in ("echo", "suffix", "truncate_prompt_tokens"):
            if self.get(name):
                return f"`{name}` is set"
        if "messages" in self._raw and "prompt" in self._raw:
            return "it has both messages and a prompt"
        if not chat and _prompt_text(self.get("prompt")) is None:
            return "its prompt is not one text"
        return ""


def _prompt_text(prompt: object) -> str | None:
    if isinstance(prompt, list) and len(prompt) == 1:
        prompt = prompt[0]
    return prompt if isinstance(prompt, str) else None


def wants_usage(body: bytes) -> bool:
    """Whether the stream that a body asks for ends with its usage."""
    options = _Fields(body).get("stream_options")
    return isinstance(options, dict) and bool(options.get("include_usage"))


def choices(body: bytes) -> int:
    """How many choices the answer to a body has."""
    fields = _Fields(body)
    count = fields.get("n") or fields.get("n_cmpl")
    prompt = fields.get("prompt")
    # A list of numbers is one prompt in tokens; a list of anything else holds prompts.
    listed = isinstance(prompt, list) and not any(isinstance(each, int) for each in prompt)
    return (count if isinstance(count, int) else 1) * (len(prompt) if listed else 1)


def body_to_count(body: bytes) -> bytes:
    """The same request, but for its shortest answer, which tells the tokens of its prompt."""
    fields = _decode_fields(body)
    for name in (*_LIMITS, "min_tokens", "n", "n_cmpl", "best_of"):
        fields.pop(name, None)
    fields["max_tokens"] = msgspec.Raw(b"1")
    return _encode(fields)


def body_to_resume(
    body: bytes, resumption: Resumption, tokens: int, engine: Continuing
) -> bytes | None:
    """The request for the rest; None when no token may follow. All other fields stay as they are.
    Raises UnsoundError when what it is to follow is not the request's own.

    tokens  of `resumption.given`

    A seed is changed by `tokens`: the same one would draw the same numbers for other places.
    """
    if not resumption.given:
        return body
    fields = _decode_fields(body)
    chat = "text" not in resumption.drop  # the other API's fields may be there as well
    if ("messages" if chat else "prompt") not in fields:
        raise UnsoundError("its text stands where another API has it")
    if not _reduce(fields, tokens, engine, chat=chat):
        return None
    seed = _decode(fields["seed"]) if "seed" in fields else None
    if isinstance(seed, int):
        # Away from the end of the numbers that an engine can hold.
        fields["seed"] = msgspec.Raw(_encode(seed - tokens if seed > _HIGH else seed + tokens))
    if chat:
        _give_chat(fields, resumption.given, engine)
    else:
        prompt = _prompt_text(_decode(fields["prompt"]))
        if prompt is None:
            raise UnsoundError("its prompt is not one text")
        fields["prompt"] = msgspec.Raw(_encode(prompt + resumption.given))
    return _encode(fields)


def _reduce(fields: dict[str, msgspec.Raw], tokens: int, engine: Continuing, *, chat: bool) -> bool:
    """Take tokens off every limit; False when none is left."""
    limits = {name: _decode(fields[name]) for name in _LIMITS if name in fields}
    if not chat and engine.completion_tokens and not any(limits.values()):
        limits = {"max_tokens": engine.completion_tokens}
    for name, limit in limits.items():
        if isinstance(limit, int) and limit > 0:
            if limit <= tokens:
                return False
            fields[name] = msgspec.Raw(_encode(limit - tokens))
    least = _decode(fields["min_tokens"]) if "min_tokens" in fields else None
    if isinstance(least, int):
        fields["min_tokens"] = msgspec.Raw(_encode(max(0, least - tokens)))
    return True


def _give_chat(fields: dict[str, msgspec.Raw], given: str, engine: Continuing) -> None:
    """Have the last message go on after `given`."""
    messages = _decode_list(fields["messages"])
    last = _decode(messages[-1])
    asked = "continue_final_message" in fields and _decode(fields["continue_final_message"])
    if last.get("role") == "assistant" and (asked or not engine.continue_fields):
        if not isinstance(last.get("content"), str):
            raise UnsoundError("the message that it goes on from is not plain text")
        given = last["content"] + given
        messages.pop()
    else:
        last = {"role": "assistant"}
    messages.append(msgspec.Raw(_encode({**last, "content": given})))
    fields["messages"] = msgspec.Raw(_encode(messages))
    for name, value in engine.continue_fields.items():
        fields[name] = msgspec.Raw(_encode(value))
