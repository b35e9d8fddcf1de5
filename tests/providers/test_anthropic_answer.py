from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from anthropic.lib.streaming._messages import accumulate_event
from anthropic.types import Message, RawMessageStreamEvent
from pydantic import TypeAdapter

from plimsoll.providers.anthropic import AnthropicMessages
from tests.providers.chunks import DONE, EVERYTHING, USAGE, call, event, events_of, whole

GOLDEN = Path(__file__).parents[1] / "golden" / "providers"
SAYS = AnthropicMessages()


def answer(body: bytes, request: bytes = b"") -> dict[str, Any]:
    told = SAYS.whole(body, request)
    Message.model_validate_json(told, strict=True)
    said: dict[str, Any] = json.loads(told)
    return said


def streamed(*pieces: bytes, request: bytes = b"") -> Message:
    """What the official SDK makes of a stream, after it checked every event."""
    stream = SAYS.stream(request)
    snapshot = None
    check = TypeAdapter(RawMessageStreamEvent)
    buffers: dict[int, bytes] = {}
    for piece in pieces:
        for name, said in events_of(stream.feed(piece)):
            assert name == said["type"]
            checked = check.validate_python(said)
            snapshot = accumulate_event(event=checked, current_snapshot=snapshot, json_bufs=buffers)
    assert snapshot is not None
    return snapshot


def test_a_stream_is_said_as_the_golden_file_has_it() -> None:
    assert SAYS.stream(b"").feed(EVERYTHING).decode() == (GOLDEN / "anthropic.events").read_text()


def test_a_stream_comes_to_the_same_however_it_is_cut_into_events() -> None:
    pieces = [piece + b"\n\n" for piece in EVERYTHING.split(b"\n\n")[:-1]]
    whole_stream, stream = SAYS.stream(b""), SAYS.stream(b"")
    assert b"".join(map(stream.feed, pieces)) == whole_stream.feed(EVERYTHING)


def test_the_sdk_reads_a_stream_as_it_reads_the_whole_answer() -> None:
    calls = [
        {"id": "call_1", "function": {"name": "weather", "arguments": '{"city":"Ulm"}'}},
        {"id": "call_2", "function": {"name": "time", "arguments": "{}"}},
    ]
    said = {
        "role": "assistant",
        "reasoning": "Let me see.",
        "content": "It is sunny.",
        "tool_calls": calls,
    }
    both = (Message.model_validate(answer(whole(said, "tool_calls"))), streamed(EVERYTHING))
    first, second = (message.model_dump(include={"content", "stop_reason"}) for message in both)
    assert first["content"][0]["thinking"] == "Let me see."
    assert first["content"][2]["input"] == {"city": "Ulm"}
    assert first == second
    assert first["stop_reason"] == "tool_use"


def test_usage_counts_cached_tokens_apart() -> None:
    usage = streamed(EVERYTHING).usage
    assert (usage.input_tokens, usage.cache_read_input_tokens, usage.output_tokens) == (4, 8, 9)
    assert usage.output_tokens_details.thinking_tokens == 2


@pytest.mark.parametrize(
    ("finish", "more", "reason", "sequence"),
    [
        ("stop", {}, "end_turn", None),
        ("length", {}, "max_tokens", None),
        ("content_filter", {}, "refusal", None),
        ("stop", {"stop_reason": "END"}, "stop_sequence", "END"),
        ("stop", {"matched_stop": "END"}, "stop_sequence", "END"),
        ("stop", {"matched_stop": 128009}, "end_turn", None),
        ("stop", {"stop_reason": 7}, "end_turn", None),
    ],
)
def test_reasons_to_stop_have_their_words(
    finish: str, more: dict[str, Any], reason: str, sequence: str | None
) -> None:
    told = answer(whole({"role": "assistant", "content": "a"}, finish, **more))
    assert (told["stop_reason"], told["stop_sequence"]) == (reason, sequence)


