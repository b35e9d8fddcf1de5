"""Fits what kernels reach on each generation from measured kernel times.

`python -m benchmarks.planner.fit_kernels [OP_TABLES]` rewrites facts/data/speed_kernels.csv.
Needs pandas, pyarrow and scipy.
"""

from __future__ import annotations

import csv
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd  # type: ignore[import-untyped]
from scipy.optimize import least_squares

from plimsoll.facts.throughput import saturation_constants

Array = np.ndarray[Any, Any]

TABLES = Path("../shared/data/perf/op_tables")
FACTS = Path("src/plimsoll/facts/data/speed_kernels.csv")
SOURCE = "kernel times of ai-dynamo/aiconfigurator systems data"
RING_SOURCE = (
    "starts: NCCL 2.27.3 on L40S in ai-dynamo/aiconfigurator systems data; share of the link: "
    "link.pcie of saturation_constants.csv"
)
DATE = "2026-11-21"
# Peaks as in systems/*.yaml: bytes per second, operations per second, link bytes per second.
PEAKS: dict[str, tuple[str, float, dict[str, float], float]] = {
    "a100": ("ampere", 2.039e12, {"bf16": 312e12}, 300e9),
    "l40s": ("ada", 0.864e12, {"bf16": 362.05e12, "fp8": 733e12}, 32e9),
    "h100": ("hopper", 3.35e12, {"bf16": 989e12, "fp8": 1978e12}, 450e9),
    "h200": ("hopper", 4.8e12, {"bf16": 989e12, "fp8": 1978e12}, 450e9),
    "b200": ("blackwell", 7.7e12, {"bf16": 2250e12, "fp8": 4500e12, "fp4": 9000e12}, 900e9),
}
FORMATS = {
    "bfloat16": ("bf16", 16.0, "bf16"),
    "fp8": ("fp8", 8.0, "fp8"),
    "fp8_block": ("fp8_block", 8.0, "fp8"),
    "nvfp4": ("nvfp4", 4.5, "fp4"),
    "int4_wo": ("int4", 4.125, "bf16"),
    "w4a16_mxfp4": ("mxfp4", 4.25, "bf16"),
    "w4a8_mxfp4_mxfp8": ("mxfp4", 4.25, "fp8"),
}
SAMPLE = 4000  # rows of one kernel that are fitted
_SMALL = 4096  # elements of an exchange that is nothing but its start
_CELLS = 8  # of a kernel, before its source


def load(kind: str, tables: Path) -> pd.DataFrame:
    """All tables of one kind, with generation and peaks beside each row."""
    parts = []
    for path in sorted(tables.glob(f"*{kind}_perf.parquet")):
        part = pd.read_parquet(path)
        part["generation"], part["bandwidth"], _, part["link"] = PEAKS[path.name.split("_")[0]]
        part["gpu"] = path.name.split("_")[0]
        parts.append(part)
    every = pd.concat(parts)
    return every[every.latency > 0]


def solve(
    rows: pd.DataFrame, law: Callable[[pd.DataFrame, Any], Any], first: tuple[float, ...]
) -> Array:
    """The positive parameters of a law, by robust least squares on logarithms of seconds."""
    rows = rows.sample(min(len(rows), SAMPLE), random_state=0)
    measured = np.log(rows.latency.to_numpy() * 1e-3)

    def off(parameters: Any) -> Any:
        return np.log(law(rows, np.exp(parameters)).to_numpy()) - measured

    start = np.log(np.array(first))
    found: Array = np.exp(least_squares(off, start, loss="soft_l1", f_scale=0.15).x)
    return found


def joined(one: Any, other: Any) -> Any:
    """The longer of two overlapping times."""
    return (one**3 + other**3) ** (1 / 3)


