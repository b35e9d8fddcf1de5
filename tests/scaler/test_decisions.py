"""Deciding: the policy's own numbers, and none taken away on figures that are not there."""

import asyncio

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from plimsoll.errors import Failed
from plimsoll.policy.scale.types import Answer, Signals
from plimsoll.scaler.decisions import STALE_SECONDS, UnknownModelError
from plimsoll.scaler.models import Scaled
from plimsoll.scaler.server import deciding
from tests.scaler.conftest import CHAT, CODE, Tenth, load, offered, scaled

looks = st.builds(
    lambda queued, ready, blind, age: load(queued, ready=ready, blind=blind, age=age),
    st.integers(0, 500),
    st.integers(0, 60),
    st.booleans(),
    st.sampled_from([0.0, 5.0, STALE_SECONDS + 1]),
)


class Listed:
    """A source that plays looks back."""

    def __init__(self, *items):
        self.items = items

    async def looks(self):
        for item in self.items:
            if isinstance(item, Exception):
                raise item
            yield item


@given(st.lists(looks, max_size=30))
def test_without_figures_or_on_old_ones_the_number_never_falls(signals):
    decisions = offered()
    before = None
    for each in signals:
        decided = decisions.look(CHAT, each)
        if each.blind or each.age > STALE_SECONDS:
            assert decided.replicas >= (each.live if before is None else before)
        before = decided.replicas


@given(st.lists(st.integers(0, 500), max_size=30))
def test_replayed_signals_give_the_very_numbers_of_the_policy_alone(queue):
    policy, memory, alone = Tenth(), Tenth.memory_type(), []
    decisions, served = offered(), []
    for number, queued in enumerate(queue):
        signals = load(queued, now=15.0 * number)
        answer = policy.decide(signals, memory)
        memory = answer.memory
        alone.append((answer.replicas, answer.reasons, answer.memory))
        decided = decisions.look(CHAT, signals)
        served.append((decided.replicas, decided.reasons, decided.memory))
    assert served == alone


def test_what_is_kept_blindly_is_said_and_stays_within_the_maximum():
    decisions = offered()
    decisions.offer({CHAT: scaled(max=3)})
    decisions.look(CHAT, load(50))
    decided = decisions.look(CHAT, load(0, blind=True))
    assert decided.replicas == 3
    assert decided.reasons[0] == "no figures: 3 kept"


def test_old_figures_may_raise_the_number():
    decisions = offered()
    decisions.look(CHAT, load(10))
    assert decisions.look(CHAT, load(90, age=60)).replicas == 9


def test_a_policy_of_another_kind_begins_with_its_own_memory():
    class Other(msgspec.Struct, frozen=True, kw_only=True):
        said: int = 7

    class Fixed:
        memory_type = Other

        def decide(self, signals: Signals, memory: Other) -> Answer[Other]:
            return Answer(replicas=memory.said, reasons=("fixed",), memory=memory)

    decisions = offered()
    decisions.look(CHAT, load(10))
    decisions.offer({CHAT: Scaled(policy=Fixed())})
    assert decisions.look(CHAT, load(10)).replicas == 7


def test_models_that_are_offered_no_more_are_forgotten():
    decisions = offered(CHAT, CODE)
    decisions.look(CHAT, load(10))
    decisions.offer({CODE: scaled()})
    with pytest.raises(UnknownModelError):
        decisions.look(CHAT, load(10))
    decisions.offer({CHAT: scaled()})
    assert decisions.of(CHAT) is None


def test_looks_of_a_model_that_has_gone_and_a_failing_policy_stop_nobody_else(caplog):
    class Broken:
        memory_type = Tenth.memory_type

        def decide(self, signals, memory):
            raise ZeroDivisionError("by a bug")

    decisions = offered()
    decisions.offer({CHAT: Scaled(policy=Broken()), CODE: scaled()})
    gone = CHAT.__class__(namespace="team", fleet="main", model="gone")
    source = Listed((gone, load(1)), (CHAT, load(1)), (CODE, load(20)))
    asyncio.run(deciding(decisions, source))
    assert decisions.of(CODE).replicas == 2
    assert decisions.of(CHAT) is None
    assert "the policy of team/main/chat failed" in caplog.text


def test_a_source_that_fails_is_asked_again_and_the_number_stays(caplog, monkeypatch):
    monkeypatch.setattr("plimsoll.scaler.server._AGAIN_SECONDS", 0.0)
    decisions = offered()
    rounds = [
        Listed((CHAT, load(50)), Failed("the world is not there")),
        Listed((CHAT, load(70))),
    ]

    class Twice:
        def looks(self):
            return rounds.pop(0).looks()

    asyncio.run(deciding(decisions, Twice()))
    assert decisions.of(CHAT).replicas == 7
    assert "the last numbers stay" in caplog.text
