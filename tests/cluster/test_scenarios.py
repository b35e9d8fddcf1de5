"""The scenarios on the mocked API server, and in the cluster of $KUBECONFIG where there is one."""

from __future__ import annotations

import asyncio
import os

import pytest

from tests.cluster.arena import in_cluster, mocked
from tests.cluster.scenarios import SCENARIOS, Scenario

NAMES = [scenario.__name__ for scenario in SCENARIOS]


@pytest.mark.parametrize("scenario", SCENARIOS, ids=NAMES)
def test_on_the_mocked_api_server(scenario: Scenario) -> None:
    async def run() -> None:
        async with mocked() as arena:
            await scenario(arena)

    asyncio.run(run())


@pytest.mark.skipif("KUBECONFIG" not in os.environ, reason="needs a cluster: set KUBECONFIG")
@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("scenario", SCENARIOS, ids=NAMES)
def test_in_a_real_cluster(scenario: Scenario) -> None:
    async def run() -> None:
        async with in_cluster() as arena:
            await scenario(arena)

    asyncio.run(run())