def products(tables: Path) -> list[list[object]]:
    """Products of matrices: start, share of bandwidth, share of operations."""
    every = load("gemm", tables)
    every = every[(every.k >= 512) & (every.n >= 512)]
    names = ["gpu", "generation", "framework", "bandwidth", "gemm_dtype", "m", "n", "k"]
    every = every.groupby(names).latency.min().reset_index()
    out: list[list[object]] = []
    for (generation, dtype), some in every.groupby(["generation", "gemm_dtype"]):
        name, bits, compute = FORMATS[dtype]
        if name == "fp8_block":
            continue  # beyond small shapes these follow no law of this form; fp8 stands for it
        rows = some.assign(
            peak=[PEAKS[gpu][2][compute] for gpu in some.gpu],
            bytes=some.n * some.k * bits / 8 + some.m * (some.k * bits / 8 + some.n * 2),
        )

        def law(r: pd.DataFrame, p: Any) -> Any:
            return p[0] * 1e-6 + joined(
                r.bytes / (r.bandwidth * p[1]), 2 * r.m * r.n * r.k / (r.peak * p[2])
            )

        p = solve(rows, law, (5.0, 0.8, 0.6))
        out.append(["product", generation, name, p[0] * 1e-6, p[1], p[2], 1.0, compute])
    return out


def mixtures(tables: Path) -> list[list[object]]:
    """Experts of one layer: start, shares of bandwidth, operations and activations' bandwidth."""
    every = load("moe", tables)
    every = every[
        (every.distribution == "power_law_1.2")
        & (every.num_experts >= 32)
        & (every.moe_ep_size <= 16)
    ]
    missed = (1 - every.topk / every.num_experts) ** every.num_tokens
    every["used"] = every.num_experts * (1 - missed) / every.moe_ep_size
    every["chosen"] = every.num_tokens * every.topk / every.moe_ep_size
    every["width"] = every.inter_size / every.moe_tp_size
    out: list[list[object]] = []
    taken = set()
    for (generation, dtype), some in sorted(every.groupby(["generation", "moe_dtype"]), key=_last):
        name, bits, compute = FORMATS[dtype]
        if (generation, name) in taken or (generation == "hopper" and name == "fp8"):
            continue  # that kernel is 5 times slower than the block-wise one, and rarely served
        taken.add((generation, name))
        rows = some.assign(
            peak=[PEAKS[gpu][2][compute] for gpu in some.gpu],
            bytes=some.used * 3 * some.hidden_size * some.width * bits / 8,
            flops=2 * some.chosen * 3 * some.hidden_size * some.width,
            moved=some.chosen * (some.hidden_size * 4 + some.width * 6),
        )

        def law(r: pd.DataFrame, p: Any) -> Any:
            both = joined(r.bytes / (r.bandwidth * p[1]), r.flops / (r.peak * p[2]))
            return p[0] * 1e-6 + both + r.moved / (r.bandwidth * p[3])

        p = solve(rows, law, (20.0, 0.8, 0.3, 0.5))
        out.append(["mixture", generation, name, p[0] * 1e-6, p[1], p[2], p[3], compute])
    return out


def _last(group: Any) -> tuple[str, int]:
    """Kernels that compute in fewer bits first: engines prefer them."""
    return str(group[0][0]), -len(str(group[0][1]))


def attentions(tables: Path) -> list[list[object]]:
    """Decoding attention: start and share of bandwidth."""
    every = load("generation_attention", tables)
    every = every[every.window_size.fillna(0) == 0]
    out: list[list[object]] = []
    for (generation, cache), some in every.groupby(["generation", "kv_cache_dtype"]):
        name, bits, _ = FORMATS[cache]
        context = some.step + some.isl
        kept = some.num_key_value_heads * 2 * some.head_dim * bits / 8
        rows = some.assign(bytes=some.batch_size * context * kept)

        def law(r: pd.DataFrame, p: Any) -> Any:
            each = r.batch_size * p[2] * 1e-9
            return p[0] * 1e-6 + r.bytes / (r.bandwidth * p[1]) + each

        p = solve(rows, law, (8.0, 0.7, 10.0))
        out.append(["attention", generation, name, p[0] * 1e-6, p[1], 1.0, 1.0, "bf16"])
    return out


