"""GPU memory against measurements; those beside the project are skipped where they are not."""

import csv
import gzip
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from benchmarks.planner.vram import report, score
from plimsoll.facts.accelerators import device
from plimsoll.facts.catalogue import network
from plimsoll.plan.deployment import Deployment, Formats, Split
from plimsoll.plan.vram import Verdict, blocks, fits
from plimsoll.plan.vram.budget import budget
from plimsoll.units import GIB
from tests.plan.vram.made import plain

MEASURED = Path(__file__).parents[4] / "shared" / "data" / "perf"
FORMATS = {"FP8": "fp8", "FP16": "fp16", "BF16": "bf16", "FP4": "nvfp4"}

here = pytest.mark.skipif(
    not MEASURED.exists(), reason="the measurements lie beside the project, not in it"
)


def rows(name: str) -> list[dict[str, str]]:
    with (MEASURED / name).open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


@here
def test_measured_blocks_are_predicted_within_one_percent() -> None:
    found = score(MEASURED / "vram_ground_truth.csv")
    assert found["share_predicted"] == 1.0
    assert found["kv_blocks"]["largest"] < 1.0
    assert max(map(abs, found["kv_blocks"]["left_out"].values())) < 1.0
    assert found["kv_blocks"]["coverage_of_90"] == 1.0
    assert found["peak_activation"]["largest"] < 1.0
    assert "| kv_blocks | 8 |" in report(found)


def test_a_model_and_device_that_nothing_was_fitted_on() -> None:
    """LLMServingSim's log of vLLM 0.19.0 on an RTX 4090: 2,588 blocks."""
    found = plain(
        accelerator="RTX-4090",
        version="0.19.0",
        context=32_768,
        sequences=256,
        batch_tokens=2048,
        utilization=0.9,
    )
    assert blocks(found) == pytest.approx(2588, rel=0.01)


@pytest.mark.parametrize(
    ("model", "tensor", "experts", "measured"),
    [
        ("Qwen3-0.6B", 1, "bf16", 5.56),
        ("Llama-3.1-70B", 2, "bf16", 4.84),
        ("gpt-oss-20b", 1, "mxfp4", 7.38),
    ],
)
def test_measured_peaks_of_one_step(model: str, tensor: int, experts: str, measured: float) -> None:
    """llm-d-planner's measurements with vLLM's default of 1,024 sequences on an H100."""
    found = plain(
        model,
        version="0.11",
        sequences=1024,
        split=Split(tensor=tensor),
        formats=Formats(experts=experts),
    )
    assert budget(found).peak.bytes / GIB == pytest.approx(measured, rel=0.005)


def published() -> Iterator[tuple[dict[str, str], Verdict]]:
    """TensorRT-LLM's own throughput table: everything in it ran."""
    for row in rows("trtllm_perf_overview.csv"):
        devices, stored = int(row["n_gpu"]), FORMATS[row["precision"]]
        if "DEP" in row["note"]:
            split = Split(data=devices, expert=devices)
        elif "pp=" in row["note"]:
            split = Split(pipeline=devices)
        else:
            split = Split(tensor=int(row["tp"]))
        cache = "fp8" if stored in ("fp8", "nvfp4") else "fp16"
        yield (
            row,
            fits(
                Deployment(
                    network=network(row["model"]),
                    device=device(row["gpu"]),
                    engine="trtllm",
                    version=row["version"],
                    split=split,
                    formats=Formats(weights=stored, experts=stored, cache=cache),
                    context=int(row["isl"]) + int(row["osl"]),
                    sequences=2048,
                )
            ),
        )


def crowded(row: dict[str, str]) -> bool:
    """A 70B model whose weights all but fill its devices."""
    return "70B" in row["model"] and (row["gpu"], row["n_gpu"], row["precision"]) in (
        ("H100-SXM", "1", "FP8"),
        ("H100-SXM", "2", "FP16"),
    )


@here
def test_exactly_the_crowded_rows_are_starved() -> None:
    """All but those of 128 tokens in and out, whose throughput does not suffer either."""
    verdicts = list(published())
    assert all(verdict for _, verdict in verdicts)
    starved = [row for row, verdict in verdicts if verdict.fit == "starved"]
    short = [row for row, _ in verdicts if crowded(row) and row["isl"] == row["osl"] == "128"]
    expected = [row for row, _ in verdicts if crowded(row) and row not in short]
    assert starved == expected
    assert (len(starved), len(short)) == (12, 2)


@here
@pytest.mark.parametrize(
    ("name", "version", "starved"),
    [("splitwise_llama2_bloom.csv", "0.2", 9), ("sageserve_llama3_a100.csv", "0.6", 0)],
)
def test_static_batches_that_ran_are_possible(name: str, version: str, starved: int) -> None:
    found = Counter(
        fits(
            Deployment(
                network=network(row["model"]),
                device=device(row["gpu"].removesuffix("-pcap")),
                version=version,
                split=Split(tensor=int(row["tp"])),
                formats=Formats(weights="fp16", experts="fp16", cache="fp16"),
                context=int(row["isl"]) + int(row["osl"]),
                sequences=int(row["concurrency"].removeprefix("batch=")),
            )
        ).fit
        for row in rows(name)
    )
    assert found["does not fit"] == 0
    assert found["starved"] == starved


def served(row: dict[str, str], prefix: str) -> Deployment | None:
    """One side of a measured configuration; None where the row has none."""

    def number(name: str) -> int:
        return int(float(row[prefix + name] or 1))

    if not number("tp_size"):
        return None
    model = network(row["model_path"])
    weights = row["gemm_quant_mode"] or model.stored
    experts = row["moe_quant_mode"] or model.expert_stored
    if model.expert_stored == "mxfp4":
        weights, experts = "bf16", "mxfp4"
    split = Split(
        tensor=number("tp_size"),
        pipeline=max(1, number("pp_size")),
        data=max(1, number("attention_dp_size")),
        expert=max(1, number("moe_ep_size")),
    )
    return Deployment(
        network=model,
        device=device(row["system"]),
        engine=row["backend"],
        version="" if row["backend"] == "trtllm" else row["backend_version"],
        split=split,
        formats=Formats(weights=weights, experts=experts),
        context=int(row["isl"]) + int(row["osl"]),
        sequences=max(1, number("batch_size")) * split.data,
    )


def contradicts_itself(found: Deployment) -> bool:
    """Rows whose `tp_size` cannot be one: it counts all devices, or none of them all."""
    heads = found.network.layers[0].mixer.heads
    whole = found.split.devices == 1 and found.network.name in (
        "deepseek-ai/DeepSeek-R1",
        "Qwen/Qwen3-235B-A22B-FP8",
    )
    return heads % found.split.tensor > 0 or whole


@here
def test_no_configuration_that_was_measured_is_called_impossible() -> None:
    """But for rows that contradict themselves, such as 671 GB of weights on one device."""
    with gzip.open(MEASURED / "silicon_sample.csv.gz", "rt", encoding="utf-8") as file:
        measured = list(csv.DictReader(file))
    impossible, contradictions = [], 0
    for row in measured:
        for prefix in ("",) if row["mode"] == "agg" else ("prefill_", "decode_"):
            found = served(row, prefix)
            if found is None or fits(found).possible:
                continue
            if contradicts_itself(found):
                contradictions += 1
            else:
                impossible.append((row["id"], fits(found).reason))
    assert impossible == []
    assert contradictions < 0.05 * len(measured) * 2
