from __future__ import annotations

import json
from time import process_time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from plimsoll.gateway.json_splice import added, once, replaced, without

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=6),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3)
    ),
    max_leaves=8,
)
OBJECTS = st.dictionaries(st.sampled_from('abcd"\\{,:é') | st.text(max_size=4), VALUES, max_size=6)
SPACES = st.sampled_from([None, 0, 2])


@given(value=OBJECTS, indent=SPACES, ascii_only=st.booleans())
def test_one_field_is_changed_and_no_other_value(
    value: dict[str, Any], indent: int | None, ascii_only: bool
) -> None:
    value = {**value, "model": "old"}
    body = json.dumps(value, indent=indent, ensure_ascii=ascii_only).encode()
    assert json.loads(replaced(body, "model", b'"new"')) == {**value, "model": "new"}


def test_the_bytes_of_other_values_are_kept() -> None:
    body = b' { "model" :"a", "x":{"model" : "\\u0061", "y": 1.50} } '
    assert (
        replaced(body, "model", b'"c"')
        == b' { "model" :"c", "x":{"model" : "\\u0061", "y": 1.50} } '
    )


def test_a_field_that_is_said_twice_is_said_once_as_its_last_value() -> None:
    body = b'{"model":"a","mod\\u0065l":"b","x":1}'
    assert once(body) == b'{"model":"b","x":1}'
    assert replaced(body, "model", b'"c"') == b'{"model":"c","x":1}'


def test_a_field_that_is_not_there_is_not_added() -> None:
    assert replaced(b'{"x":1}', "model", b'"c"') == b'{"x":1}'


@given(value=OBJECTS, indent=SPACES, gone=st.sets(st.sampled_from("xyz"), min_size=1))
def test_fields_are_taken_out_and_others_stand_in_their_place(
    value: dict[str, Any], indent: int | None, gone: set[str]
) -> None:
    body = json.dumps({**value, **dict.fromkeys(gone, 1)}, indent=indent).encode()
    kept = {name: each for name, each in value.items() if name not in gone}
    told = without(body, frozenset(gone), {"new": b"[1]"})
    assert json.loads(told) == {**kept, "new": [1]}


def test_what_stands_instead_is_said_once() -> None:
    body = b'{"guided_json":{},"response_format":null}'
    told = without(body, frozenset({"guided_json"}), {"response_format": b"{}"})
    assert told == b'{"response_format":{}}'


@given(value=OBJECTS, indent=SPACES)
def test_fields_are_added_at_the_end(value: dict[str, Any], indent: int | None) -> None:
    body = json.dumps({**value, "model": 1}, indent=indent).encode()
    assert json.loads(added(body, {"a": b"1", "b": b"2"})) == {**value, "model": 1, "a": 1, "b": 2}


def test_a_large_body_does_not_hold_up_the_gateway() -> None:
    body = b'{"model":"a","x":"' + b"\\n" * 4_000_000 + b'","y":[' + b"1," * 4_000_000 + b"1]}"
    began = process_time()
    replaced(body, "model", b'"b"')
    assert process_time() - began < 1.0


@pytest.mark.parametrize(
    "many",
    [
        b",".join(b'"a%d":1' % number for number in range(300_000)),
        b'"' + b"\\n" * 3_000_000 + b'":1',
    ],
)
def test_many_or_long_names_do_not_hold_up_the_gateway(many: bytes) -> None:
    body = b'{"model":"a",' + many + b',"old":1}'
    began = process_time()
    got = without(replaced(body, "model", b'"b"'), frozenset({"old"}), {"new": b"2"})
    assert process_time() - began < 1.5
    assert got == b'{"model":"b",' + many + b',"new":2}'
