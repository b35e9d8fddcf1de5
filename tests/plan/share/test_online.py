"""Arrivals and departures: nothing overlaps, nothing is lost, layouts change only when drained."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from plimsoll.errors import DoesNotFit, InputError
from plimsoll.plan.share.online import Free, Put, Repartition, arrive, depart, empty
from plimsoll.plan.share.packing import pack
from tests.plan.share.brute import A30, H100, overlap_free

EVENTS = st.lists(st.tuples(st.integers(0, 5), st.integers(0, 30)), min_size=1, max_size=60)


def held(state):
    found = Counter()
    for card in state.cards:
        for slot in card:
            if slot.replica:
                found[slot.replica, slot.profile] += 1
    return found


def follow(before, actions, *, live):
    """The occupied instances after actions, by the actions alone; fails on an illegal one."""
    cards = [{slot.start: (slot.profile, slot.replica) for slot in card} for card in before.cards]
    moving = {a.replica for a in actions if isinstance(a, Put) and a.moved}
    for action in actions:
        card = cards[action.card]
        if isinstance(action, Repartition):
            assert {name for _, name in card.values() if name} <= moving
            assert overlap_free(before.geometry, [(i.profile, i.start) for i in action.layout])
            cards[action.card] = {i.start: (i.profile, "") for i in action.layout}
        elif isinstance(action, Put):
            if action.moved:
                for other in cards:
                    for start, (profile, name) in list(other.items()):
                        if name == action.replica:
                            other[start] = (profile, "")
            there = card.get(action.start)
            if there is None:
                assert live
            else:
                assert there == (action.profile, "")
            card[action.start] = (action.profile, action.replica)
        else:
            assert isinstance(action, Free)
            profile, name = card[action.start]
            assert name == action.replica
            card[action.start] = (profile, "")
    return {
        (number, start, profile, name)
        for number, card in enumerate(cards)
        for start, (profile, name) in card.items()
        if name
    }


def occupied(state):
    return {
        (number, slot.start, slot.profile, slot.replica)
        for number, card in enumerate(state.cards)
        for slot in card
        if slot.replica
    }


@settings(max_examples=200, deadline=None)
@given(
    EVENTS,
    st.integers(1, 4),
    st.booleans(),
    st.sampled_from(["bestFit", "firstFit"]),
    st.sampled_from([H100, A30]),
)
def test_any_sequence_stays_legal_and_loses_nobody(events, cards, live, rule, geometry):
    state = empty(geometry, cards, live=live)
    wanted: Counter = Counter()
    for number, (kind, which) in enumerate(events):
        before = state
        if which % 3 == 0 and wanted:
            name, profile = sorted(wanted)[which % len(wanted)]
            state, actions = depart(state, name)
            del wanted[name, profile]
            assert len(actions) == 1
        else:
            profile = geometry.profiles[kind % len(geometry.profiles)].name
            try:
                state, actions = arrive(state, f"r{number}", profile, rule=rule)
            except DoesNotFit:
                assert state is before
                continue
            wanted[f"r{number}", profile] += 1
        assert held(state) == wanted
        assert follow(before, actions, live=live) == occupied(state)
        for card in state.cards:
            assert overlap_free(geometry, [(slot.profile, slot.start) for slot in card])
            assert not live or all(slot.replica for slot in card)


@settings(max_examples=100, deadline=None)
@given(EVENTS, st.booleans())
def test_never_fewer_accelerators_than_the_offline_optimum(events, live):
    state = empty(H100, 8, live=live)
    wanted: Counter = Counter()
    for number, (kind, _) in enumerate(events):
        profile = H100.profiles[kind].name
        try:
            state, _ = arrive(state, f"r{number}", profile)
        except DoesNotFit:
            continue
        wanted[profile] += 1
        assert state.busy >= pack(wanted, H100).gpus


@settings(max_examples=100, deadline=None)
@given(EVENTS, st.booleans())
def test_a_departure_takes_back_exactly_its_arrival(events, live):
    state = empty(H100, 4, live=live)
    for number, (kind, _) in enumerate(events):
        profile = H100.profiles[kind].name
        try:
            after, actions = arrive(state, f"r{number}", profile)
        except DoesNotFit:
            continue
        if len(actions) == 1:
            again, _ = depart(after, f"r{number}")
            assert again.cards == state.cards
        state = after


def test_an_idle_instance_is_taken_without_a_repartition():
    state, _ = arrive(empty(H100, 2), "a", "3g.40gb")
    state, _ = depart(state, "a")
    state, actions = arrive(state, "b", "3g.40gb")
    assert [type(action) for action in actions] == [Put]


def test_an_idle_instance_is_taken_where_most_is_in_use_so_that_others_fall_empty():
    state = empty(A30, 2)
    for number in range(8):
        state, _ = arrive(state, f"r{number}", "1g.6gb")
    for number in range(1, 4):
        state, _ = depart(state, f"r{number}")
    state, _ = depart(state, "r7")
    _, actions = arrive(state, "new", "1g.6gb")
    assert [action.card for action in actions] == [1]
    _, actions = arrive(state, "new", "1g.6gb", rule="firstFit")
    assert [action.card for action in actions] == [0]


def test_a_layout_changes_only_on_an_accelerator_with_nobody_on_it():
    state, _ = arrive(empty(H100, 2), "a", "7g.80gb")
    state, actions = arrive(state, "b", "1g.10gb")
    assert [action.card for action in actions] == [1, 1]
    assert isinstance(actions[0], Repartition)


def test_live_instances_leave_the_large_starts_free():
    state = empty(H100, 1, live=True)
    for number in range(3):
        state, actions = arrive(state, f"r{number}", "1g.10gb")
        assert [type(action) for action in actions] == [Put]
    state, actions = arrive(state, "large", "4g.40gb")
    assert [type(action) for action in actions] == [Put]


def test_an_accelerator_is_drained_when_nothing_else_is_left():
    state = empty(H100, 1)
    state, _ = arrive(state, "a", "4g.40gb")
    for slot in state.cards[0]:
        if not slot.replica:
            state, _ = arrive(state, f"filler-{slot.start}", slot.profile)
    for slot in state.cards[0]:
        if slot.replica.startswith("filler"):
            state, _ = depart(state, slot.replica)
    others = {slot.profile for slot in state.cards[0]}
    wanted = next(p for p in ("3g.40gb", "2g.20gb", "1g.20gb") if p not in others)
    state, actions = arrive(state, "b", wanted)
    assert any(isinstance(action, Repartition) for action in actions)
    assert any(isinstance(action, Put) and action.moved for action in actions)
    assert {slot.replica for slot in state.cards[0] if slot.replica} == {"a", "b"}


def test_without_room_the_reason_is_given():
    state, _ = arrive(empty(H100, 1), "a", "7g.80gb")
    with pytest.raises(DoesNotFit) as caught:
        arrive(state, "b", "1g.10gb")
    assert caught.value.code == "share.no-room"


def test_names_are_checked():
    state, _ = arrive(empty(H100, 1), "a", "1g.10gb")
    with pytest.raises(InputError):
        arrive(state, "a", "1g.10gb")
    with pytest.raises(InputError):
        depart(state, "nobody")
    with pytest.raises(InputError):
        depart(state, "")
