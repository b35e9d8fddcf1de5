from __future__ import annotations

import asyncio
import io
import json

from plimsoll.gateway import GatewayClient
from plimsoll.telemetry.access_log import AccessLog
from tests.gateway.stub import (
    CHAT,
    DONE,
    REPLY,
    Asked,
    StubEngine,
    chat,
    event,
    get,
    good,
    post,
    rig,
    run,
)  # fmt: skip


def test_a_whole_answer_comes_byte_for_byte() -> None:
    async def main() -> None:
        async with rig(StubEngine()) as the:
            reply = await the.ask(chat())
            assert (reply.status, reply.body) == (200, REPLY)
            assert reply.headers["content-type"] == "application/json"

    run(main)


def test_a_request_body_reaches_the_engine_byte_for_byte() -> None:
    body = b' { "model" :"chat", "messages":[ {"role":"user"} ], "x":1.0e3 , "y" : "\xc3\xa9" } '

    async def main() -> None:
        async with rig(StubEngine()) as the:
            await the.ask(post(body))
            assert the.engine.asked[0].body == body

    run(main)


def test_a_stream_comes_byte_for_byte_and_ends_well() -> None:
    async def main() -> None:
        async with rig(StubEngine()) as the:
            reply = await the.ask(chat(stream=True))
            assert reply.headers["content-type"] == "text/event-stream"
            assert reply.body == event("A") + event(" slice") + event(".") + DONE

    run(main)


def test_an_alias_reaches_its_model() -> None:
    async def main() -> None:
        async with rig(StubEngine()) as the:
            reply = await the.ask(post({"model": "talk", "messages": [{"role": "user"}]}))
            assert reply.status == 200

    run(main)


def test_an_engine_hears_the_models_own_name_and_every_other_byte_as_sent() -> None:
    """An engine such as vLLM refuses names that it was not told."""
    body = b'{ "x":1.0e3 , "model" :"talk", "y" : "\xc3\xa9", "messages":[ {"role":"user"} ]}'

    async def main() -> None:
        async with rig(StubEngine()) as the:
            assert (await the.ask(post(body))).status == 200
            heard = the.engine.asked[0].body
            assert json.loads(heard) == {**json.loads(body), "model": "chat"}
            assert b"1.0e3" in heard

    run(main)


def test_models_are_listed_and_found_by_name_and_alias() -> None:
    async def main() -> None:
        async with rig(StubEngine()) as the:
            listed = (await the.ask(get("/v1/models"))).json
            assert [model["id"] for model in listed["data"]] == ["chat", "embed"]
            assert (await the.ask(get("/v1/models/talk"))).json["id"] == "chat"
            missing = await the.ask(get("/v1/models/chatt"))
            assert (missing.status, missing.code) == (404, "model_not_found")

    run(main)


def test_health_metrics_and_head() -> None:
    async def main() -> None:
        async with rig(StubEngine()) as the:
            assert (await the.ask(get("/health"))).json == {"status": "serving"}
            assert b"plimsoll_gateway_connections" in (await the.ask(get("/metrics"))).body
            client = await the.connect()
            client.send(get("/v1/models", method="HEAD") + get("/health"))
            status, headers = await client.head()
            assert status == 200
            assert int(headers["content-length"]) > 0
            assert (await client.reply()).json == {"status": "serving"}
            await client.close()

    run(main)


def test_the_request_id_goes_in_and_out() -> None:
    async def main() -> None:
        async with rig(StubEngine()) as the:
            body = {"model": "chat", "messages": [{"role": "user"}]}
            path = "/v1/chat/completions"
            reply = await the.ask(post(body, path, "X-Request-Id: abc-1"))
            assert reply.headers["x-request-id"] == "abc-1"
            assert the.engine.asked[0].headers["x-request-id"] == "abc-1"
            for bad in ("X-Request-Id: a b", f"X-Request-Id: {'a' * 129}", "Accept: x"):
                reply = await the.ask(post(body, path, bad))
                assert reply.headers["x-request-id"].startswith("req-")

    run(main)


def test_only_known_headers_reach_the_engine() -> None:
    async def main() -> None:
        async with rig(StubEngine()) as the:
            body = {"model": "chat", "messages": [{"role": "user"}]}
            await the.ask(
                post(
                    body, "/v1/chat/completions", "Authorization: Bearer secret", "Cookie: a=b",
                    "Connection: keep-alive, x-hop", "X-Hop: 1", "Traceparent: 00-1-2-01",
                )
            )  # fmt: skip
            assert set(the.engine.asked[0].headers) == {
                "host", "content-type", "content-length", "x-request-id", "traceparent",
            }  # fmt: skip

    run(main)


