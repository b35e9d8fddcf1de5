from __future__ import annotations

from dataclasses import dataclass

from hypothesis import given
from hypothesis import strategies as st

from plimsoll.policy.route import least_loaded


@dataclass(frozen=True, eq=False)
class Replica:
    capacity: int
    in_flight: int


replicas = st.lists(
    st.builds(Replica, capacity=st.integers(0, 8), in_flight=st.integers(0, 10)), max_size=8
)


@given(replicas=replicas, turn=st.integers(0, 1000))
def test_the_chosen_replica_has_room_and_none_has_a_smaller_share(replicas, turn) -> None:
    chosen = least_loaded(replicas, turn=turn)
    free = [each for each in replicas if each.in_flight < each.capacity]
    if chosen is None:
        assert not free
    else:
        assert chosen in free
        assert chosen.in_flight / chosen.capacity == min(
            each.in_flight / each.capacity for each in free
        )


def test_ties_go_round() -> None:
    three = [Replica(4, 0) for _ in range(3)]
    chosen = [least_loaded(three, turn=turn) for turn in range(6)]
    assert chosen == three + three


def test_a_large_replica_gets_its_share() -> None:
    small, large = Replica(2, 1), Replica(8, 3)
    assert least_loaded([small, large], turn=0) is large


@given(replicas=replicas, turn=st.integers(0, 1000))
def test_an_avoided_replica_is_taken_only_when_there_is_no_other(replicas, turn) -> None:
    avoid = replicas[:3]
    chosen = least_loaded(replicas, turn=turn, avoid=avoid)
    others = [each for each in replicas[3:] if each.in_flight < each.capacity]
    assert (chosen in others) if others else (chosen is None or chosen in avoid)
