"""ServeGen's clients: as many requests as their rates say, as uneven as their gaps were."""

import statistics
import tracemalloc
from itertools import islice, pairwise

import pytest

from plimsoll.errors import InputError
from plimsoll.worlds.virtual.workloads.operations import cut
from plimsoll.worlds.virtual.workloads.reading import read_workload
from tests.worlds.virtual.workloads.conftest import LENGTHS_HEADER, RATES_HEADER, lengths_of

SAME = LENGTHS_HEADER + lengths_of("m", "a", 100, 10)


def row(client: str, start: int, rate: float, shape: float = 1.0, kind: str = "Gamma") -> str:
    return f"m,{client},{start},{rate},1,{kind},{shape},1\n"


def refused(*args, **options) -> InputError:
    with pytest.raises(InputError) as caught:
        list(read_workload(*args, **options))
    assert caught.value.hint
    return caught.value


def test_each_window_has_the_requests_that_its_rate_says(trace):
    rates = trace(RATES_HEADER + row("a", 0, 0.5) + row("a", 600, 2) + row("b", 600, 1))
    arrivals = list(read_workload(rates, lengths=trace(SAME, "l.csv")))
    assert sum(each.at < 600 for each in arrivals) == 300
    assert sum(each.at >= 600 and each.tenant == "a" for each in arrivals) == 1200
    assert sum(each.tenant == "b" for each in arrivals) == 600
    assert [each.at for each in arrivals] == sorted(each.at for each in arrivals)


@pytest.mark.parametrize(
    ("kind", "shape", "cv"), [("Gamma", 0.25, 2.0), ("Gamma", 1, 1.0), ("Weibull", 0.5, 5**0.5)]
)
def test_the_gaps_are_as_uneven_as_the_distribution(trace, kind, shape, cv):
    rates = trace(RATES_HEADER + row("a", 0, 50, shape, kind))
    arrivals = list(read_workload(rates, lengths=trace(SAME, "l.csv")))
    gaps = [b.at - a.at for a, b in pairwise(arrivals)]
    assert statistics.pstdev(gaps) / statistics.mean(gaps) == pytest.approx(cv, rel=0.1)


def test_gaps_so_uneven_that_all_but_one_vanish_still_make_arrivals_in_the_window(trace):
    rates = trace(RATES_HEADER + "".join(row("a", 600 * n, 1, 1e-4) for n in range(20)))
    arrivals = list(read_workload(rates, lengths=trace(SAME, "l.csv")))
    assert len(arrivals) == 20 * 600
    assert all(0 <= each.at <= 12_000 for each in arrivals)


def test_a_part_has_the_very_requests_that_the_whole_has_then(trace):
    rates = trace(RATES_HEADER + "".join(row("a", 600 * n, 0.2, 0.3) for n in range(6)))
    whole = read_workload(rates, lengths=trace(SAME, "l.csv"), seed=3)
    part = list(cut(whole, begin=1000, end=2500))
    assert [round(each.at + 1000, 6) for each in part] == [
        round(each.at, 6) for each in whole if 1000 <= each.at < 2500
    ]
    assert cut(whole, begin=1000, end=2500).seconds == 1500


def test_the_same_seed_makes_the_same_requests_and_another_makes_others(trace):
    rates = trace(RATES_HEADER + row("a", 0, 0.5))
    lengths = trace(SAME, "l.csv")
    first, again, other = (
        list(read_workload(rates, lengths=lengths, seed=seed)) for seed in (1, 1, 2)
    )
    assert first == again != other


def test_lengths_are_drawn_between_their_quantiles(trace):
    values = [10, 50, 100, 200, 300, 400, 500, 600, 700, 800, 900, 950, 990, 999, 1000]
    sizes = "".join(
        f"m,a,0,{field},500,{','.join(map(str, values))}\n"
        for field in ("input_tokens", "output_tokens")
    )
    rates = trace(RATES_HEADER + row("a", 0, 50))
    workload = read_workload(rates, lengths=trace(LENGTHS_HEADER + sizes, "l.csv"))
    prompts = sorted(each.prompt_tokens for each in workload)
    assert prompts[0] == 10
    assert prompts[-1] <= 1000
    assert statistics.median(prompts) == pytest.approx(500, rel=0.03)
    assert statistics.mean(prompts) == pytest.approx(500, rel=0.03)


def test_a_prompt_of_several_kinds_is_their_sum_and_pictures_are_counted(trace):
    def same(field: str, size: int) -> str:
        return f"m,a,0,{field},{size}," + ",".join([str(size)] * 15) + "\n"

    sizes = same("text_tokens", 7) + same("image_tokens", 100) + same("image_count", 3)
    sizes += same("audio_tokens", 0) + same("output_tokens", 4)
    rates = trace(RATES_HEADER + row("a", 0, 0.1))
    workload = read_workload(rates, lengths=trace(LENGTHS_HEADER + sizes, "l.csv"))
    assert {(each.prompt_tokens, each.output_tokens) for each in workload} == {(307, 4)}


