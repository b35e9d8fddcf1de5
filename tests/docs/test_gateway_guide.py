"""Every program of the gateway's guide is run against the fleet that the guide starts."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.e2e.running import Up, up, wait_for

ROOT = Path(__file__).parents[2]
GUIDE = (ROOT / "docs" / "guides" / "gateway.md").read_text()
BLOCKS = re.findall(r"```(python|sh)\n(.*?)```", GUIDE, re.DOTALL)
ADDRESS = "http://127.0.0.1:8080"
KEYS = {"WEB_KEY": "sk-web-of-the-guide", "REPORTS_KEY": "sk-reports-of-the-guide"}

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Up]:
    with pytest.MonkeyPatch.context() as patch:
        for name, value in KEYS.items():
            patch.setenv(name, value)
        folder = tmp_path_factory.mktemp("guide")
        text = (ROOT / "examples" / "gateway.yaml").read_text()
        with up(folder, fleet=text) as running:
            url = running.url

            def serving() -> bool:
                shown = httpx.get(f"{url}/metrics").text
                return all(
                    f'replicas_ready{{model="{model}"}} {count}.0' in shown
                    for model, count in (("chat", 2), ("spare", 1), ("embed", 1))
                )

            wait_for(serving, what="every replica of the guide's fleet")
            yield running


def test_the_guide_has_programs_of_both_kinds() -> None:
    assert {kind for kind, _ in BLOCKS} == {"python", "sh"}
    assert len(BLOCKS) >= 6


@pytest.mark.parametrize(("kind", "text"), BLOCKS)
def test_a_program_of_the_guide_runs(kind: str, text: str, fleet: Up) -> None:
    text = text.replace(ADDRESS, fleet.url)
    command = {
        "python": [sys.executable, "-W", "error", "-c", text],
        "sh": ["bash", "-euo", "pipefail", "-c", text],
    }[kind]
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        command,
        env={**fleet.environment, **KEYS, "PATH": path},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    if kind == "sh" or "print(" in text:
        assert done.stdout.strip()


def test_no_key_of_the_guides_fleet_is_in_what_it_writes(fleet: Up) -> None:
    said = f"{fleet.events}{fleet.errors}{httpx.get(f'{fleet.url}/metrics').text}"
    assert "plimsoll_gateway_tenant_requests_total" in said
    assert not [key for key in KEYS.values() if key in said]
