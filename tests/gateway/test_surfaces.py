"""What reaches an engine, and what callers get back, in each of the APIs that are spoken."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from plimsoll.facts.engines import engine as engine_facts
from plimsoll.gateway import Board, Served
from plimsoll.gateway.access import ANYONE, Caller
from plimsoll.gateway.errors import TABLE, Refused
from plimsoll.gateway.surfaces import (
    CHAT,
    COMPLETIONS,
    EMBEDDINGS,
    MESSAGES,
    RESPONSES,
    SURFACES,
    Call,
    Surface,
    fitted,
    read_call,
)
from tests.gateway import stub
from tests.gateway.stub import Asked, Reply, StubEngine, get, post, rig, run
from tests.providers.chunks import EVERYTHING

USER = [{"role": "user", "content": "What is MIG?"}]
BODIES: dict[str, dict[str, Any]] = {
    "chat": {"model": "chat", "messages": USER},
    "completions": {"model": "chat", "prompt": "MIG"},
    "responses": {"model": "chat", "input": "What is MIG?"},
    "messages": {"model": "chat", "max_tokens": 9, "messages": USER},
}
PATHS = {surface.name: path.decode() for path, surface in SURFACES.items()}
each_chat = pytest.mark.parametrize("name", ["chat", "responses", "messages"])


def call(surface: Surface, body: dict[str, Any], served: Served = stub.CHAT, **more: Any) -> Call:
    return read_call(surface, json.dumps(body).encode(), Board([served, stub.EMBED]), **more)


def chat_call(served: Served = stub.CHAT, **fields: Any) -> Call:
    return call(CHAT, {**BODIES["chat"], **fields}, served)


def refusal(surface: Surface, body: dict[str, Any], served: Served = stub.CHAT) -> Refused:
    with pytest.raises(Refused) as caught:
        fitted(call(surface, body, served))
    return caught.value


# What is read of a body.


@each_chat
def test_every_api_asks_the_same_of_a_model(name: str) -> None:
    surface = SURFACES[PATHS[name].encode()]
    read = call(surface, {**BODIES[name], "stream": True})
    assert (read.served.name, read.stream, surface.engine_path) == (
        "chat", True, b"/v1/chat/completions",
    )  # fmt: skip
    assert json.loads(fitted(read))["messages"] == USER


def test_a_prompt_is_estimated_and_its_beginning_is_hashed() -> None:
    long = [{"role": "user", "content": "a" * 4000}]
    read = call(CHAT, {**BODIES["chat"], "messages": long, "max_tokens": 7, "n": 3})
    assert 1000 <= read.prompt <= 1020
    assert (read.answer, read.choices) == (21, 3)
    longer = [*long, {"role": "assistant", "content": "b" * 4000}]
    again = call(CHAT, {**BODIES["chat"], "messages": longer, "temperature": 1})
    assert again.blocks[: len(read.blocks)] == read.blocks
    assert read.blocks
    with_tools = call(CHAT, {**BODIES["chat"], "messages": long, "tools": [{"a": "b" * 600}]})
    assert with_tools.blocks[0] != read.blocks[0]


def test_a_picture_counts_as_its_tokens_and_not_as_its_bytes() -> None:
    url = "data:image/png;base64," + "QUJD" * 100_000
    message = {"role": "user", "content": [{"type": "image_url", "image_url": {"url": url}}]}
    read = call(CHAT, {"model": "chat", "messages": [message]})
    assert 1000 < read.prompt < 1100


def test_a_session_is_named_by_a_header_or_by_a_field() -> None:
    served = replace(stub.CHAT, affinity="session", affinity_header="x-talk")
    headers = {b"x-talk": b"one"}
    body = BODIES["chat"]
    assert call(CHAT, body, served, headers=headers).session == "one"
    assert call(CHAT, {**body, "user": "u"}, served, headers=headers).session == "one"
    assert "u" in call(CHAT, {**body, "user": "u"}, served).session
    keyed = call(CHAT, {**body, "user": "u", "prompt_cache_key": "k"}, served)
    assert "k" in keyed.session
    named = {**BODIES["messages"], "metadata": {"user_id": "u"}}
    assert "u" in call(MESSAGES, named, served).session
    assert call(CHAT, body, served).session == ""
    tenant = call(CHAT, body, replace(stub.CHAT, affinity="tenant"), caller=Caller(tenant="t"))
    assert tenant.session == "t"
    assert call(CHAT, {**body, "user": "u"}, caller=ANYONE).session == ""


@pytest.mark.parametrize(
    ("surface", "body", "code", "param"),
    [
        (CHAT, {"model": "chat"}, "missing_parameter", "messages"),
        (CHAT, {"model": "chat", "messages": [{}]}, "missing_parameter", "messages[0].role"),
        (CHAT, {"model": "chat", "messages": [1]}, "invalid_type", "messages[0]"),
        (CHAT, {**BODIES["chat"], "max_tokens": "9"}, "invalid_type", "max_tokens"),
        (COMPLETIONS, {"model": "chat"}, "missing_parameter", "prompt"),
        (EMBEDDINGS, {"model": "embed", "input": 3}, "invalid_type", "input"),
        (EMBEDDINGS, {"model": "chat", "input": "a"}, "wrong_task", "model"),
        (MESSAGES, {"model": "chat", "messages": USER}, "missing_parameter", "max_tokens"),
        (RESPONSES, {**BODIES["responses"], "conversation": "c"}, "not_supported", "conversation"),
        (RESPONSES, {**BODIES["responses"], "model": "no"}, "model_not_found", "model"),
    ],
)
def test_what_is_wrong_with_a_body_is_said_with_its_place(
    surface: Surface, body: dict[str, Any], code: str, param: str
) -> None:
    refused = refusal(surface, body)
    assert (refused.code, refused.param) == (code, param)


# Fields that an engine would silently ignore.

VLLM = replace(stub.CHAT, renamed_fields=engine_facts("vllm").renamed_fields)
LLAMA = replace(stub.CHAT, renamed_fields=engine_facts("llamacpp").renamed_fields)


def test_an_old_field_becomes_the_one_that_the_engine_knows_and_no_other_value_changes() -> None:
    body = (
        b'{ "x":1.0e3, "guided_json" : {"type" :"object"} ,"model":"chat",'
        b'"messages":[{"role":"user"}] }'
    )
    read = read_call(CHAT, body, Board([VLLM]))
    assert fitted(read) == (
        b'{ "x":1.0e3, "structured_outputs":{"json":{"type" :"object"}} ,"model":"chat",'
        b'"messages":[{"role":"user"}] }'
    )
    assert json.loads(fitted(chat_call(LLAMA, guided_json={"a": 1})))["json_schema"] == {"a": 1}


def test_two_old_fields_become_one_object() -> None:
    read = chat_call(VLLM, guided_json={"a": 1}, guided_whitespace_pattern=" ")
    told = json.loads(fitted(read))
    assert told["structured_outputs"] == {"json": {"a": 1}, "whitespace_pattern": " "}
    assert set(told) == {"model", "messages", "structured_outputs"}


def test_a_field_that_the_engine_knows_passes_untouched() -> None:
    for served, fields in ((VLLM, {"structured_outputs": {"json": {}}}), (LLAMA, {"grammar": "g"})):
        read = call(CHAT, {**BODIES["chat"], **fields}, served)
        assert fitted(read) == read.body
    null = call(CHAT, {**BODIES["chat"], "guided_json": None}, VLLM)
    assert fitted(null) == null.body


def test_a_field_without_a_word_at_the_engine_is_refused_with_what_to_write() -> None:
    refused = refusal(CHAT, {**BODIES["chat"], "guided_choice": ["a"]}, LLAMA)
    assert (refused.code, refused.param) == ("not_supported", "guided_choice")
    assert "`response_format`" in str(refused.hint)
    assert "`grammar`" in str(refused.hint)
    both = {"guided_json": {}, "structured_outputs": {"json": {}}}
    assert refusal(CHAT, {**BODIES["chat"], **both}, VLLM).code == "invalid_value"
    twice = {"guided_json": {}, "json_schema": {}}
    assert refusal(CHAT, {**BODIES["chat"], **twice}, VLLM).code == "invalid_value"


def test_a_chat_that_ends_with_the_assistants_words_is_gone_on_with() -> None:
    fields = {"continue_final_message": True, "add_generation_prompt": False}
    served = replace(stub.CHAT, continue_fields=fields)
    turns = [*USER, {"role": "assistant", "content": "MIG is"}]
    told = json.loads(fitted(call(MESSAGES, {**BODIES["messages"], "messages": turns}, served)))
    assert {name: told[name] for name in fields} == fields
    assert "continue_final_message" not in json.loads(
        fitted(call(MESSAGES, BODIES["messages"], served))
    )
    plain = call(CHAT, {"model": "chat", "messages": turns}, served)
    assert fitted(plain) == plain.body


# Through a gateway.


async def tells_everything(asked: Asked) -> None:
    await asked.stream_head()
    await asked.chunk(EVERYTHING)
    await asked.end()


@each_chat
def test_a_whole_answer_comes_in_the_callers_api(name: str) -> None:
    async def main() -> None:
        async with rig(StubEngine()) as the:
            reply = await the.ask(post(BODIES[name], PATHS[name]))
            assert reply.status == 200
            shown = {
                "chat": lambda: reply.json["choices"][0]["message"]["content"],
                "responses": lambda: reply.json["output"][0]["content"][0]["text"],
                "messages": lambda: reply.json["content"][0]["text"],
            }
            assert shown[name]() == "A slice."
            assert the.engine.asked[0].line.startswith("POST /v1/chat/completions ")

    run(main)


@pytest.mark.parametrize(("name", "last"), [("responses", "completed"), ("messages", "stop")])
def test_a_stream_comes_in_the_callers_api(name: str, last: str) -> None:
    async def main() -> None:
        async with rig(StubEngine(handler=tells_everything)) as the:
            reply = await the.ask(post({**BODIES[name], "stream": True}, PATHS[name]))
            assert reply.headers["content-type"] == "text/event-stream"
            assert b"sunny" in reply.body
            assert last in reply.body.split(b"\n\n")[-2].decode()
            assert b"[DONE]" not in reply.body
            assert the.engine.asked[0].json["stream_options"] == {"include_usage": True}

    run(main)


def errors_of(name: str, reply: Reply) -> tuple[str, str]:
    """Type and code of an error in the shape of the API."""
    error = reply.json["error"]
    if name == "messages":
        assert reply.json["type"] == "error"
        assert reply.json["request_id"] == reply.headers["x-request-id"]
        return error["type"], error["details"]["error_code"]
    assert set(error) == {"message", "type", "param", "code"}
    return error["type"], error["code"]


@each_chat
def test_errors_come_in_the_callers_api(name: str) -> None:
    async def main() -> None:
        async with rig(StubEngine()) as the:
            missing = await the.ask(post({**BODIES[name], "model": "no"}, PATHS[name]))
            assert errors_of(name, missing)[1] == "model_not_found"
            broken = await the.ask(post(b"{", PATHS[name]))
            assert errors_of(name, broken)[1] == "malformed_json"
            wrong = await the.ask(get(PATHS[name]))
            assert (wrong.status, errors_of(name, wrong)[1]) == (405, "method_not_allowed")

            async def busy(asked: Asked) -> None:
                await asked.whole(b'{"error":{"message":"full"}}', status="503 Busy")

            the.engine.handler = busy
            full = await the.ask(post(BODIES[name], PATHS[name]))
            assert (full.status, errors_of(name, full)[1]) == (503, "engine_busy")
            assert "retry-after" in full.headers

    run(main)


def test_garbage_of_an_engine_never_becomes_an_answer_in_another_api() -> None:
    async def odd(asked: Asked) -> None:
        await asked.whole(b'{"choices":[{"message":{"content":7}}]}')

    async def main() -> None:
        async with rig(StubEngine(handler=odd)) as the:
            for name in ("messages", "responses"):
                reply = await the.ask(post(BODIES[name], PATHS[name]))
                assert (reply.status, errors_of(name, reply)[1]) == (502, "bad_answer")

    run(main)


def test_an_engine_hears_unknown_fields_as_they_came() -> None:
    async def main() -> None:
        async with rig(StubEngine()) as the:
            for name in ("chat", "responses", "messages"):
                await the.ask(post({**BODIES[name], "xyz": {"a": [1]}}, PATHS[name]))
            assert [asked.json["xyz"] for asked in the.engine.asked] == [{"a": [1]}] * 3

    run(main)


def test_the_list_of_models_can_be_read_by_clients_of_both_apis() -> None:
    async def main() -> None:
        async with rig(StubEngine()) as the:
            listed = (await the.ask(get("/v1/models"))).json
            assert (listed["has_more"], listed["first_id"], listed["last_id"]) == (
                False, "chat", "embed",
            )  # fmt: skip
            assert listed["data"][0]["display_name"] == "chat"

    run(main)


def test_every_code_has_a_status_and_a_meaning() -> None:
    assert all(400 <= row.status < 600 and row.help for row in TABLE.values())
    assert {"bad_key": 401, "not_allowed": 403, "context_too_long": 400}.items() <= {
        code: row.status for code, row in TABLE.items()
    }.items()
