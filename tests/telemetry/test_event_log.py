from __future__ import annotations

import io
import json
import logging
from collections.abc import Iterator

import pytest

from plimsoll.telemetry.event_log import log_events


@pytest.fixture(autouse=True)
def _restored() -> Iterator[None]:
    logger = logging.getLogger("plimsoll")
    before = (logger.handlers[:], logger.level, logger.propagate)
    yield
    logger.handlers[:], _, logger.propagate = before
    logger.setLevel(before[1])


def test_a_line_is_one_json_object_with_its_fields_and_no_line_break() -> None:
    stream = io.StringIO()
    log_events(stream, level="info", as_json=True)
    log = logging.getLogger("plimsoll.worlds")
    log.debug("too small")
    log.warning("lost %s\n", "it", extra={"fields": {"code": "cluster.expired"}})
    (line,) = stream.getvalue().splitlines()
    said = json.loads(line)
    assert said.pop("time").endswith("+00:00")
    assert said == {
        "level": "warning", "logger": "plimsoll.worlds", "message": "lost it\n",
        "code": "cluster.expired",
    }  # fmt: skip


def test_a_fault_carries_its_traceback_in_the_same_line() -> None:
    stream = io.StringIO()
    log_events(stream, level="info", as_json=True)
    try:
        int("no")
    except ValueError:
        logging.getLogger("plimsoll.x").exception("a fault")
    (line,) = stream.getvalue().splitlines()
    assert "ValueError: invalid literal" in json.loads(line)["exception"]


def test_the_last_setting_holds_alone() -> None:
    first, second = io.StringIO(), io.StringIO()
    log_events(first, level="info", as_json=True)
    log_events(second, level="error", as_json=False)
    logging.getLogger("plimsoll.x").error("once")
    logging.getLogger("plimsoll.x").info("never")
    assert first.getvalue() == ""
    assert second.getvalue().endswith("ERROR once\n")
