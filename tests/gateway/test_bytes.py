"""A request's bytes reach the engine as they came; where a field must be another, only its own."""

from __future__ import annotations

import json

from hypothesis import given, settings
from hypothesis import strategies as st

from plimsoll.gateway import Board, Served
from plimsoll.gateway.answers import body_for_engine
from plimsoll.gateway.surfaces import CHAT, fitted, read_call
from tests.gateway.raw_engine import RawEngine
from tests.gateway.stub import post, rig, run

PLAIN = Served(name="chat", aliases=("talk",), task="chat", context=100_000)
CHANGED = Served(
    name="shy", task="chat", context=100_000, assemble=True,
    stream_fields={"return_progress": True},
)  # fmt: skip
BOARD = Board([PLAIN, CHANGED])
SPACE = st.sampled_from([b"", b"", b" ", b"\n", b"\t", b"\r\n  "])
# Numbers, escapes and depths that a reader and a writer would not bring back as they were.
ODD = st.sampled_from(
    [
        b"1.0e3", b"-0", b"1E+2", b"0.10", b"123456789012345678901234567890", b"1e-400",
        rb'"\u0041\/\ud83d\ude00"', '"é€😀"'.encode(), rb'"\"model\":\"talk\""', b'"{[,:]}"',
        b"[ ]", b"{ }", b'[ 1 ,{"model" : "x"},null ]', b'{"a":{"stream" :true}}', rb'"\\"',
        b"null",
    ]
)  # fmt: skip
NAMES = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=6).map(
    lambda name: "x" + name
)
MESSAGES = rb'[ {"role":"user", "content":"What \u0069s \"model\":\"talk\"?"}]'


def _name(name: str, escaped: bool) -> bytes:
    return json.dumps(name, ensure_ascii=escaped).encode()


@st.composite
def bodies(draw: st.DrawFn, model: bytes) -> tuple[list[bytes], int]:
    """A body in pieces, and the index of the piece that is the value of `model`."""
    others = draw(st.dictionaries(NAMES, ODD, max_size=4))
    fields = [(_name(name, draw(st.booleans())), value) for name, value in others.items()]
    fields.append((b'"messages"', MESSAGES))
    fields = draw(st.permutations(fields))
    at = draw(st.integers(0, len(fields)))
    name = draw(st.sampled_from([b'"model"', rb'"mod\u0065l"']))
    pieces, index = [draw(SPACE), b"{"], 0
    for number, (key, value) in enumerate([*fields[:at], (name, model), *fields[at:]]):
        pieces += [b"," if number else b"", draw(SPACE), key, draw(SPACE), b":", draw(SPACE), value]
        if number == at:
            index = len(pieces) - 1
        pieces.append(draw(SPACE))
    return [*pieces, b"}", draw(SPACE)], index


def sent(body: bytes) -> bytes:
    call = read_call(CHAT, body, BOARD)
    return body_for_engine(call, fitted(call))


@settings(max_examples=300, deadline=None)
@given(bodies(b'"chat"'))
def test_nothing_changes_where_nothing_must(made: tuple[list[bytes], int]) -> None:
    body = b"".join(made[0])
    assert sent(body) == body


@settings(max_examples=300, deadline=None)
@given(bodies(rb'"t\u0061lk"'))
def test_an_alias_becomes_the_models_name_and_nothing_else_changes(
    made: tuple[list[bytes], int],
) -> None:
    pieces, index = made
    got = sent(b"".join(pieces))
    pieces[index] = b'"chat"'
    assert got == b"".join(pieces)


@settings(max_examples=300, deadline=None)
@given(bodies(b'"shy"'))
def test_fields_are_put_in_at_one_place_and_nothing_else_changes(
    made: tuple[list[bytes], int],
) -> None:
    body = b"".join(made[0])
    got = sent(body)
    end = body.rindex(b"}")
    assert got.startswith(body[:end])
    assert got.endswith(body[end:])
    fields = json.loads(got)
    assert fields["stream"] is True
    assert fields["return_progress"] is True
    assert {**json.loads(body), **fields} == fields


@settings(max_examples=25, deadline=None)
@given(bodies(b'"chat"'))
def test_the_engine_gets_the_same_bytes_over_the_wire(made: tuple[list[bytes], int]) -> None:
    body = b"".join(made[0])

    async def main() -> None:
        async with rig(RawEngine()) as the:
            assert (await the.ask(post(body))).status == 200
            assert [said.body for said in the.engine.heard()] == [body]

    run(main)
