from __future__ import annotations

import json
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from plimsoll.gateway.assemble import Assembler, EngineEventError, as_stream
from plimsoll.gateway.events import EventSplitter, begins, without_progress
from plimsoll.providers.server_events import payloads

ENDS = st.sampled_from([b"\n\n", b"\r\n\r\n"])
EVENTS = st.lists(
    st.tuples(st.binary(max_size=40).map(lambda data: data.translate(None, b"\r\n")), ENDS),
    max_size=12,
)


def pieces(data: bytes, cuts: list[int]) -> list[bytes]:
    edges = [0, *sorted(cut % (len(data) + 1) for cut in cuts), len(data)]
    return [data[start:end] for start, end in pairwise(edges)]


@given(events=EVENTS, cuts=st.lists(st.integers(0, 10_000), max_size=30))
def test_whole_events_come_out_in_order_however_they_were_cut(events, cuts) -> None:
    stream = b"".join(b"data: " + data + end for data, end in events)
    splitter = EventSplitter()
    out = []
    for piece in pieces(stream, cuts):
        whole = splitter.whole(piece)
        assert whole == b"" or whole.endswith((b"\n\n", b"\r\n\r\n"))
        out.append(whole)
    assert b"".join(out) == stream
    assert splitter.held == b""


@given(data=st.binary(max_size=200), cuts=st.lists(st.integers(0, 10_000), max_size=30))
def test_nothing_is_lost_of_any_bytes(data: bytes, cuts: list[int]) -> None:
    splitter = EventSplitter()
    out = b"".join(splitter.whole(piece) for piece in pieces(data, cuts))
    assert out + splitter.held == data


def test_payloads_are_the_data_of_events() -> None:
    stream = b": ping\n\ndata: a\n\ndata:b\ndata: c\n\nevent: x\n\nerror: {}\n\n"
    assert list(payloads(stream)) == [b"a", b"b\nc", b"{}"]


@pytest.mark.parametrize(
    ("data", "yes"), [(b"data: x", True), (b": hi", True), (b"<html>", False), (b"{}", False)]
)
def test_a_stream_of_events_is_known_by_its_beginning(data: bytes, yes: bool) -> None:
    assert begins(data) is yes


def test_progress_is_left_out_and_the_rest_stays() -> None:
    progress = b'data: {"choices":[],"prompt_progress":{"total":9}}\n\n'
    words = b'data: {"choices":[1]}\n\n'
    assert without_progress(progress) == b""
    assert without_progress(progress + words + progress + words) == words + words


def chunk(**fields: object) -> bytes:
    event = {"id": "x", "object": "chat.completion.chunk", "created": 1, "model": "m", **fields}
    return b"data: " + json.dumps(event).encode() + b"\n\n"


def delta(index: int, finish: str | None = None, **fields: object) -> bytes:
    choice = {"index": index, "delta": fields, "finish_reason": finish}
    return chunk(choices=[choice])


def assembled(*events: bytes) -> dict:
    assembler = Assembler()
    data = b"".join(events) + b"data: [DONE]\n\n"
    for start in range(0, len(data), 7):
        assembler.feed(data[start : start + 7])
    assert assembler.done
    return json.loads(assembler.body())


def test_choices_are_assembled_by_their_index() -> None:
    whole = assembled(
        delta(1, role="assistant", content=None), delta(0, role="assistant", content=None),
        delta(1, content="b"), delta(0, content="a"), delta(0, content="A", finish=None),
        delta(0, "stop"), delta(1, "length"),
        chunk(choices=[], usage={"total_tokens": 5}, timings={"n": 1}),
    )  # fmt: skip
    assert whole["object"] == "chat.completion"
    assert whole["choices"] == [
        {"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": "aA"}},
        {"index": 1, "finish_reason": "length", "message": {"role": "assistant", "content": "b"}},
    ]
    assert whole["usage"] == {"total_tokens": 5}
    assert whole["timings"] == {"n": 1}
    assert whole["id"] == "x"


def test_tool_calls_are_assembled_by_their_index() -> None:
    def call(index: int, **fields: object) -> bytes:
        return delta(0, tool_calls=[{"index": index, **fields}])

    whole = assembled(
        delta(0, role="assistant", content=None),
        call(0, id="a", type="function", function={"name": "f", "arguments": '{"x"'}),
        call(1, id="b", type="function", function={"name": "g", "arguments": ""}),
        call(0, function={"arguments": ":1}"}), call(1, function={"arguments": "{}"}),
        delta(0, "tool_calls"),
    )  # fmt: skip
    message = whole["choices"][0]["message"]
    assert message["content"] is None
    assert message["tool_calls"] == [
        {"type": "function", "function": {"name": "f", "arguments": '{"x":1}'}, "id": "a"},
        {"type": "function", "function": {"name": "g", "arguments": "{}"}, "id": "b"},
    ]
    assert whole["choices"][0]["finish_reason"] == "tool_calls"


def test_reasoning_and_log_probabilities_are_assembled() -> None:
    def words(text: str, **fields: str) -> bytes:
        logprobs = {"content": [{"token": text}], "refusal": None}
        choice = {"index": 0, "delta": fields, "logprobs": logprobs, "finish_reason": None}
        return chunk(choices=[choice])

    whole = assembled(words("a", reasoning_content="a"), words("b", content="b"))
    choice = whole["choices"][0]
    assert choice["message"]["reasoning_content"] == "a"
    assert choice["message"]["content"] == "b"
    assert choice["logprobs"]["content"] == [{"token": "a"}, {"token": "b"}]


def test_completions_are_assembled() -> None:
    def text(words: str, finish: str | None = None) -> bytes:
        choice = {"index": 0, "text": words, "logprobs": None, "finish_reason": finish}
        return chunk(object="text_completion", choices=[choice])

    whole = assembled(text("a"), text("b"), text("", "stop"))
    assert whole["object"] == "text_completion"
    assert whole["choices"][0]["text"] == "ab"
    assert whole["choices"][0]["finish_reason"] == "stop"


def test_an_error_event_is_an_error() -> None:
    with pytest.raises(EngineEventError):
        Assembler().feed(b'error: {"error":{"message":"oh"}}\n\n')


@given(data=st.recursive(st.none() | st.booleans() | st.integers() | st.text(max_size=3),
       lambda inner: st.lists(inner, max_size=3) | st.dictionaries(
           st.sampled_from(["choices", "index", "delta", "text", "tool_calls", "function", "error",
                            "logprobs", "content", "arguments", "name", "role", "object"]),
           inner, max_size=4), max_leaves=20))  # fmt: skip
def test_events_of_any_shape_are_assembled_or_refused(data: object) -> None:
    assembler = Assembler()
    try:
        assembler.feed(b"data: " + json.dumps({"choices": [data]}).encode() + b"\n\n")
        assembler.feed(b"data: " + json.dumps(data).encode() + b"\n\n")
        json.loads(assembler.body())
    except ValueError:
        pass


def test_a_request_made_a_stream_keeps_the_bytes_of_its_other_fields() -> None:
    made = as_stream(b'{"x":1.0e3,"stream":false,"y":{"z": [1 ,2]},"stream_options":{"a":1}}')
    assert b'"x":1.0e3' in made
    assert b'{"z": [1 ,2]}' in made
    fields = json.loads(made)
    assert fields["stream"] is True
    assert fields["stream_options"] == {"a": 1, "include_usage": True}
