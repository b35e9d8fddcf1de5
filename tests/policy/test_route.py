from __future__ import annotations

from dataclasses import dataclass

from hypothesis import given
from hypothesis import strategies as st

from plimsoll.policy.route import Report, least_loaded, limit, others


@dataclass(frozen=True, eq=False)
class Replica:
    capacity: int
    in_flight: int
    report: Report | None = None
    gateways: int = 1

    @property
    def others(self) -> int:
        return others(self.report)

    @property
    def limit(self) -> int:
        return limit(self.capacity, self.gateways, self.report)

    @property
    def load(self) -> int:
        return self.in_flight + self.others


reports = st.builds(
    Report, requests=st.integers(0, 20), own=st.integers(0, 20), before=st.integers(0, 20)
)
replicas = st.lists(
    st.builds(
        Replica,
        capacity=st.integers(0, 8),
        in_flight=st.integers(0, 10),
        report=st.none() | reports,
        gateways=st.integers(1, 4),
    ),
    max_size=8,
)
unknown = st.lists(
    st.builds(Replica, capacity=st.integers(0, 8), in_flight=st.integers(0, 10)), max_size=8
)


@given(replicas=unknown, turn=st.integers(0, 1000))
def test_by_its_own_count_alone_the_chosen_one_has_room_and_the_smallest_share(
    replicas, turn
) -> None:
    chosen = least_loaded(replicas, turn=turn)
    free = [each for each in replicas if each.in_flight < each.capacity]
    if chosen is None:
        assert not free
    else:
        assert chosen in free
        assert chosen.in_flight / chosen.capacity == min(
            each.in_flight / each.capacity for each in free
        )


@given(replicas=replicas, turn=st.integers(0, 1000))
def test_one_that_is_full_with_others_work_is_not_chosen_while_another_has_room(
    replicas, turn
) -> None:
    chosen = least_loaded(replicas, turn=turn)
    allowed = [each for each in replicas if each.in_flight < each.limit]
    roomy = [each for each in allowed if each.load < each.capacity]
    assert (chosen in roomy) if roomy else (chosen in allowed if allowed else chosen is None)


@given(report=reports)
def test_the_requests_of_others_are_never_negative_and_none_where_nothing_is_known(report) -> None:
    assert others(report) == max(0, report.requests - report.own)
    assert others(None) == 0


@given(capacity=st.integers(0, 600), gateways=st.integers(1, 9), report=st.none() | reports)
def test_a_gateway_always_has_its_share_and_never_more_than_the_replica(
    capacity, gateways, report
) -> None:
    share = -(-capacity // gateways)
    assert share <= limit(capacity, gateways, report) <= capacity
    assert limit(capacity, gateways, None) == share
    assert limit(capacity, 1, report) == capacity


@given(capacity=st.integers(1, 600), own=st.lists(st.integers(0, 200), min_size=2, max_size=6))
def test_gateways_that_act_on_the_same_report_lend_no_more_than_is_free(capacity, own) -> None:
    requests, gateways = sum(own), len(own)
    share = -(-capacity // gateways)
    limits = [limit(capacity, gateways, Report(requests=requests, own=each)) for each in own]
    lent = [max(0, most - mine) for most, mine in zip(limits, own, strict=True) if most > share]
    assert sum(lent) <= max(0, capacity - requests)


@given(capacity=st.integers(2, 512), gateways=st.integers(2, 6))
def test_who_is_busy_alone_comes_to_all_of_a_replica_and_gives_back_when_another_comes(
    capacity, gateways
) -> None:
    busy, other, share = 0, 0, -(-capacity // gateways)
    for _ in range(60):
        busy = limit(capacity, gateways, Report(requests=busy, own=busy))
    assert busy > capacity - gateways
    for _ in range(200):
        requests = busy + other
        busy, other = (
            limit(capacity, gateways, Report(requests=requests, own=own)) for own in (busy, other)
        )
        assert other >= share
    assert busy + other <= max(capacity, 2 * share)


def test_one_report_of_an_idle_moment_lends_nothing() -> None:
    assert limit(8, 2, Report(requests=4, own=4, before=8)) == 4
    assert limit(8, 2, Report(requests=4, own=4, before=4)) == 6


def test_ties_go_round() -> None:
    three = [Replica(4, 0) for _ in range(3)]
    chosen = [least_loaded(three, turn=turn) for turn in range(6)]
    assert chosen == three + three


def test_a_large_replica_gets_its_share() -> None:
    small, large = Replica(2, 1), Replica(8, 3)
    assert least_loaded([small, large], turn=0) is large


def test_what_others_put_on_a_replica_counts_as_its_load() -> None:
    crowded = Replica(8, 0, Report(requests=6, own=0))
    own = Replica(8, 3)
    assert least_loaded([crowded, own], turn=0) is own


@given(replicas=unknown, turn=st.integers(0, 1000))
def test_an_avoided_replica_is_taken_only_when_there_is_no_other(replicas, turn) -> None:
    avoid = replicas[:3]
    chosen = least_loaded(replicas, turn=turn, avoid=avoid)
    rest = [each for each in replicas[3:] if each.in_flight < each.capacity]
    assert (chosen in rest) if rest else (chosen is None or chosen in avoid)