def test_the_largest_clients_without_lengths_take_those_of_the_largest_with_them(trace):
    rows = row("huge", 0, 3) + row("big", 0, 2) + row("a", 0, 1) + row("b", 0, 0.5)
    sizes = lengths_of("m", "b", 20, 2) + lengths_of("m", "a", 10, 1)
    workload = read_workload(trace(RATES_HEADER + rows), lengths=trace(LENGTHS_HEADER + sizes, "l"))
    taken = {each.tenant: each.prompt_tokens for each in workload}
    assert taken == {"huge": 10, "big": 20, "a": 10, "b": 20}


@pytest.mark.slow
def test_the_public_rates_are_met_and_the_memory_stays_flat_over_fourteen_days(public):
    workload = read_workload(
        public("servegen_client_rates.csv.gz"),
        lengths=public("servegen_length_quantiles.csv.gz"),
        model="m-large",
    )
    assert workload.seconds == 14 * 86400
    thin = workload.at_rate(0.0005)
    tracemalloc.start()
    try:
        arrivals = iter(thin)
        count = sum(1 for _ in islice(arrivals, 20_000))
        tracemalloc.reset_peak()
        before = tracemalloc.get_traced_memory()[0]
        count += sum(1 for _ in arrivals)
        grown = tracemalloc.get_traced_memory()[1] - before
    finally:
        tracemalloc.stop()
    assert count == pytest.approx(236_892_823 * 0.0005, rel=0.01)
    assert grown < 4 << 20


@pytest.mark.parametrize(
    ("rows", "line", "code"),
    [
        ("", 2, "trace.empty"),
        (row("a", 0, 1) + "m,a,600,x,1,Gamma,1,1\n", 3, "trace.value"),
        (row("a", 0, -1), 2, "trace.value"),
        (row("a", 0, 1e8), 2, "trace.value"),
        (row("a", 0, 1, kind="Pareto"), 2, "trace.value"),
        (row("a", 0, 1, shape=0), 2, "trace.value"),
        (row("a", 0, 1) + row("a", 0, 1), 3, "trace.unsorted"),
        (row("a", 600, 1) + row("a", 0, 1), 3, "trace.unsorted"),
        (row("a", 0, 1) + "m,a,600\n", 3, "trace.row"),
        (row("", 0, 1), 2, "trace.value"),
    ],
)
def test_broken_rates_are_refused_with_their_line(trace, rows, line, code):
    path = trace(RATES_HEADER + rows)
    error = refused(path, lengths=trace(SAME, "l.csv"))
    assert (error.where, error.code) == (f"{path}:{line}", code)


def test_windows_in_which_all_clients_are_missing_are_refused(trace):
    both = [(client, 600 * n) for n in range(40) if not 20 <= n < 24 for client in "ab"]
    path = trace(RATES_HEADER + "".join(row(client, at, 1) for client, at in both))
    error = refused(path, lengths=trace(SAME, "l.csv"))
    assert (error.where, error.code) == (f"{path}:{2 + 2 * 20}", "trace.gap")
    allowed = read_workload(path, lengths=trace(SAME, "l.csv"), allow_gaps=True)
    assert allowed.seconds == 40 * 600


def test_a_client_that_often_pauses_makes_no_gap(trace):
    rows = "".join(row("a", 600 * n, 1) for n in range(40) if n % 3 == 0)
    path = trace(RATES_HEADER + rows)
    workload = read_workload(path, lengths=trace(SAME, "l.csv"))
    assert workload.seconds == 40 * 600
    assert sum(1 for _ in workload) == 14 * 600


def test_a_model_must_be_chosen_where_there_are_several(trace):
    path = trace(RATES_HEADER + row("a", 0, 1) + row("a", 0, 1).replace("m,", "n,", 1))
    assert "`m`, `n`" in refused(path, lengths=trace(SAME, "l.csv")).hint
    assert "`m`, `n`" in refused(path, lengths=trace(SAME, "l.csv"), model="o").hint


def test_rates_without_lengths_and_lengths_without_rates_are_refused(trace):
    rates, lengths = trace(RATES_HEADER + row("a", 0, 1)), trace(SAME, "l.csv")
    assert refused(rates).code == "trace.lengths"
    assert refused(lengths).code == "trace.unknown"


@pytest.mark.parametrize("bad", ["-5", "x", "nan", "1e12"])
def test_a_quantile_that_is_no_length_is_refused_with_its_line(trace, bad):
    lengths = trace(SAME.replace(",100.0", f",{bad}", 1), "l.csv")
    error = refused(trace(RATES_HEADER + row("a", 0, 1)), lengths=lengths)
    assert (error.where, error.code) == (f"{lengths}:2", "trace.value")


def test_quantiles_that_fall_are_refused_with_their_line(trace):
    sizes = "m,a,0,input_tokens,1," + ",".join(map(str, range(20, 5, -1))) + "\n"
    lengths = trace(LENGTHS_HEADER + sizes, "l.csv")
    error = refused(trace(RATES_HEADER + row("a", 0, 1)), lengths=lengths)
    assert (error.where, error.code) == (f"{lengths}:2", "trace.value")
