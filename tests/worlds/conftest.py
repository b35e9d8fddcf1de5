from __future__ import annotations

from pathlib import Path

import pytest

from tests.worlds.local.harness import write_model


@pytest.fixture(scope="session")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A whole model of random weights."""
    return write_model(tmp_path_factory.mktemp("models") / "tiny.gguf")


@pytest.fixture(scope="session")
def unknown_architecture(weights: Path) -> Path:
    """The same model, of an architecture that does not exist."""
    path = weights.with_name("unknown.gguf")
    path.write_bytes(weights.read_bytes().replace(b"llama", b"lambd"))
    return path


@pytest.fixture(scope="session")
def truncated(weights: Path) -> Path:
    """The same model without its last third."""
    path = weights.with_name("truncated.gguf")
    path.write_bytes(weights.read_bytes()[: weights.stat().st_size * 2 // 3])
    return path
