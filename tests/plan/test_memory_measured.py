"""The claim itself: predicted memory is what a real engine really takes."""

from dataclasses import replace

import pytest

from benchmarks.memory.cases import CASES
from benchmarks.memory.measure import measure

BOUND = 0.10
WITHOUT_ROUNDS = [case for case in CASES if not case.settings.prompt_cache]
ONE_BATCH = 520  # tokens that make every buffer as large as it gets


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("case", WITHOUT_ROUNDS, ids=lambda case: case.name.replace(" ", "-"))
def test_predicted_memory_is_within_ten_percent_of_the_measured(case, tmp_path):
    settings = replace(case.settings, checkpoints=0)
    short = replace(case, settings=settings, fill=min(case.fill, ONE_BATCH), rounds=1)
    result = measure(short, tmp_path)
    assert abs(result.ratio - 1) <= BOUND, f"predicted over measured is {result.ratio:.3f}"
