"""Made-up traffic has the rate, the unevenness and the repetition that was asked for."""

import statistics
from collections import defaultdict
from itertools import pairwise

import pytest

from plimsoll.errors import InputError
from plimsoll.worlds.virtual.workloads.lengths import LogNormal, PromptAndAnswer
from plimsoll.worlds.virtual.workloads.sessions import Sessions, SharedPrompt
from plimsoll.worlds.virtual.workloads.synthetic import Synthetic, Week
from plimsoll.worlds.virtual.workloads.types import BLOCK_TOKENS

LENGTHS = PromptAndAnswer(prompt=LogNormal(mean=800, spread=0.8), answer=LogNormal(mean=100))
DAY = 86400


@pytest.mark.parametrize("burst", [0.5, 1, 3])
def test_rate_and_unevenness_are_as_asked(burst):
    arrivals = list(Synthetic(rate=4, seconds=10_000, lengths=LENGTHS, burst=burst))
    gaps = [b.at - a.at for a, b in pairwise(arrivals)]
    assert len(arrivals) == pytest.approx(40_000, rel=0.05)
    assert statistics.pstdev(gaps) / statistics.mean(gaps) == pytest.approx(burst, rel=0.05)
    assert min(gaps) >= 0


def test_lengths_have_their_mean_and_bounds():
    lengths = LogNormal(mean=500, spread=2, longest=4000)
    arrivals = list(
        Synthetic(
            rate=9,
            seconds=5000,
            lengths=PromptAndAnswer(prompt=LogNormal(mean=800), answer=lengths),
        )
    )
    assert statistics.mean(a.prompt_tokens for a in arrivals) == pytest.approx(800, rel=0.05)
    assert max(a.output_tokens for a in arrivals) == 4000
    assert min(a.output_tokens for a in arrivals) >= 1


def test_a_day_has_its_busiest_hour_and_a_week_its_days():
    week = Week(swing=0.8, busiest=15, weekdays=(1, 1, 1, 1, 1, 0.5, 0))
    workload = Synthetic(rate=0.5, seconds=7 * DAY, lengths=LENGTHS, week=week)
    hours, days = defaultdict(int), defaultdict(int)
    for each in workload:
        days[int(each.at // DAY)] += 1
        hours[int(each.at % DAY // 3600)] += 1
    assert max(hours, key=hours.__getitem__) in (14, 15)
    assert min(hours, key=hours.__getitem__) in (2, 3)
    assert days[0] == pytest.approx(0.5 * DAY, rel=0.03)
    assert days[5] == pytest.approx(0.25 * DAY, rel=0.03)
    assert days[6] == 0


def test_bursts_are_as_uneven_where_the_rate_is_low():
    workload = Synthetic(
        rate=1,
        seconds=2 * DAY,
        lengths=LENGTHS,
        burst=3,
        week=Week(weekdays=(1, 0.2, 1, 1, 1, 1, 1)),
    )
    second = [each.at for each in workload if each.at >= DAY]
    gaps = [b - a for a, b in pairwise(second)]
    assert statistics.pstdev(gaps) / statistics.mean(gaps) == pytest.approx(3, rel=0.25)


def test_sessions_keep_the_rate_from_the_first_minute_on():
    ats = [each.at for each in Sessions(rate=5, seconds=6000)]
    assert ats == sorted(ats)
    assert ats[0] >= 0
    assert ats[-1] < 6000
    assert len(ats) == pytest.approx(30_000, rel=0.05)
    assert sum(at < 600 for at in ats) == pytest.approx(3000, rel=0.15)


def test_a_turn_repeats_all_whole_blocks_of_the_turn_before():
    last = {}
    repeated = 0
    for each in Sessions(rate=3, seconds=3000, prompts=(SharedPrompt(tokens=1500),)):
        assert len(each.blocks) == -(-each.prompt_tokens // BLOCK_TOKENS)
        before = last.get(each.session)
        if before is not None:
            whole = before.prompt_tokens // BLOCK_TOKENS
            assert each.blocks[:whole] == before.blocks[:whole]
            assert each.prompt_tokens > before.prompt_tokens + before.output_tokens
            repeated += 1
        last[each.session] = each
    assert repeated > 1000


def test_conversations_share_the_whole_blocks_of_their_first_prompt_and_no_more():
    prompts = (SharedPrompt(tokens=1100, weight=3), SharedPrompt(tokens=5000, weight=1))
    of = defaultdict(set)
    for each in Sessions(rate=3, seconds=2000, prompts=prompts):
        for block in each.blocks:
            of[block].add(each.session)
    shared = [block for block, sessions in of.items() if len(sessions) > 1]
    assert len(shared) == 1100 // BLOCK_TOKENS + 5000 // BLOCK_TOKENS


def test_no_prompt_is_longer_than_the_longest():
    workload = Sessions(rate=3, seconds=3000, turns=50, longest=8000)
    assert max(each.prompt_tokens for each in workload) <= 8000


def test_the_same_seed_makes_the_same_conversations():
    first, again, other = (list(Sessions(rate=1, seconds=500, seed=seed)) for seed in (1, 1, 2))
    assert first == again != other


@pytest.mark.parametrize(
    "make",
    [
        lambda: Synthetic(rate=0, seconds=1, lengths=LENGTHS),
        lambda: Synthetic(rate=1, seconds=float("inf"), lengths=LENGTHS),
        lambda: Synthetic(rate=1, seconds=1, lengths=LENGTHS, burst=0),
        lambda: LogNormal(mean=0),
        lambda: LogNormal(mean=10, spread=-1),
        lambda: Week(swing=2),
        lambda: Week(weekdays=(1, 1)),
        lambda: Sessions(rate=1, seconds=1, turns=0.5),
        lambda: Sessions(rate=1, seconds=1, prompts=()),
        lambda: Sessions(rate=1, seconds=1, prompts=(SharedPrompt(tokens=-1),)),
    ],
)
def test_what_cannot_be_drawn_is_refused_with_a_hint(make):
    with pytest.raises(InputError) as caught:
        make()
    assert caught.value.hint
