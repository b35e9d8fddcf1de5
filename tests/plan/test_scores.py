"""The planner against what others measured: errors stay where the benchmarks' README says."""

from __future__ import annotations

import csv
import gzip
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
DATA = ROOT.parent / "shared" / "data" / "perf"
FILES = {
    "silicon": "silicon_sample.csv.gz",
    "throughput": "trtllm_perf_overview.csv",
    "under-load": "vllm_under_load.csv",
    "vram": "vram_ground_truth.csv",
}
MEASURED = pytest.mark.skipif(
    not DATA.is_dir(), reason="the measured sets are not beside this checkout"
)


def scored(kind: str, path: Path) -> dict[str, Any]:
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.planner.score", f"--{kind}", str(path), "--json"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    result: dict[str, Any] = json.loads(done.stdout)
    return result


@MEASURED
def test_latencies_at_a_concurrency_are_predicted() -> None:
    result = scored("silicon", DATA / FILES["silicon"])
    assert result["coverage"] >= 0.95
    assert result["tpot"]["median"] <= 8
    assert result["tpot"]["mean"] <= 12
    assert result["ttft"]["median"] <= 20
    assert all(share >= 0.88 for share in result["intervals"].values())


@MEASURED
def test_throughput_at_full_load_is_predicted() -> None:
    result = scored("throughput", DATA / FILES["throughput"])
    assert result["coverage"] >= 0.95
    assert result["throughput"]["mean"] <= 7
    assert result["intervals"] >= 0.88


@MEASURED
def test_latencies_under_load_are_predicted() -> None:
    result = scored("under-load", DATA / FILES["under-load"])
    assert result["coverage"] == 1
    assert result["tpot"]["median"] <= 7.1
    assert result["ttft"]["median"] <= 17.6
    assert result["e2e"]["median"] <= 6.7


@MEASURED
def test_kv_blocks_are_predicted_within_one_percent() -> None:
    result = scored("vram", DATA / FILES["vram"])
    assert result["coverage"] == 1
    assert result["kv_blocks"]["largest"] <= 1


@MEASURED
@pytest.mark.parametrize("kind", list(FILES))
def test_rows_that_cannot_be_read_are_counted_and_nothing_breaks(kind: str, tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    source = DATA / FILES[kind]
    packed = source.read_bytes()
    text = (gzip.decompress(packed) if source.suffix == ".gz" else packed).decode()
    rows = list(csv.reader(text.splitlines()[:40]))
    kept = [rows[0].index(name) for name in ("metric", "quantity", "unit") if name in rows[0]]
    for number, row in enumerate(rows[2:]):
        if number % 3:
            broken = "?" if number % 3 == 1 else ""
            row[:] = [cell if i in kept else broken for i, cell in enumerate(row)]
    with path.open("w", newline="") as file:
        csv.writer(file).writerows(rows)
    assert 0 < scored(kind, path)["coverage"] < 1


def test_a_file_that_is_not_there_is_said() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.planner.score", "--vram", "nowhere.csv"],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 1
    assert "nowhere.csv: No such file" in done.stderr
    assert "Traceback" not in done.stderr