def prompts(tables: Path) -> list[list[object]]:
    """Attention over prompts: start and share of operations."""
    every = load("context_attention", tables)
    every = every[
        (every.window_size.fillna(0) == 0)
        & (every.isl >= 128)
        & (every.kv_cache_dtype == "bfloat16")
    ]
    out: list[list[object]] = []
    for generation, some in every.groupby("generation"):
        heads = some.num_heads * 2 + some.num_key_value_heads * 2
        rows = some.assign(
            peak=[PEAKS[gpu][2]["bf16"] for gpu in some.gpu],
            flops=some.batch_size * some.isl**2 / 2 * some.num_heads * 4 * some.head_dim,
            moved=some.batch_size * some.isl * heads * some.head_dim * 2,
        )

        def law(r: pd.DataFrame, p: Any) -> Any:
            return p[0] * 1e-6 + r.flops / (r.peak * p[1]) + r.moved / (r.bandwidth * p[2])

        p = solve(rows, law, (10.0, 0.5, 0.5))
        out.append(["prompt", generation, "bf16", p[0] * 1e-6, 1.0, p[1], p[2], "bf16"])
    return out


def reductions(tables: Path) -> list[list[object]]:
    """Exchanges for tensor parallelism: start, share of the link, seconds per doubling."""
    every = load("custom_allreduce", tables)
    every = every[every.kernel_source.str.contains("graph")]
    every = every[(every.message_size >= 1024) & (every.message_size <= 64e6)]
    out: list[list[object]] = []
    for generation, rows in every[every.gpu != "l40s"].groupby("generation"):

        def law(r: pd.DataFrame, p: Any) -> Any:
            ring = 2 * (r.num_gpus - 1) / r.num_gpus
            start = (p[0] + p[2] * np.log2(r.num_gpus)) * 1e-6
            return start + r.message_size * ring / (r.link * p[1])

        p = solve(rows, law, (4.0, 0.3, 1.0))
        out.append(["reduction", generation, "bf16", p[0] * 1e-6, p[1], 1.0, p[2] * 1e-6, "bf16"])
    return [*out, around_a_ring(tables)]


def around_a_ring(tables: Path) -> list[object]:
    """The same over PCIe, with seconds per hop around the ring.

    Starts are those of NCCL on L40S. Its rate there falls from 0.63 of the link between two
    devices to 0.05 among eight, which is that machine's way through its host: servers whose
    devices reach each other serve several times the tokens that it would allow. The share of the
    link is therefore that of `fit_throughput`, on published rows of L40S and A100-PCIe.
    """
    every = load("nccl", tables)
    rows = every[
        (every.gpu == "l40s") & (every.op_name == "all_reduce") & (every.message_size <= _SMALL)
    ]

    def law(r: pd.DataFrame, p: Any) -> Any:
        return (p[0] + p[1] * 2 * (r.num_gpus - 1)) * 1e-6

    p = solve(rows, law, (4.0, 1.5))
    share = saturation_constants()["link.pcie"]
    return ["reduction", "pcie", "bf16", p[0] * 1e-6, share, 1.0, p[1] * 1e-6, "bf16", RING_SOURCE]


def main() -> None:
    """Fits every kernel and writes the facts."""
    tables = Path(sys.argv[1]) if len(sys.argv) > 1 else TABLES
    rows = [row for fit in (products, mixtures, attentions, prompts, reductions)
            for row in fit(tables)]  # fmt: skip
    with FACTS.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["kernel", "generation", "format", "start", "bandwidth", "operations",
                         "traffic", "compute", "source", "date"])  # fmt: skip
        for row in rows:
            shown = [f"{cell:.4g}" if isinstance(cell, float) else str(cell) for cell in row]
            writer.writerow([*shown, *([SOURCE] if len(shown) == _CELLS else []), DATE])


if __name__ == "__main__":
    main()
