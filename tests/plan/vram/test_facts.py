"""The constants of GPU memory: complete, known by name, and the newest that a version has."""

import csv
from importlib.resources import files

import pytest
from msgspec.structs import fields

from plimsoll.facts.accelerators import accelerators, device
from plimsoll.facts.vram import (
    DeviceMemory,
    EngineMemory,
    default_batch_tokens,
    driver_held,
    engine_memory,
)

DATA = files("plimsoll.facts").joinpath("data")
TABLES = (
    "vram_engines.csv",
    "vram_devices.csv",
    "vram_batch_tokens.csv",
    "vram_kept.csv",
    "vram_workspaces.csv",
)


def rows(name: str) -> list[dict[str, str]]:
    return list(csv.DictReader(DATA.joinpath(name).read_text(encoding="utf-8").splitlines()))


def test_every_constant_has_a_field_that_reads_it() -> None:
    engine = {field.name for field in fields(EngineMemory)} | {"same_as"}
    assert {row["name"] for row in rows("vram_engines.csv")} == engine
    assert {row["name"] for row in rows("vram_devices.csv")} == {
        field.name for field in fields(DeviceMemory)
    }


@pytest.mark.parametrize("name", TABLES)
def test_every_row_says_where_it_is_from_and_when(name: str) -> None:
    assert all(row["source"] and row["date"] >= "2026-11-01" for row in rows(name))


@pytest.mark.parametrize(
    ("version", "share", "counted"),
    [("0.15.1", 0.9, False), ("0.19.0", 0.9, False), ("0.20", 0.92, True), ("", 0.92, True)],
)
def test_a_version_has_the_newest_rows_up_to_it(version: str, share: float, counted: bool) -> None:
    facts = engine_memory("vllm", version)
    assert (facts.utilization, facts.graphs_counted) == (share, counted)


def test_a_version_without_a_number_is_the_newest() -> None:
    assert engine_memory("vllm", "nightly-5b8c30d6") == engine_memory("vllm")


def test_the_default_step_follows_the_device() -> None:
    assert [
        default_batch_tokens("vllm", found.memory, found.generation)
        for found in map(device, ("L40S", "A100-80GB", "H100", "B200"))
    ] == [2048, 2048, 8192, 16_384]


@pytest.mark.parametrize("name", sorted(accelerators()))
def test_the_driver_keeps_little(name: str) -> None:
    found = device(name)
    assert 0 <= driver_held(found) < 0.05 * found.memory
