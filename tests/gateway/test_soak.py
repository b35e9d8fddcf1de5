"""After callers, engines and the fleet did their worst for a while, nothing is left behind."""

from __future__ import annotations

import pytest

from benchmarks.soak.disasters import Disasters
from benchmarks.soak.load import Load, growth
from tests.gateway.stub import run


@pytest.mark.parametrize("seed", [1, 2])
def test_no_slot_no_count_and_no_connection_is_left_after_random_disasters(seed: int) -> None:
    async def main() -> None:
        soak = Disasters(seed)
        await soak.run(400)
        assert len(soak.done) > 10

    run(main, seconds=60)


def test_memory_does_not_grow_with_the_requests_served() -> None:
    blocks, _ = growth(Load(seed=1).run(20_000))
    assert blocks < 0.1
