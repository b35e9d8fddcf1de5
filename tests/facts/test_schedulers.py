import datetime as dt

import pytest

from plimsoll.facts.schedulers import scheduler, schedulers


@pytest.mark.parametrize("row", schedulers(), ids=lambda row: row.name)
def test_every_row_has_a_source_and_a_date(row):
    assert row.source
    assert dt.date(2026, 1, 1) <= row.date <= dt.date(2027, 12, 31)


@pytest.mark.parametrize(
    ("version", "ahead", "reserves"),
    [("0.7.3", 0, False), ("0.13.9", 0, False), ("0.14.0", 1, False), ("0.19.1", 1, True)],
)
def test_a_release_makes_batches_as_the_newest_row_before_it(version, ahead, reserves):
    row = scheduler("vllm", version)
    assert (row.steps_ahead, row.reserve_prompt) == (ahead, reserves)


def test_no_release_is_the_newest_and_no_engine_is_vllm():
    assert scheduler("vllm") == schedulers()[-1]
    assert scheduler("unheard-of") == scheduler("vllm")


def test_graphs_are_captured_up_to_twice_the_requests_at_once():
    sizes = scheduler("vllm").graph_sizes
    assert sizes.sizes(16) == (1, 2, 4, 8, 16, 24, 32)
    assert sizes.sizes(256)[-3:] == (480, 496, 512)
    assert sizes.sizes(1024) == sizes.sizes(256)
