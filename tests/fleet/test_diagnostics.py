"""Golden diagnostics: each file is an input, a ruled line, and what `load_fleet` says of it.

`PLIMSOLL_REGENERATE=1 pytest tests/fleet/test_diagnostics.py` writes the expected half anew.
An input may be several files, each after a line `=== NAME`; after `=== NAME (escaped)` the text
holds Python escapes of bytes and its line ends do not count.
"""

from __future__ import annotations

import codecs
import os
import re
from pathlib import Path

import pytest

from plimsoll.errors import FleetError
from plimsoll.fleet import Document, load_fleet

GOLDEN = Path(__file__).parents[1] / "golden" / "fleet"
RULED = re.compile(r"^-{60}\n", re.MULTILINE)
FILES = sorted(GOLDEN.glob("*.txt"))


def documents(text: str) -> list[Document]:
    if not text.startswith("=== "):
        return [Document(file="fleet.yaml", text=text)]
    found = []
    for part in text.removeprefix("=== ").split("\n=== "):
        name, _, body = part.partition("\n")
        content: str | bytes = body
        if name.endswith(" (escaped)"):
            name = name.removesuffix(" (escaped)")
            content = codecs.escape_decode(body.replace("\n", ""))[0]
        found.append(Document(file=name, text=content))
    return found


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_a_broken_file_is_explained_as_agreed(file: Path) -> None:
    given, expected = RULED.split(file.read_text(encoding="utf-8"))
    with pytest.raises(FleetError) as caught:
        load_fleet(documents(given))
    said = "".join(f"{one}\n    [{one.code}]\n" for one in caught.value.diagnostics)
    if os.environ.get("PLIMSOLL_REGENERATE"):
        file.write_text(f"{given}{'-' * 60}\n{said}", encoding="utf-8")
        return
    assert said == expected


def test_there_are_enough_golden_diagnostics() -> None:
    assert len(FILES) >= 45


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_every_diagnostic_points_into_its_file(file: Path) -> None:
    given, _ = RULED.split(file.read_text(encoding="utf-8"))
    sources = {one.file: one.text for one in documents(given)}
    with pytest.raises(FleetError) as caught:
        load_fleet(documents(given))
    for one in caught.value.diagnostics:
        text = sources[one.file]
        lines = (text.decode("latin-1") if isinstance(text, bytes) else text).split("\n")
        assert 1 <= one.line <= len(lines)
        assert 1 <= one.column <= len(lines[one.line - 1]) + 1
