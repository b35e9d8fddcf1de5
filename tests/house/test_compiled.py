"""The compiled path of a request does what the interpreted one does."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SITE = (
    ROOT / ".venv-compiled" / "lib"
    / f"python{sys.version_info.major}.{sys.version_info.minor}" / "site-packages"
)  # fmt: skip
TESTED = (
    "tests/policy/requests", "tests/policy/routing", "tests/gateway", "tests/telemetry",
    "tests/worlds/virtual",
)  # fmt: skip


def compiled() -> list[Path]:
    """Sources, as they were compiled; skips where they are not what they are now."""
    installed = SITE / "plimsoll"
    found = [file.with_name(file.name.partition(".")[0] + ".py") for file in
             installed.rglob("*.so")]  # fmt: skip
    if not (ROOT / ".venv-compiled" / ".made").exists() or not found:
        pytest.skip("not compiled: run `make compiled`")
    for file in found:
        if file.read_bytes() != (ROOT / "src/plimsoll" / file.relative_to(installed)).read_bytes():
            pytest.skip(f"{file.name} was changed since it was compiled: run `make compiled`")
    return found


def test_what_a_request_passes_is_compiled() -> None:
    names = {file.stem for file in compiled()}
    assert {"exchange", "dispatcher", "prefix", "metrics", "connection"} <= names
    assert len(names) > 30


@pytest.mark.slow
@pytest.mark.timeout(1500)
def test_compiled_code_passes_the_tests_of_policy_gateway_and_simulator() -> None:
    compiled()
    show = "import plimsoll.gateway.exchange as e; print(e.__file__)"
    environment = {**os.environ, "PYTHONPATH": str(SITE)}
    shown = subprocess.run(
        [sys.executable, "-c", show], env=environment, capture_output=True, text=True, check=True
    )
    assert shown.stdout.strip().endswith(".so")
    done = subprocess.run(
        [
            sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider",
            "-m", "not slow and not interpreted", *TESTED,
        ],
        cwd=ROOT, env=environment, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]