def test_connections_to_an_engine_are_kept() -> None:
    async def main() -> None:
        async with rig(StubEngine()) as the:
            client = await the.connect()
            for _ in range(20):
                client.send(chat())
                assert (await client.reply()).status == 200
            assert the.engine.connections == 1
            await client.close()

    run(main)


def test_an_http_1_0_caller_gets_a_stream_without_chunks() -> None:
    async def main() -> None:
        async with rig(StubEngine()) as the:
            data = chat(stream=True).replace(b"HTTP/1.1", b"HTTP/1.0")
            reply = await the.ask(data)
            assert "transfer-encoding" not in reply.headers
            assert reply.headers["connection"] == "close"
            assert reply.body.endswith(DONE)

    run(main)


def test_a_caller_that_expects_100_continue_is_told_to_go_on() -> None:
    async def main() -> None:
        async with rig(StubEngine()) as the:
            whole = post({"model": "chat", "messages": [{"role": "user"}]})
            head, body = whole.split(b"\r\n\r\n", 1)
            client = await the.connect()
            client.send(head + b"\r\nExpect: 100-continue\r\n\r\n")
            assert await client.reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
            client.send(body)
            assert (await client.reply()).status == 200
            await client.close()

    run(main)


def test_pipelined_requests_are_answered_in_their_order() -> None:
    async def main() -> None:
        async with rig(StubEngine()) as the:
            client = await the.connect()
            client.send(chat() + get("/health") + chat(stream=True) + get("/v1/models"))
            replies = [await client.reply() for _ in range(4)]
            assert [reply.status for reply in replies] == [200] * 4
            assert replies[0].body == REPLY
            assert replies[1].json == {"status": "serving"}
            assert replies[2].body.endswith(DONE)
            assert replies[3].json["object"] == "list"
            await client.close()

    run(main)


def test_our_own_client_reads_answers_streams_and_errors() -> None:
    async def main() -> None:
        async with rig(StubEngine()) as the:
            client = GatewayClient(f"http://{the.host}:{the.port}")
            ask = {"model": CHAT.name, "messages": [{"role": "user", "content": "?"}]}
            whole = await client.json("POST", "/v1/chat/completions", ask)
            assert whole == json.loads(REPLY)
            path, body = "/v1/chat/completions", {**ask, "stream": True}
            events = [each async for each in client.events(path, body)]
            words = [each["choices"][0]["delta"]["content"] for each in events]
            assert "".join(words) == "A slice."
            assert "plimsoll_gateway" in await client.text("/metrics")

    run(main)


def test_two_requests_run_beside_each_other() -> None:
    async def main() -> None:
        async with rig(StubEngine()) as the:
            replies = await asyncio.gather(*(the.ask(chat()) for _ in range(16)))
            assert {reply.status for reply in replies} == {200}

    run(main)


def test_the_access_log_has_a_line_per_request_and_no_word_of_its_text() -> None:
    async def main() -> None:
        stream = io.StringIO()
        async with rig(StubEngine(), log=AccessLog(stream)) as the:
            await the.ask(chat())
            await the.ask(chat(stream=True))
            client = await the.connect()
            client.send(post({"model": "nobody", "messages": [{"role": "user"}]}))
            await client.reply()
        first, second, third = (json.loads(line) for line in stream.getvalue().splitlines())
        assert (third["status"], third["code"]) == (404, "model_not_found")
        assert (first["model"], first["replica"], first["status"]) == ("chat", "chat-0", 200)
        assert second["streamed"] is True
        assert 0 <= second["first_byte"] <= second["seconds"]
        assert "MIG" not in stream.getvalue()

    run(main)


def test_an_answer_that_states_its_usage_is_counted_in_tokens() -> None:
    async def with_usage(asked: Asked) -> None:
        await asked.stream_head()
        await asked.event("A")
        await asked.chunk(b'data: {"choices":[],"usage":{"prompt_tokens":7,"completion_tokens":3}}')
        await asked.chunk(b"\n\n" + DONE)
        await asked.end()

    async def main() -> None:
        async with rig(StubEngine(handler=with_usage)) as the:
            await the.ask(chat(stream=True))
            the.engine.handler = good
            await the.ask(chat())
            assert 'tokens_total{kind="prompt",model="chat"} 14.0' in the.numbers()
            assert 'tokens_total{kind="completion",model="chat"} 6.0' in the.numbers()

    run(main)
