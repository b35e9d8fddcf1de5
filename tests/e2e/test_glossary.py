"""The demo model answers its glossary through the gateway, streamed and not."""

from __future__ import annotations

import pytest

from tests.e2e.running import Up
from training.demo.corpus import read_corpus
from training.demo.evaluate import Endpoint, evaluate


@pytest.mark.slow
def test_at_least_95_percent_of_the_glossary_is_exact_through_the_gateway(demo: Up) -> None:
    endpoint = Endpoint(base_url=f"{demo.url}/v1", model="demo")
    report = evaluate(endpoint, read_corpus(), workers=8, full=False)
    assert report.passes(0.95), report
    assert report.streams_that_differ == []
