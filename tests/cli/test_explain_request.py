"""`plimsoll explain --request` against a real gateway with stub engines."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Iterator
from hashlib import sha256

import pytest

from plimsoll.cli.explain_request import request_text
from plimsoll.gateway.access import Caller, Grant, StaticAccess
from tests.cli.test_plan import outcome
from tests.gateway.stub import MESSAGES, StubEngine, post, rig, run

KEY = "sk-explain-canary"
CALLER = Caller(tenant="acme", key="web", scope=b"acme/")


@pytest.fixture
def url() -> Iterator[str]:
    """A gateway that has had one request, `known`, of the tenant whose key is KEY."""
    ready, over = threading.Event(), threading.Event()
    found: list[str] = []

    async def main() -> None:
        grant = Grant(digest=sha256(KEY.encode()).digest(), caller=CALLER)
        access = StaticAccess([grant], clock=lambda: 0.0)
        async with rig(StubEngine("chat-0"), StubEngine("chat-1"), access=access) as the:
            body = {"model": "chat", "messages": MESSAGES, "stream": True}
            headers = (f"Authorization: Bearer {KEY}", "x-request-id: known")
            reply = await the.ask(post(body, "/v1/chat/completions", *headers))
            assert reply.status == 200
            found.append(f"http://{the.host}:{the.port}")
            ready.set()
            await asyncio.to_thread(over.wait, 30)

    thread = threading.Thread(target=run, args=(main,), kwargs={"seconds": 60})
    thread.start()
    try:
        assert ready.wait(30)
        yield found[0]
    finally:
        over.set()
        thread.join(30)


def test_a_request_is_explained_by_its_gateway(
    url: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MY_KEY", KEY)
    ask = ("explain", "--request", "known", "--url", url, "--key-env", "MY_KEY")
    code, out, err = outcome(capsys, *ask)
    assert (code, err) == (0, "")
    assert out.startswith("request known: 200; ")
    assert "first byte after" in out
    assert "replica chat-" in out
    code, out, _ = outcome(capsys, *ask, "--json")
    told = json.loads(out)
    assert (told["id"], told["outcome"]["status"]) == ("known", 200)
    assert told["routing"]["chosen"] == told["outcome"]["replica"]
    assert {each["replica"] for each in told["routing"]["candidates"]} <= {"chat-0", "chat-1"}
    assert KEY not in out


def test_a_request_that_is_not_known_or_not_ones_own_is_an_error(
    url: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    code, _, err = outcome(capsys, "explain", "--request", "a/b?c", "--url", url)
    assert (code, "nothing is known of a request `a/b?c`" in err) == (1, True)
    monkeypatch.delenv("OPENAI_API_KEY")
    code, _, err = outcome(capsys, "explain", "--request", "known", "--url", url)
    assert (code, "no key that is accepted" in err) == (1, True)


@pytest.mark.parametrize(
    "arguments",
    [
        ("--request", "x", "fleet.yaml"),
        ("fleet.yaml",),
        ("fleet.yaml", "chat", "--url", "http://h:1"),
        ("--request", "x", "--url", "http://h:1", "--key-env", "NOT_SET_ANYWHERE"),
    ],
)
def test_what_does_not_go_together_is_refused(
    arguments: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    assert outcome(capsys, "explain", *arguments)[0] == 2


TOLD = {
    "id": "r",
    "outcome": {
        "status": 200, "code": "replica_lost", "model": "chat", "replica": "chat-1",
        "seconds": 4.25, "queued": 0.25, "first_byte": None, "tries": 2, "continued": 1,
    },
    "routing": {
        "model": "chat", "chosen": "chat-1", "why": "it holds most",
        "candidates": [
            {"replica": "chat-1", "cached": 2048, "reason": "",
             "terms": {"prefill": 0.05, "load": 0.0}},
            {"replica": "chat-0", "cached": 0, "reason": "it has no room", "terms": {}},
        ],
    },
}  # fmt: skip


def test_costs_are_told_in_milliseconds_and_what_has_no_room_says_so() -> None:
    assert request_text(TOLD) == (
        "request r: 200 replica_lost; 4.2 s, 250 ms of it queued; 2 tries; carried on once; "
        "chat by chat-1\n\n"
        "model chat, replica chat-1: it holds most\n\n"
        "replica  cached tokens  prefill ms  load ms  total ms\n"
        "chat-1   2,048          50.0        0.0      50.0\n"
        "chat-0   0              -           -        -         it has no room"
    )


def test_what_is_not_known_of_a_request_is_said() -> None:
    text = request_text({"id": "r", "outcome": None, "routing": None})
    assert text == "request r: not over yet\n\nwhy it went there is not known, or no longer"
