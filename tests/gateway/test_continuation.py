"""Two streams that read as one: any cut of any stream, against an engine that is pure arithmetic.

The same rules are run against real engines in `test_failover.py`.
"""

from __future__ import annotations

import json
import re
from dataclasses import replace
from typing import Any
from unittest.mock import patch

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from plimsoll.gateway.continuation import (
    Resumption,
    UnsoundError,
    body_to_count,
    body_to_resume,
    choices,
    resume,
    shorten,
    wants_usage,
)
from plimsoll.gateway.continuation_sent import Sent, read_sent
from plimsoll.gateway.continuation_splice import DivergedError, Splice, finish
from plimsoll.gateway.continuation_tokens import cut_of
from plimsoll.gateway.events import DONE
from plimsoll.policy.retry import MOST_REPEATED
from tests.gateway.arithmetic_engine import FLAGS, Engine, count, event_of, read


def carry_on(engine: Engine, body: bytes, events: bytes, widths: list[int]) -> bytes:
    """What the gateway sends a caller that has `events`, when the next engine does not break."""
    sent = read_sent(events)
    if sent.done:
        return b""
    text = "".join(sent.texts.values())
    if len(sent.finished) >= choices(body):
        if not wants_usage(body) or sent.total:
            return DONE
        tokens = sent.tokens(count(text))
        splice = Splice(sent, Resumption(drop={}, exact=True), tokens, total_only=True)
        return splice.feed(b"".join(engine.events(body_to_count(body), widths)))
    resumption = resume(sent, body, engine)
    tokens = count(resumption.given)
    rest = body_to_resume(body, resumption, tokens, engine)
    if rest is None:
        ending = finish(sent, "length", chat=b'"messages"' in body)
        return ending + carry_on(engine, body, events + ending, widths)
    splice = Splice(sent, resumption, tokens)
    return b"".join(splice.feed(event) for event in engine.events(rest, widths))


def chat(**more: object) -> bytes:
    return json.dumps({"messages": [{"role": "user", "content": "hi"}], **more}).encode()


widths = st.lists(st.integers(1, 3), min_size=1, max_size=5)
bodies = st.builds(
    lambda is_chat, word, **more: json.dumps(
        {"messages": [{"role": "user", "content": word}], **more}
        if is_chat
        else {"prompt": word, **more}
    ).encode(),
    st.booleans(),
    st.text("abc ", min_size=1, max_size=4),
    temperature=st.sampled_from([0, 0, 1]),
    max_tokens=st.sampled_from([None, 1, 5, 30, 200]),
    stop=st.sampled_from([[], ["#"], [",", " a b"]]),
    stream_options=st.sampled_from([None, {"include_usage": True}]),
)
engines = st.builds(
    Engine, continue_fields=st.sampled_from([FLAGS, {}]), trims=st.booleans(),
    continues=st.sampled_from([True, True, False]), salt=st.text("xyz", max_size=3),
)  # fmt: skip


@settings(max_examples=600, deadline=None)
@given(
    engine=engines, body=bodies, widths=widths, cuts=st.lists(st.floats(0, 1), max_size=3),
    repeated=st.sampled_from([0, 0, 10, MOST_REPEATED]),
)  # fmt: skip
def test_a_stream_that_broke_anywhere_reads_like_one_that_did_not(
    engine: Engine, body: bytes, widths: list[int], cuts: list[float], repeated: int
) -> None:
    with patch("plimsoll.gateway.continuation.MOST_REPEATED", repeated):
        _break(engine, body, widths, cuts)


def _break(engine: Engine, body: bytes, widths: list[int], cuts: list[float]) -> None:
    whole = engine.events(body, widths)
    had: list[bytes] = []
    rest = whole
    for cut in cuts:
        had += rest[: int(cut * len(rest))]
        try:
            rest = _split(carry_on(engine, body, b"".join(had), widths))
        except UnsoundError:
            assert not engine.continues
            assert json.loads(body)["temperature"] != 0
            return
    want, got = read(b"".join(whole)), read(b"".join([*had, *rest]))
    if json.loads(body)["temperature"] == 0:
        if " a b" in json.loads(body)["stop"]:  # of which nobody saw how many tokens it took
            want, got = replace(want, usage=[]), replace(got, usage=[])
        assert got == want
    else:  # it may be another text from where it broke off, but one text
        assert got.text.startswith(read(b"".join(had)).text)
        assert (got.roles, got.dones, len(got.reasons)) == (want.roles, want.dones, 1)
        assert got.ids == 1


def _split(events: bytes) -> list[bytes]:
    return [piece + b"\n\n" for piece in events.split(b"\n\n")[:-1]]


