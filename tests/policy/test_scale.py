"""Properties of the queue-depth rule."""

from hypothesis import given
from hypothesis import strategies as st

from plimsoll.policy.scale import Bounds, LowWater, Want, wanted_replicas


@st.composite
def bounds(draw: st.DrawFn) -> Bounds:
    low = draw(st.integers(0, 5))
    return Bounds(
        min=low,
        max=low + draw(st.integers(1, 6)),
        target=draw(st.integers(1, 16)),
        cooldown=draw(st.floats(0, 600)),
        stabilization=draw(st.floats(0, 600)),
    )


def ask(limits: Bounds, *, demand: int, live: int, now: float = 0.0, **more: object) -> Want:
    arguments = {"idle_since": None, "low": LowWater(), "queued": 0} | more
    return wanted_replicas(in_flight=demand, live=live, bounds=limits, now=now, **arguments)  # type: ignore[arg-type]


@given(limits=bounds(), demand=st.integers(0, 10_000), live=st.integers(0, 20))
def test_the_answer_stays_between_min_and_max(limits: Bounds, demand: int, live: int) -> None:
    want = ask(limits, demand=demand, live=live)
    assert limits.min <= want.replicas <= limits.max


@given(
    limits=bounds(), demand=st.integers(1, 1000), more=st.integers(0, 1000), live=st.integers(0, 9)
)
def test_more_demand_never_wants_fewer(limits: Bounds, demand: int, more: int, live: int) -> None:
    less = ask(limits, demand=demand, live=live)
    assert ask(limits, demand=demand + more, live=live).replicas >= less.replicas


@given(limits=bounds(), demand=st.integers(1, 1000))
def test_replicas_still_loading_are_counted(limits: Bounds, demand: int) -> None:
    first = ask(limits, demand=demand, live=0).replicas
    assert ask(limits, demand=demand, live=first).replicas == first


@given(limits=bounds(), demand=st.integers(0, 200))
def test_constant_load_never_oscillates(limits: Bounds, demand: int) -> None:
    live, low, changes = 0, LowWater(), []
    for step in range(200):
        want = ask(limits, demand=demand, live=live, low=low, now=step * 15.0)
        if want.replicas != live:
            changes.append(want.replicas - live)
        live, low = want.replicas, want.low
    assert len(changes) <= 1


def test_an_idle_model_with_min_zero_stops_after_its_cooldown() -> None:
    limits = Bounds(min=0, max=2, target=4, cooldown=60, stabilization=60)
    want = ask(limits, demand=0, live=1, now=100, idle_since=100)
    assert want.replicas == 1
    want = ask(limits, demand=0, live=1, now=159, idle_since=100, low=want.low)
    assert want.replicas == 1
    want = ask(limits, demand=0, live=1, now=160, idle_since=100, low=want.low)
    assert want.replicas == 0


def test_a_request_that_came_and_went_between_two_looks_restarts_the_cooldown() -> None:
    limits = Bounds(min=0, max=2, target=4, cooldown=60, stabilization=60)
    want = ask(limits, demand=0, live=1, now=0, idle_since=None)
    want = ask(limits, demand=0, live=1, now=61, idle_since=30, low=want.low)
    assert want.replicas == 1
    assert ask(limits, demand=0, live=1, now=90, idle_since=30, low=want.low).replicas == 0


def test_one_request_wakes_a_stopped_model() -> None:
    limits = Bounds(min=0, max=2, target=4, cooldown=60, stabilization=60)
    assert (
        wanted_replicas(
            queued=1, in_flight=0, idle_since=0, live=0, bounds=limits, low=LowWater(), now=0
        ).replicas
        == 1
    )


def test_scale_down_keeps_what_the_peak_of_the_cooldown_needed() -> None:
    limits = Bounds(min=0, max=9, target=1, cooldown=60, stabilization=60)
    want = ask(limits, demand=2, live=5, now=0)
    want = ask(limits, demand=4, live=5, now=30, low=want.low)
    want = ask(limits, demand=1, live=5, now=60, low=want.low)
    assert want.replicas == 4


def test_an_idle_model_gives_back_all_but_one_before_its_cooldown_ends() -> None:
    limits = Bounds(min=0, max=9, target=1, cooldown=300, stabilization=30)
    want = ask(limits, demand=0, live=5, now=0, idle_since=0)
    assert want.replicas == 5
    want = ask(limits, demand=0, live=5, now=30, idle_since=0, low=want.low)
    assert want.replicas == 1
    want = ask(limits, demand=0, live=1, now=299, idle_since=0, low=want.low)
    assert want.replicas == 1
    assert ask(limits, demand=0, live=1, now=300, idle_since=0, low=want.low).replicas == 0