def test_a_stream_says_which_sequence_stopped_it() -> None:
    message = streamed(event({"content": "a"}), event({}, "stop", stop_reason="END"), DONE)
    assert (message.stop_reason, message.stop_sequence) == ("stop_sequence", "END")


def test_a_refusal_is_text_that_says_so() -> None:
    told = answer(whole({"role": "assistant", "content": None, "refusal": "No."}))
    assert (told["content"], told["stop_reason"]) == (
        [{"type": "text", "text": "No."}],
        "refusal",
    )
    assert streamed(event({"refusal": "No."}, "stop"), DONE).stop_reason == "refusal"


def test_a_call_that_was_cut_off_is_left_out() -> None:
    half = {"id": "c", "function": {"name": "f", "arguments": '{"a":'}}
    said = {"role": "assistant", "content": "a", "tool_calls": [half]}
    told = answer(whole(said, "length"))
    assert [block["type"] for block in told["content"]] == ["text"]
    with pytest.raises(ValueError, match="not a JSON object"):
        answer(whole(said, "tool_calls"))


def test_words_of_the_request_that_an_engine_repeats_are_not_shown() -> None:
    user, words = (
        {"role": "user", "content": "?"},
        {"role": "assistant", "content": "The best is ("},
    )
    request = json.dumps({"messages": [user, words]}).encode()
    told = answer(whole({"role": "assistant", "content": "The best is (B)"}), request)
    assert told["content"][0]["text"] == "B)"
    pieces = [event({"content": text}) for text in ("The", " best", " is (B", ")")]
    assert streamed(*pieces, DONE, request=request).content[0].text == "B)"
    other = [event({"content": text}) for text in ("The", " worst")]
    assert streamed(*other, DONE, request=request).content[0].text == "The worst"
    short = [event({"content": "The"}), DONE]
    assert streamed(*short, request=request).content[0].text == "The"


def test_an_empty_answer_is_a_message_without_content() -> None:
    assert streamed(event({"role": "assistant"}), event({}, "stop"), USAGE, DONE).content == []


@pytest.mark.parametrize(
    "events",
    [
        b"data: {}\n\n" + DONE,
        b"data: nothing\n\n",
        b'data: {"choices":3}\n\n',
        event(call(0, arguments="{}")),
        event(call(1, "f")) + event(call(0, "g")),
        event(call(0, "f")) + event({"content": "a"}) + event(call(0, arguments="{}")),
    ],
)
def test_a_stream_of_no_known_shape_is_an_error_not_an_answer(events: bytes) -> None:
    with pytest.raises(ValueError, match=r"."):
        SAYS.stream(b"").feed(events)


def test_an_error_inside_a_stream_ends_it() -> None:
    stream = SAYS.stream(b"")
    stream.feed(event({"content": "a"}))
    ((name, said),) = events_of(
        stream.fail({"message": "gone", "type": "server_error", "code": "replica_lost"})
    )
    assert name == "error"
    assert said == {
        "type": "error",
        "error": {
            "type": "api_error",
            "message": "gone",
            "details": {"error_code": "replica_lost"},
        },
    }
    engine = SAYS.stream(b"")
    told = events_of(engine.feed(b'data: {"error":{"message":"x","type":"server_error"}}\n\n'))
    assert told[0][1]["error"]["message"] == "x"
    assert engine.feed(event({"content": "b"})) == b""


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, "invalid_request_error"), (401, "authentication_error"), (403, "permission_error"),
        (404, "not_found_error"), (405, "invalid_request_error"), (413, "request_too_large"),
        (429, "rate_limit_error"), (500, "api_error"), (502, "api_error"),
        (503, "overloaded_error"), (504, "timeout_error"),
    ],
)  # fmt: skip
def test_errors_have_the_type_of_their_status(status: int, kind: str) -> None:
    error = {"message": "m", "type": "t", "param": None, "code": "c", "request_id": "req-1"}
    assert json.loads(SAYS.error(status, error)) == {
        "type": "error",
        "error": {"type": kind, "message": "m", "details": {"error_code": "c"}},
        "request_id": "req-1",
    }
