"""Scaled, cut, merged and assigned: in order, as many as wished, conversations whole."""

from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from plimsoll.errors import InputError
from plimsoll.worlds.virtual.workloads.lengths import LogNormal, PromptAndAnswer
from plimsoll.worlds.virtual.workloads.operations import assigned, cut, merged, scaled
from plimsoll.worlds.virtual.workloads.sessions import Sessions
from plimsoll.worlds.virtual.workloads.synthetic import Synthetic
from plimsoll.worlds.virtual.workloads.types import Arrival

LENGTHS = PromptAndAnswer(prompt=LogNormal(mean=100), answer=LogNormal(mean=10))


@dataclass(frozen=True)
class Listed:
    """A workload that is a list."""

    arrivals: Sequence[Arrival]
    seconds: float | None = None

    def __iter__(self) -> Iterator[Arrival]:
        return iter(self.arrivals)


def one(at: float, **fields) -> Arrival:
    return Arrival(at=at, prompt_tokens=600, output_tokens=5, **fields)


times = st.lists(st.floats(0, 1e4), max_size=40).map(
    lambda found: Listed([one(at, blocks=(0, n)) for n, at in enumerate(sorted(found))])
)


@given(times, st.floats(0.1, 5), st.floats(0.1, 5), st.integers(0, 9))
def test_whatever_is_done_times_never_fall_and_each_round_is_the_same(workload, rate, time, seed):
    made = scaled(merged([workload, workload]), rate=rate, time=time, seed=seed)
    made = assigned(made, tenants={"a": 1, "b": 2}, seed=seed)
    arrivals = list(made)
    assert [each.at for each in arrivals] == sorted(each.at for each in arrivals)
    assert arrivals == list(made)


@pytest.mark.parametrize("rate", [0.3, 1, 2, 2.5])
def test_a_trace_at_another_rate_has_so_many_times_the_requests(rate):
    workload = Listed([one(n / 10) for n in range(10_000)])
    made = list(scaled(workload, rate=rate))
    assert len(made) == pytest.approx(10_000 * rate, rel=0.03)
    assert made[-1].at <= 1000 + 60


def test_time_alone_leaves_the_requests_as_they_are():
    workload = Listed([one(n) for n in range(10)], seconds=10)
    assert [each.at for each in scaled(workload, time=0.5)] == [n / 2 for n in range(10)]
    assert scaled(workload, time=0.5).seconds == 5


def test_copies_share_only_what_most_requests_begin_with():
    workload = Listed([one(n, blocks=(7, 100 + n), session=str(n)) for n in range(50)])
    made = list(scaled(workload, rate=2))
    assert len({each.blocks[0] for each in made}) == 1
    assert len({each.blocks[1] for each in made}) == 100
    assert len({each.session for each in made}) == 100


def test_a_thinned_trace_keeps_conversations_whole():
    workload = Listed([one(n, session=str(n % 50)) for n in range(500)])
    counts = Counter(each.session for each in scaled(workload, rate=0.5))
    assert 10 < len(counts) < 40
    assert set(counts.values()) == {10}


def test_what_is_drawn_from_a_rate_is_drawn_at_the_other_rate():
    workload = Synthetic(rate=2, seconds=5000, lengths=LENGTHS, burst=4)
    assert scaled(workload, rate=3) == Synthetic(rate=6, seconds=5000, lengths=LENGTHS, burst=4)


@pytest.mark.parametrize("workload", [Listed([one(n) for n in range(10)], seconds=10)])
def test_a_part_begins_at_0_and_ends_before_its_end(workload):
    assert [each.at for each in cut(workload, begin=3, end=6)] == [0, 1, 2]
    assert cut(workload, begin=3, end=60).seconds == 7


def test_a_part_of_a_part_of_what_is_drawn_is_a_part_of_the_whole():
    whole = Synthetic(rate=1, seconds=1000, lengths=LENGTHS)
    part = cut(cut(whole, begin=100), begin=100, end=300)
    assert [each.prompt_tokens for each in part] == [
        each.prompt_tokens for each in whole if 200 <= each.at < 400
    ]


def test_a_part_of_a_stretched_workload_is_in_its_stretched_seconds():
    made = scaled(Synthetic(rate=1, seconds=1000, lengths=LENGTHS), time=2)
    assert len(list(cut(made, begin=500, end=1500))) == sum(500 <= each.at < 1500 for each in made)


def test_merged_workloads_share_nothing():
    workload = Listed([one(n, blocks=(0, n), session="s") for n in range(5)], seconds=5)
    made = merged([workload, workload, Listed([one(2)], seconds=3)])
    assert [each.at for each in made] == [0, 0, 1, 1, 2, 2, 2, 3, 3, 4, 4]
    assert len({each.blocks[0] for each in made if each.blocks}) == 2
    assert len({each.session for each in made if each.session}) == 2
    assert made.seconds == 5


def test_tenants_and_models_come_by_weight():
    workload = Listed([one(n) for n in range(8000)])
    made = list(assigned(workload, tenants={"a": 3, "b": 1, "c": 0}, models={"x": 1, "y": 1}))
    tenants = Counter(each.tenant for each in made)
    assert tenants["a"] == pytest.approx(6000, rel=0.03)
    assert set(tenants) == {"a", "b"}
    both = Counter((each.tenant, each.model) for each in made)
    assert both["b", "x"] == pytest.approx(1000, rel=0.1)


def test_a_conversation_has_one_tenant_and_one_model():
    workload = Sessions(rate=2, seconds=2000)
    of = defaultdict(set)
    for each in assigned(workload, tenants={"a": 1, "b": 1}, models={"x": 1, "y": 1}):
        of[each.session].add((each.tenant, each.model))
    assert {len(found) for found in of.values()} == {1}


def test_requests_that_repeat_each_other_are_one_conversation_where_none_is_told():
    workload = Listed([one(n, blocks=(0, n % 9, n)) for n in range(90)])
    of = defaultdict(set)
    for each in assigned(workload, tenants={"a": 1, "b": 1}):
        of[each.blocks[1]].add(each.tenant)
    assert {len(found) for found in of.values()} == {1}
    assert {tenant for found in of.values() for tenant in found} == {"a", "b"}


@pytest.mark.parametrize(
    "make",
    [
        lambda w: scaled(w, rate=0),
        lambda w: scaled(w, time=-1),
        lambda w: scaled(w, rate=float("nan")),
        lambda w: cut(w, begin=5, end=5),
        lambda w: cut(w, begin=-1),
        lambda w: assigned(w, tenants={"a": -1}),
        lambda w: assigned(w, models={"a": 0}),
        lambda w: assigned(w, models={}),
    ],
)
def test_what_cannot_be_is_refused_with_a_hint(make):
    with pytest.raises(InputError) as caught:
        make(Listed([one(0)]))
    assert caught.value.hint
