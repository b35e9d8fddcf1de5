"""Every console block of the guides is run, and says what the guide says.

`PLIMSOLL_REGENERATE=1 pytest tests/docs` writes the outputs anew.
"""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
GUIDES = sorted((ROOT / "docs" / "guides").glob("*.md"))
BLOCK = re.compile(r"```console\n\$ (?P<command>[^\n]+)\n(?P<output>.*?)```", re.DOTALL)


def said(command: str) -> str:
    """What a command prints, its errors included."""
    words = shlex.split(command)
    assert words[0] == "plimsoll"
    program = str(Path(sys.executable).with_name("plimsoll"))
    done = subprocess.run(
        [program, *words[1:]],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
        env=os.environ | {"NO_COLOR": "1"},
    )
    return done.stdout


@pytest.mark.parametrize("path", GUIDES, ids=lambda path: path.stem)
def test_a_guides_commands_say_what_it_shows(path: Path) -> None:
    text = path.read_text()
    assert BLOCK.search(text)

    def run(match: re.Match[str]) -> str:
        return f"```console\n$ {match['command']}\n{said(match['command'])}```"

    real = BLOCK.sub(run, text)
    if os.environ.get("PLIMSOLL_REGENERATE"):
        path.write_text(real)
    assert path.read_text() == real
