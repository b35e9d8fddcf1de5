from __future__ import annotations

import csv
import gzip
import json
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.planner.silicon import Row, report, rows, score
from plimsoll.plan.deployment import Split

ROW = {
    "silicon_data_source": "source_file=2026-03-25.csv; silicon_concurrency=32; measured=x",
    "backend": "sglang", "backend_version": "0.5.9", "model_path": "deepseek-ai/DeepSeek-R1",
    "system": "h200_sxm", "mode": "agg", "isl": "1024", "osl": "1024", "gemm_quant_mode": "fp8",
    "moe_quant_mode": "fp8_block", "batch_size": "32.0", "tp_size": "8.0",
    "attention_dp_size": "1.0", "moe_tp_size": "8.0", "moe_ep_size": "1.0",
    "silicon_ttft_ms": "338.0", "silicon_tpot_ms": "23.3",
}  # fmt: skip


def written(folder: Path, *changes: dict[str, str]) -> Path:
    """A file of rows, each `ROW` but for its changes."""
    path = folder / "rows.csv"
    made = [ROW | change for change in changes]
    names = sorted({name for row in made for name in row})
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, names)
        writer.writeheader()
        writer.writerows(made)
    return path


def read(folder: Path, **change: str) -> Row:
    [row] = rows(written(folder, change))
    assert row is not None
    return row


def test_a_row_is_read_as_it_was_measured(tmp_path: Path) -> None:
    row = read(tmp_path)
    assert row.deployment.split == Split(tensor=8)
    assert (row.concurrency, row.prompt, row.tpot) == (32, pytest.approx(921.6), 0.0233)
    assert row.deployment.formats.experts == "fp8_block"


@pytest.mark.parametrize(
    ("tensor", "data", "cut", "spread", "meant"),
    [
        ("8", "1", "8", "1", Split(tensor=8)),
        ("64", "1", "8", "8", Split(tensor=8, expert=8)),
        ("1", "64", "8", "8", Split(data=8, expert=8)),
        ("4", "4", "1", "16", Split(data=4, expert=4)),
        ("36", "1", "36", "1", Split(data=36, expert=36)),
        ("4", "", "2", "2", Split(tensor=4, expert=2)),
    ],
)
def test_devices_that_were_counted_twice_are_counted_once(  # noqa: PLR0917  # a table's columns
    tmp_path: Path, tensor: str, data: str, cut: str, spread: str, meant: Split
) -> None:
    row = read(
        tmp_path, tp_size=tensor, attention_dp_size=data, moe_tp_size=cut, moe_ep_size=spread
    )
    assert row.deployment.split == meant


def test_requests_over_several_replicas_are_shared_among_them(tmp_path: Path) -> None:
    row = read(tmp_path, batch_size="8", silicon_data_source="silicon_concurrency=32")
    assert (row.workers, row.concurrency, row.prompt) == (4, 32, 1024)


def test_an_unknown_model_is_not_predicted_and_lowers_the_coverage(tmp_path: Path) -> None:
    result = score(written(tmp_path, {}, {"model_path": "nobody/knows-this"}))
    assert result["coverage"] == 0.5
    assert result["tpot"]["share"] == 0.5


def test_a_broken_row_is_left_out(tmp_path: Path) -> None:
    assert list(rows(written(tmp_path, {"isl": "many"}, {"osl": "0"}))) == [None, None]


def test_rows_of_replicas_apart_are_predicted_whether_or_not_their_number_is_said(
    tmp_path: Path,
) -> None:
    apart = {"mode": "disagg", "decode_tp_size": "8", "decode_moe_ep_size": "8",
             "prefill_tp_size": "8"}  # fmt: skip
    said = apart | {"decode_num_workers": "2", "prefill_num_workers": "1"}
    result = score(written(tmp_path, apart, said))
    assert {mode: part["rows"] for mode, part in result["modes"].items()} == {
        "apart": 1,
        "apart, workers unknown": 1,
    }


def test_the_score_of_a_packed_file_is_printed_as_json(tmp_path: Path) -> None:
    path = written(tmp_path, {})
    packed = tmp_path / "rows.csv.gz"
    packed.write_bytes(gzip.compress(path.read_bytes()))
    ran = subprocess.run(
        [sys.executable, "-m", "benchmarks.planner.score", "--silicon", str(packed), "--json"],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    result = json.loads(ran.stdout)
    assert result["coverage"] == 1.0
    assert result.keys() >= {"tpot", "ttft", "intervals"}
    assert result["tpot"].keys() == {"mean", "median", "p90", "share"}
    assert result["intervals"].keys() == {"tpot", "ttft"}


def test_a_report_has_one_line_per_mode(tmp_path: Path) -> None:
    lines = report(score(written(tmp_path, {}))).splitlines()
    assert lines[0] == "1 rows, 100.0% predicted"
    assert [line.split("|")[1].strip() for line in lines[4:]] == ["all", "together"]
