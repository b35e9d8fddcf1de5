"""Which replica holds which blocks, in fixed memory."""

from __future__ import annotations

from collections import OrderedDict

from hypothesis import given
from hypothesis import strategies as st

from plimsoll.policy.routing.index import PrefixIndex

prompts = st.lists(
    st.tuples(
        st.integers(0, 2),
        st.lists(st.integers(0, 3), min_size=1, max_size=6).map(
            # chained: a block's name says all that precedes it
            lambda digits: [
                int("1" + "".join(map(str, digits[: i + 1]))) for i in range(len(digits))
            ]
        ),
    ),
    max_size=60,
)


@given(prompts, st.integers(1, 12), st.integers(3, 60))
def test_memory_is_bounded_and_what_is_held_is_what_a_plain_lru_would_hold(
    sent: list[tuple[int, list[int]]], blocks: int, entries: int
) -> None:
    index = PrefixIndex(range(10, 210, 10), entries)
    shelves = [index.shelf(1 << slot, blocks * 10) for slot in range(3)]
    plain = [OrderedDict[int, None]() for _ in shelves]
    most = min(blocks, max(1, entries // 3))
    for slot, prompt in sent:
        index.hold(shelves[slot], prompt)
        for block in reversed(prompt):
            plain[slot][block] = None
            plain[slot].move_to_end(block)
        while len(plain[slot]) > most:
            plain[slot].popitem(last=False)
        assert [list(shelf.blocks) for shelf in shelves] == [list(each) for each in plain]
        assert all(shelf.tokens <= blocks * 10 for shelf in shelves)
        assert sum(len(shelf.blocks) for shelf in shelves) <= max(entries, 3)
        assert len(index) == len({block for each in plain for block in each})


@given(prompts, prompts)
def test_levels_tell_who_holds_how_much_of_a_prompt(
    sent: list[tuple[int, list[int]]], asked: list[tuple[int, list[int]]]
) -> None:
    index = PrefixIndex(range(10, 210, 10), 1_000)
    shelves = [index.shelf(1 << slot, 80) for slot in range(3)]
    for slot, prompt in sent:
        index.hold(shelves[slot], prompt)
    for _, prompt in asked:
        found = {}
        for holders, depth in index.levels(prompt):
            for slot in range(3):
                if holders & 1 << slot:
                    found[slot] = depth
        for slot, shelf in enumerate(shelves):
            depth = 0
            while depth < len(prompt) and prompt[depth] in shelf.blocks:
                depth += 1
            assert found.get(slot, 0) == depth


@given(prompts)
def test_a_replica_that_left_is_forgotten(sent: list[tuple[int, list[int]]]) -> None:
    index = PrefixIndex(range(10, 210, 10), 1_000)
    shelves = [index.shelf(1 << slot, 200) for slot in range(3)]
    for slot, prompt in sent:
        index.hold(shelves[slot], prompt)
        index.fill(shelves[slot], 15)
    for shelf in shelves:
        index.drop(shelf)
    assert len(index) == 0


def test_answers_push_prompts_out() -> None:
    index = PrefixIndex(range(10, 210, 10), 1_000)
    shelf = index.shelf(1, 50)
    index.hold(shelf, [1, 11, 111])
    index.fill(shelf, 30)
    assert shelf.tokens <= 50
    assert index.levels([1, 11, 111]) == [(1, 2)]