def body_for(text: str, **fields: object) -> tuple[bytes, Resumption, bytes]:
    """A body, how it goes on after `text`, and the body for the rest."""
    body = chat(**fields)
    sent = read_sent(event_of({"id": "x"}, {"delta": {"content": text}}))
    resumption = resume(sent, body, Engine())
    rest = body_to_resume(body, resumption, 3, Engine())
    assert rest is not None
    return body, resumption, rest


def test_limits_shrink_and_the_seed_moves_by_the_tokens_that_are_given() -> None:
    _, _, rest = body_for("one two", max_tokens=10, min_tokens=5, seed=7, temperature=1)
    fields = json.loads(rest)
    assert (fields["max_tokens"], fields["min_tokens"], fields["seed"]) == (7, 2, 10)


def test_fields_that_need_not_change_keep_their_bytes() -> None:
    body = b'{"messages":[{"role" : "user","content":"h\\u0069"}],"top_p":1.0000,"x":[1, 2]}'
    sent = read_sent(event_of({"id": "x"}, {"delta": {"content": "one"}}))
    rest = body_to_resume(body, resume(sent, body, Engine()), 1, Engine())
    assert rest is not None
    assert b'{"role" : "user","content":"h\\u0069"}' in rest
    assert b'"top_p":1.0000' in rest
    assert b'"x":[1, 2]' in rest


def test_a_message_that_the_caller_wanted_continued_stays_one_message() -> None:
    last = {"role": "assistant", "content": "Once"}
    body = chat(
        messages=[{"role": "user", "content": "hi"}, last], continue_final_message=True,
        add_generation_prompt=False,
    )  # fmt: skip
    sent = read_sent(event_of({"id": "x"}, {"delta": {"content": " upon a"}}))
    resumption = Resumption(pieces=[" upon"], drop={"content": " a"}, exact=True)
    rest = body_to_resume(body, resumption, 1, Engine())
    assert rest is not None
    assert json.loads(rest)["messages"][-1] == {"role": "assistant", "content": "Once upon"}
    assert sent.texts == {"content": " upon a"}


SAYS_ONE = {"delta": {"content": "one"}}


@pytest.mark.parametrize(
    ("choice", "fields", "why"),
    [
        ({"delta": {"tool_calls": [{"index": 0, "id": "1"}]}}, {}, "a tool call"),
        ({"delta": {"reasoning_content": "hm"}}, {}, "reasoning"),
        ({"delta": {"reasoning": "hm"}}, {}, "reasoning"),
        ({"delta": {"content": "a"}, "logprobs": {"content": [1]}}, {}, "log probabilities"),
        ({"delta": {"content": "a"}, "token_ids": [1]}, {}, "token ids"),
        ({"delta": {"audio": {"id": 1}}}, {}, "`audio`"),
        ({"index": 1, "delta": {"content": "a"}}, {}, "several choices"),
        (SAYS_ONE, {"n": 2}, "several choices"),
        (SAYS_ONE, {"best_of": 2}, "several choices"),
        (SAYS_ONE, {"response_format": {"type": "json_object"}}, "required form"),
        (SAYS_ONE, {"structured_outputs": {"regex": "a"}}, "required form"),
        (SAYS_ONE, {"tool_choice": "required"}, "tool call is required"),
        (SAYS_ONE, {"echo": True}, "`echo`"),
    ],
)
def test_what_would_not_fit_is_not_continued_and_says_why(
    choice: dict[str, Any], fields: dict[str, Any], why: str
) -> None:
    sent = read_sent(event_of({"id": "x"}, choice))
    with pytest.raises(UnsoundError, match=re.escape(why)):
        resume(sent, chat(**fields), Engine())


@pytest.mark.parametrize(
    "fields", [{"n": 2}, {"logprobs": True}, {"response_format": {"type": "x"}}]
)
def test_a_stream_of_which_only_the_role_was_sent_is_begun_again(fields: dict[str, Any]) -> None:
    sent = read_sent(event_of({"id": "x"}, {"delta": {"role": "assistant", "content": ""}}))
    body = chat(**fields)
    resumption = resume(sent, body, Engine())
    assert body_to_resume(body, resumption, 0, Engine()) == body


def test_a_required_form_at_temperature_0_is_made_again_and_must_come_again() -> None:
    body = chat(temperature=0, response_format={"type": "json_object"})
    sent = read_sent(event_of({"id": "x"}, {"delta": {"content": '{"a":'}}))
    resumption = resume(sent, body, Engine())
    assert (resumption.given, resumption.drop) == ("", {"content": '{"a":'})
    splice = Splice(sent, resumption, 0)
    same = splice.feed(event_of({"id": "y"}, {"delta": {"content": '{"a": 1'}}))
    assert read(same).text == " 1"
    with pytest.raises(DivergedError):
        Splice(sent, resumption, 0).feed(event_of({"id": "y"}, {"delta": {"content": '{"b"'}}))


