from __future__ import annotations

from pathlib import Path

import pytest

from tests.worlds.local.harness import write_model


@pytest.fixture(scope="session")
def gguf(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A whole GGUF model of random weights."""
    return write_model(tmp_path_factory.mktemp("models") / "tiny.gguf")
