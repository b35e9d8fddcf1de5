"""The README's commands hold: its fleet is checked, its curl and its Python are run."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.e2e.running import Up, environment_in, run

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "README.md").read_text()


def block(language: str, containing: str) -> str:
    found = re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL)
    return next(text for text in found if containing in text)


def at(text: str, running: Up) -> str:
    return text.replace("http://127.0.0.1:8080", running.url)


def test_the_readmes_curl_is_answered(demo: Up) -> None:
    command = at(block("sh", "curl "), demo)
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=True)
    assert "KV cache" in json.loads(done.stdout)["choices"][0]["message"]["content"]


def test_the_readmes_python_streams_an_answer(demo: Up) -> None:
    done = subprocess.run(
        [sys.executable, "-c", at(block("python", "OpenAI("), demo)],
        capture_output=True,
        text=True,
        check=True,
        env=demo.environment,
    )
    assert "PagedAttention" in done.stdout or "block" in done.stdout


def test_the_readmes_fleet_is_a_fleet(tmp_path: Path) -> None:
    done = run(
        "check", "-", environment=environment_in(tmp_path), text=block("yaml", "kind: Fleet")
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    "command", sorted(set(re.findall(r"^plimsoll (\w+)", README, re.MULTILINE)))
)
def test_every_command_in_the_readme_exists(command: str, tmp_path: Path) -> None:
    assert run(command, "--help", environment=environment_in(tmp_path)).returncode == 0