def sent_of(*pieces: str) -> Sent:
    return read_sent(
        b"".join(event_of({"id": "x"}, {"delta": {"content": each}}) for each in pieces)
    )


def test_a_long_text_at_temperature_0_is_cut_before_a_word_and_as_it_was_generated() -> None:
    pieces = ["so", " it", " goes", " on", ","] * 300
    sent = sent_of(*pieces)
    resumption = resume(sent, chat(temperature=0), Engine())
    assert list(resumption.pieces) == pieces[:-2]
    assert resumption.drop == {"content": " on,"}
    assert shorten(resumption, sent, 2000) == resumption
    shorter = shorten(resumption, sent, 9)  # a comma and `so` might be one token
    assert list(shorter.pieces) == pieces[:8]
    assert shorter.given + shorter.drop["content"] == "".join(pieces)


def test_a_text_that_did_not_come_again_is_continued_from_its_end() -> None:
    sent = sent_of("one", " two ")
    body = chat(temperature=0)
    first = resume(sent, body, Engine())
    assert (first.given, first.drop) == ("", {"content": "one two "})
    second = resume(sent, body, Engine(), diverged=True)
    assert (second.given, second.drop, second.exact) == ("one two", {"content": " "}, False)


@pytest.mark.parametrize(("keeps", "text"), [(False, "end ##"), (True, "end ####")])
def test_a_stop_string_that_began_before_the_seam_ends_the_text(keeps: bool, text: str) -> None:
    body = chat(stop="####", include_stop_str_in_output=keeps)
    sent = read_sent(event_of({"id": "x"}, {"delta": {"content": "end ##"}}))
    splice = Splice(sent, resume(sent, body, Engine()), 2)
    out = b"".join(
        splice.feed(event_of({"id": "y"}, {"delta": {"content": piece}})) for piece in "## more"
    )
    out += splice.feed(event_of({"id": "y"}, {"delta": {}, "finish_reason": "length"}) + DONE)
    assert "end ##" + read(out).text == text
    assert read(out).reasons == ["stop"]


def test_what_only_looked_like_a_stop_string_is_passed_on() -> None:
    body = chat(stop="####")
    sent = read_sent(event_of({"id": "x"}, {"delta": {"content": "end ##"}}))
    for rest in ("#.", "#"):
        splice = Splice(sent, resume(sent, body, Engine()), 2)
        out = b"".join(
            splice.feed(event_of({"id": "y"}, {"delta": {"content": piece}})) for piece in rest
        )
        out += splice.feed(event_of({"id": "y"}, {"delta": {}, "finish_reason": "length"}) + DONE)
        assert read(out).text == rest


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=200), st.binary(max_size=200))
def test_garbage_is_refused_and_nothing_else_happens(old: bytes, new: bytes) -> None:
    try:
        sent = read_sent(b"data: " + old + b"\n\n")
        Splice(sent, Resumption(drop={}, exact=True), 0).feed(b"data: " + new + b"\n\n")
    except ValueError:
        pass


def tokenized(*tokens: str) -> bytes:
    """An engine's answer of vLLM's shape, with a vocabulary of bytes."""
    strings = ["".join(chr(byte + 256) for byte in token.encode()) for token in tokens]
    return json.dumps({"count": 9, "tokens": [1] * len(tokens), "token_strs": strings}).encode()


def with_pieces(*tokens: str | list[int]) -> bytes:
    """An engine's answer of llama.cpp's shape."""
    return json.dumps({"tokens": [{"id": 1, "piece": each} for each in tokens]}).encode()


@pytest.mark.parametrize(
    ("pieces", "answer", "tokens"),
    [
        (["a", " b"], with_pieces("a", " b"), 2),
        (["a", " b c d"], with_pieces("a", " b", " c", " d"), 4),  # several at once
        (["un", "latency"], with_pieces("un", "lat", "ency"), 3),
        (["unl", "atency"], with_pieces("un", "lat", "ency"), 2),  # generated in other tokens
        (["a", "日"], with_pieces("a", [0xE6], [0x97, 0xA5]), 3),
        (["a", " b"], with_pieces(" a", " b"), 2),  # a vocabulary that puts a space before
        (["a", " b", "日"], tokenized("a", " b", "日"), 3),
        (["a b", "\n"], b'{"tokens":[1,2,3],"token_strs":["a","\xe2\x96\x81b","<0x0A>"]}', 3),
        (["a", "b"], b'{"tokens":[1,2,3]}', 3),
        (["a", "b"], b"", 2),
        (["a", "b"], b"[]", 2),
        ([], with_pieces(), 0),
    ],
)
def test_tokens_are_counted_by_the_pieces_that_a_text_came_in(
    pieces: list[str], answer: bytes, tokens: int
) -> None:
    assert sum(cut_of(pieces, answer).tokens) == tokens
