"""Blocks of a prompt's beginning."""

from __future__ import annotations

import subprocess
import sys

from hypothesis import given
from hypothesis import strategies as st

from plimsoll.policy.routing.prompt import BLOCK_BYTES, BLOCK_TOKENS, blocks_of


@given(st.binary(max_size=20_000), st.binary(max_size=3_000), st.binary(max_size=3_000))
def test_prompts_share_the_blocks_of_what_they_begin_with_alike(
    start: bytes, one: bytes, other: bytes
) -> None:
    whole = blocks_of(start)
    assert blocks_of(start + one)[: len(whole)] == whole
    assert blocks_of(start + other)[: len(whole)] == whole


@given(st.binary(min_size=2_000, max_size=8_000), st.integers(0, 1_999))
def test_another_byte_changes_its_block_and_all_that_follow(raw: bytes, at: int) -> None:
    changed = raw[:at] + bytes([raw[at] ^ 1]) + raw[at + 1 :]
    first = at // BLOCK_BYTES[0]
    before, after = blocks_of(raw), blocks_of(changed)
    assert before[:first] == after[:first]
    assert all(one != other for one, other in zip(before[first:], after[first:], strict=True))


def test_only_whole_blocks_count() -> None:
    assert blocks_of(b"x" * (BLOCK_BYTES[0] - 1)) == ()
    assert len(blocks_of(b"x" * (BLOCK_BYTES[0] * 2 + 1))) == 2


def test_a_prompt_of_any_length_has_a_bounded_number_of_blocks() -> None:
    assert len(blocks_of(b"x" * 5_000_000)) == len(BLOCK_TOKENS) == 64


def test_beyond_the_first_few_no_block_is_longer_than_an_eighth_of_what_precedes_it() -> None:
    start = 0
    for depth, size in enumerate(BLOCK_BYTES):
        assert depth < 8 or size <= start / 4
        start += size


def test_another_process_makes_the_same_blocks() -> None:
    program = (
        "from plimsoll.policy.routing.prompt import blocks_of; print(blocks_of(b'prompt' * 999))"
    )
    said = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True)
    assert said.stdout.decode().strip() == str(blocks_of(b"prompt" * 999))
