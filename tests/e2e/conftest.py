"""One running demo fleet for the tests of a module that only read from it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.e2e.running import Up, up


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Up]:
    """The demo fleet, ready."""
    with up(tmp_path_factory.mktemp("demo")) as running:
        running.event("ready")
        yield running
