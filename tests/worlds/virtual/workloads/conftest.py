"""Small traces of every kind, written to a folder."""

import gzip
from collections.abc import Callable
from pathlib import Path

import pytest

SHARED = Path(__file__).parents[5] / "shared" / "data" / "traces"
LEVELS = "q1,q5,q10,q20,q30,q40,q50,q60,q70,q80,q90,q95,q99,q99.9,q100"
RATES_HEADER = "model,client,t_s,rate_rps,cv,iat_dist,p1,p2\n"
LENGTHS_HEADER = f"model,client,t_s,field,mean,{LEVELS}\n"


@pytest.fixture
def trace(tmp_path: Path) -> Callable[..., Path]:
    """Writes a file of this text; compressed where the name ends in `.gz`."""

    def write(text: str, name: str = "trace.csv") -> Path:
        path = tmp_path / name
        data = text.encode()
        path.write_bytes(gzip.compress(data) if name.endswith(".gz") else data)
        return path

    return write


@pytest.fixture
def public() -> Callable[[str], Path]:
    """A public trace, where the folder beside the repository has it."""

    def find(name: str) -> Path:
        path = SHARED / name
        if not path.exists():
            pytest.skip(f"no ../shared/data/traces/{name}")
        return path

    return find


def lengths_of(model: str, client: str, prompt: float, output: float, start: int = 0) -> str:
    """Two rows of lengths that are all the same."""
    return "".join(
        f"{model},{client},{start},{field},{size}," + ",".join([str(float(size))] * 15) + "\n"
        for field, size in (("input_tokens", prompt), ("output_tokens", output))
    )
