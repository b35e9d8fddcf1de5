"""Lines of a trace, plain or compressed; what is broken is said with file and line."""

from __future__ import annotations

import csv
import gzip
import zlib
from collections.abc import Generator
from contextlib import closing
from pathlib import Path
from typing import IO

from plimsoll.errors import InputError

_GZIP = b"\x1f\x8b"
_LONGEST = 1 << 20  # characters of a line; a longer one is of no trace


def lines(path: Path) -> Generator[str, None, None]:
    """The lines of a text file with their ends; a mark of byte order is left out. Whoever stops
    before the end closes it, and the file with it.

    Raises InputError where the file cannot be read, is no text, or ends within compressed data.
    """
    number = 0
    try:
        with _opened(path) as file:
            while line := file.readline(_LONGEST):
                number += 1
                if len(line) == _LONGEST:
                    raise InputError(
                        f"longer than {_LONGEST} characters",
                        where=f"{path}:{number}",
                        hint=KINDS,
                        code="trace.line",
                    )
                yield line
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise InputError(
            f"the compressed data is not whole: {error}",
            where=f"{path}:{number + 1}",
            hint="fetch the file again, or check it with `gzip --test`",
            code="trace.truncated",
        ) from error
    except UnicodeDecodeError as error:
        raise InputError(
            f"not UTF-8 text: {error.reason}",
            where=f"{path}:{number + 1}",
            hint="give a trace as CSV or as JSON lines, plain or compressed with gzip",
            code="trace.not-text",
        ) from error
    except OSError as error:
        raise InputError(
            f"cannot be read: {error.strerror or error}",
            where=str(path),
            hint="check the path and who may read it",
            code="trace.unreadable",
        ) from error


def first_line(path: Path) -> str:
    """The first line without its end. Raises InputError where it is empty or no text."""
    with closing(lines(path)) as text:
        first = next(text, "").strip()
    if first:
        return first
    raise InputError("nothing in the first line", where=f"{path}:1", hint=KINDS, code="trace.empty")


KINDS = (
    "a trace is a CSV file with the columns TIMESTAMP, ContextTokens, GeneratedTokens (Azure) or "
    "model, client, t_s, rate_rps, cv, iat_dist, p1, p2 (ServeGen), or JSON lines with timestamp, "
    "input_length, output_length, hash_ids (Mooncake)"
)
"""What files can be read, as a hint."""


def table(path: Path, columns: frozenset[str]) -> Generator[tuple[int, list[str]], None, None]:
    """Line number and cells of each row below the header; rows without cells are left out.

    The first pair is the header itself. Raises InputError where a column is missing, unknown or
    twice, or a row has not as many cells as the header.
    """
    with closing(lines(path)) as text:
        rows = csv.reader(text, strict=True)
        try:
            header = next(rows, [])
            check_columns(header, columns, path)
            yield 1, header
            width = len(header)
            for row in rows:
                if len(row) != width:
                    if not row:
                        continue
                    raise InputError(
                        f"{len(row)} cells, where the header has {width}",
                        where=f"{path}:{rows.line_num}",
                        hint="a row may be cut off, or have a comma too many",
                        code="trace.row",
                    )
                yield rows.line_num, row
        except csv.Error as error:
            raise InputError(
                f"not CSV: {error}",
                where=f"{path}:{rows.line_num}",
                hint="see whether a quote is not closed",
                code="trace.row",
            ) from error


def check_columns(found: list[str], known: frozenset[str], path: Path) -> None:
    """Raise InputError unless a header has exactly these columns, in any order."""
    missing = sorted(known - set(found))
    unknown = sorted(set(found) - known)
    twice = sorted({name for name in found if found.count(name) > 1})
    faults = [
        f"{what} {', '.join(f'`{name}`' for name in names)}"
        for what, names in (("no column", missing), ("unknown", unknown), ("twice", twice))
        if names
    ]
    if faults:
        raise InputError(
            "; ".join(faults), where=f"{path}:1", hint=KINDS, code="trace.unknown-columns"
        )


def _opened(path: Path) -> IO[str]:
    with path.open("rb") as file:
        compressed = path.suffix == ".gz" or file.read(2) == _GZIP
    if compressed:
        return gzip.open(path, "rt", encoding="utf-8-sig", newline="")
    return path.open(encoding="utf-8-sig", newline="")
