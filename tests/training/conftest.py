"""A real llama.cpp server of the shipped demo model, and the corpus it was trained on."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.training.engine import Server, serving
from training.demo.corpus import SHIPPED, Corpus, read_corpus


@pytest.fixture(scope="module")
def corpus() -> Corpus:
    return read_corpus()


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with serving(SHIPPED, slots=4) as running:
        yield running
