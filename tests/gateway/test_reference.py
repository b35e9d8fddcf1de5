"""`PLIMSOLL_REGENERATE=1 pytest tests/gateway/test_reference.py` writes the page anew."""

from __future__ import annotations

import os
import re
from pathlib import Path

from plimsoll.gateway.errors import TABLE
from plimsoll.gateway.reference_page import reference
from plimsoll.gateway.surfaces import SURFACES
from plimsoll.telemetry.metrics import GATEWAY
from tests.gateway.stub import StubEngine, chat, rig, run

PAGE = Path(__file__).parents[2] / "docs" / "reference" / "gateway.md"


def test_the_page_says_what_the_tables_say() -> None:
    if os.environ.get("PLIMSOLL_REGENERATE"):
        PAGE.write_text(reference(), encoding="utf-8")
        return
    assert PAGE.read_text(encoding="utf-8") == reference(), "regenerate it, see above"


def test_every_code_path_and_metric_is_on_the_page() -> None:
    text = reference()
    for code, row in TABLE.items():
        assert f"| {row.status} | `{code}` |" in text
    for path in SURFACES:
        assert f"`POST {path.decode()}`" in text
    assert all(f"`{each.name}" in text for each in GATEWAY)


def test_every_family_that_a_gateway_shows_is_on_the_page() -> None:
    async def main() -> None:
        async with rig(StubEngine()) as the:
            assert (await the.ask(chat())).status == 200
            shown = re.findall(r"^# TYPE (plimsoll_\w+) ", the.numbers(), re.MULTILINE)
            assert shown
            assert [name for name in shown if f"`{name}`" not in reference()] == []

    run(main)


def test_every_cell_of_the_page_is_filled_except_labels_and_retries() -> None:
    for line in reference().splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if line.startswith("| "):
            assert all(cells[:2]), line
