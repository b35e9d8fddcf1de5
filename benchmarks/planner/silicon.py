"""Measured rows of TTFT and TPOT, read into the deployments that were measured."""

from __future__ import annotations

import contextlib
import csv
import gzip
import io
import math
import re
import statistics
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from plimsoll.errors import InputError, PlimsollError
from plimsoll.facts.accelerators import device
from plimsoll.facts.catalogue import network
from plimsoll.facts.devices import Device
from plimsoll.facts.network import Network
from plimsoll.plan.deployment import Deployment, Formats, Split
from plimsoll.plan.speed.latency import Latency, Workers, disaggregated, latency

# Their requests have lengths between 0.8 and 1.0 of what the row says, evenly spread.
_SPREAD_LENGTHS = re.compile(r"(source_file=)?(\d{4}-\d\d-\d\d\.csv|db-dump/)")
_MEAN_OF_SPREAD = 0.9
_UNQUANTIZED = ("", "nan", "none", "bf16", "bfloat16", "float16", "fp16")
_LARGEST_TENSOR = 16  # devices over which anyone cuts attention
_CONCURRENCY = re.compile(r"silicon_concurrency=([\d.]+)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One measured row.

    number       its place in the file
    deployment   what decodes
    prefill      what computes prompts; the same where one replica does both
    together     whether one replica does both
    workers      replicas that decode; 0 where the row does not say
    prefills     replicas that compute prompts; 0 where the row does not say
    concurrency  requests in flight over all replicas that decode
    prompt       tokens, on average
    output       tokens, on average
    ttft         measured, seconds
    tpot         measured, seconds
    """

    number: int
    deployment: Deployment
    prefill: Deployment
    together: bool
    workers: int
    prefills: int
    concurrency: float
    prompt: float
    output: float
    ttft: float
    tpot: float


def text_of(path: Path) -> str:
    """The text of a file, unpacked where it ends in `.gz`."""
    packed = path.read_bytes()
    return (gzip.decompress(packed) if path.suffix == ".gz" else packed).decode("utf-8")


def rows(path: Path) -> Iterator[Row | None]:
    """Every row of a file; None for one whose model or accelerator is not known."""
    for number, cells in enumerate(csv.DictReader(io.StringIO(text_of(path)))):
        try:
            yield _row(number, cells)
        except (InputError, ValueError):
            yield None


def _device(name: str) -> Device:
    """The accelerator of a row, with or without its form after the name. Raises InputError."""
    try:
        return device(name)
    except InputError:
        return device(name.removesuffix("_sxm").removesuffix("_oam"))


def _number(cells: Mapping[str, str], name: str) -> float:
    text = cells.get(name) or ""
    return float(text) if text and text.lower() != "nan" else 0.0


def _row(number: int, cells: Mapping[str, str]) -> Row:
    source = cells.get("silicon_data_source") or ""
    length = _MEAN_OF_SPREAD if _SPREAD_LENGTHS.match(source) else 1.0
    prompt, output = _number(cells, "isl"), _number(cells, "osl")
    model, where = network(cells["model_path"]), _device(cells["system"])
    formats = formats_of(cells, model, where)
    said = _CONCURRENCY.search(source)
    together = cells.get("mode") != "disagg"
    head = "" if together else "decode_"
    split, prefill_split = _split(cells, head), _split(cells, "" if together else "prefill_")
    batch = _number(cells, f"{head}batch_size")
    concurrency = float(said[1]) if said else batch * (split.data if together else 1)
    workers = 1 if together else int(_number(cells, "decode_num_workers"))
    if together and batch and batch * split.data < concurrency:
        workers = max(1, round(concurrency / (batch * split.data)))
    elif not together and not said:
        concurrency = batch * max(1, workers)
    version = cells.get("backend_version") or "unrecorded"
    if concurrency <= 0 or prompt <= 0 or output <= 0:
        raise ValueError("a row without load")

    def deployment(split: Split) -> Deployment:
        return Deployment(
            network=model, device=where, engine=cells["backend"], version=version, split=split,
            formats=formats, context=int(prompt + output), sequences=math.ceil(concurrency),
        )  # fmt: skip

    return Row(
        number=number,
        deployment=deployment(split),
        prefill=deployment(prefill_split),
        together=together,
        workers=workers,
        prefills=1 if together else int(_number(cells, "prefill_num_workers")),
        concurrency=concurrency,
        prompt=prompt * length,
        output=output * length,
        ttft=_number(cells, "silicon_ttft_ms") / 1e3,
        tpot=_number(cells, "silicon_tpot_ms") / 1e3,
    )


def _split(cells: Mapping[str, str], head: str) -> Split:
    """The split of a worker.

    Rows that name attention data parallelism wrote `moe_tp * moe_ep` for the devices; where both
    are the whole worker, the product counts it twice. A tensor size above 16, or above 8 with
    experts cut as often, stands for attention data parallelism over that many devices.
    """
    named = _number(cells, f"{head}attention_dp_size") > 0
    tensor, data, cut, spread = (
        max(1, int(_number(cells, f"{head}{name}")))
        for name in ("tp_size", "attention_dp_size", "moe_tp_size", "moe_ep_size")
    )
    if named and cut == spread > 1 and tensor * data == cut * spread:
        tensor, data = (1, spread) if data > 1 else (spread, 1)
    elif named and tensor == data > 1 and spread == tensor * data:
        tensor, spread = 1, data
    if data == 1 and (tensor > _LARGEST_TENSOR or (tensor > 8 and cut == tensor)):
        tensor, data, spread = 1, tensor, tensor
    devices = tensor * data
    expert = devices if spread == 1 and data > 1 else min(spread, devices)
    return Split(tensor=tensor, data=data, expert=expert)


def formats_of(cells: Mapping[str, str], model: Network, where: Device) -> Formats:
    """The number formats of a row.

    NVFP4 checkpoints of mixtures keep attention at 16 bits; models published in MXFP4 keep
    everything but experts there, whatever the row says.
    """
    dense, mixture = cells.get("gemm_quant_mode") or "", cells.get("moe_quant_mode") or ""
    engine = cells["backend"]
    narrow = engine == "trtllm" and dense not in _UNQUANTIZED
    narrow = narrow or (engine == "sglang" and where.generation.startswith("blackwell"))
    cache = "fp8" if narrow else "bf16"
    if model.expert_stored == "mxfp4":
        widened = where.generation not in ("blackwell", "cdna4")
        return Formats(
            weights="bf16", experts="mxfp4", compute="bf16" if widened else "fp8",
            cache="bf16" if widened else "fp8",
        )  # fmt: skip
    if "fp4" in dense:
        held = "bf16" if model.mixture else "nvfp4"
        return Formats(weights=held, experts="nvfp4", compute="fp4", cache=cache)
    if dense.startswith(("int4", "w4a16", "awq", "gptq")):
        held = "bf16" if model.mixture else "int4"
        return Formats(weights=held, experts="int4", compute="bf16", cache=cache)
    if dense.startswith("fp8"):
        block = "fp8_block" if "block" in dense + mixture or model.mixture else "fp8"
        return Formats(weights=block, experts=block, compute="fp8", cache=cache)
    if dense.startswith(("int8", "w8a8", "sq")):
        return Formats(weights="int8", experts="int8", compute="int8", cache=cache)
    return Formats(cache=cache)


def predicted(row: Row) -> Latency:
    """What the planner says of a row."""
    if row.together:
        return latency(row.deployment, row.prompt, row.output, row.concurrency / row.workers)
    workers = Workers(prefills=row.prefills, decodes=row.workers)
    return disaggregated(
        row.prefill, row.deployment, workers, row.prompt, row.output, row.concurrency
    )


def _answered(every: list[Row | None]) -> Iterator[tuple[Row, Latency]]:
    """The rows that the planner has an answer to, each with it."""
    for row in every:
        if row is not None:
            with contextlib.suppress(PlimsollError):
                yield row, predicted(row)


def score(path: Path) -> dict[str, Any]:
    """How far predictions of a file's rows are off.

    tpot, ttft  mean, median and p90 of absolute percentage errors, and the share predicted
    coverage    share of the rows that are predicted
    intervals   share of measured values inside the interval of nine in ten, of each
    modes       the same for replicas that do both and for those that are apart
    """
    every = list(rows(path))
    found = list(_answered(every))
    whole: dict[str, Any] = {"rows": len(every), "coverage": len(found) / max(1, len(every))}
    whole |= _errors(found, len(every))
    whole["modes"] = {}
    for name, together, known in _MODES:
        some = [
            pair
            for pair in found
            if pair[0].together == together and (pair[0].workers > 0) == known
        ]
        if some:
            whole["modes"][name] = {"rows": len(some), **_errors(some, len(some))}
    return whole


_HEAD = (
    "| | rows | TPOT mean % | median % | p90 % | in 90 % interval "
    "| TTFT mean % | median % | p90 % | in 90 % interval |"
)
_MODES = (
    ("together", True, True),
    ("apart", False, True),
    ("apart, workers unknown", False, False),
)


def _errors(found: list[tuple[Row, Latency]], asked: int) -> dict[str, Any]:
    out: dict[str, Any] = {"intervals": {}}
    for target in ("tpot", "ttft"):
        pairs = [(getattr(row, target), getattr(said, target)) for row, said in found]
        pairs = [(measured, estimate) for measured, estimate in pairs if measured > 0]
        if not pairs:
            continue
        off = sorted(abs(estimate.value / measured - 1) * 100 for measured, estimate in pairs)
        inside = sum(estimate.low <= measured <= estimate.high for measured, estimate in pairs)
        out[target] = {
            "mean": statistics.fmean(off),
            "median": statistics.median(off),
            "p90": off[min(len(off) - 1, int(0.9 * len(off)))],
            "share": len(pairs) / max(1, asked),
        }
        out["intervals"][target] = inside / len(pairs)
    return out


def report(result: Mapping[str, Any]) -> str:
    """A result as a table."""
    lines = [
        f"{result['rows']} rows, {result['coverage']:.1%} predicted",
        "",
        _HEAD,
        "|-|-|-|-|-|-|-|-|-|-|",
    ]
    for name, part in (("all", result), *result["modes"].items()):
        cells = [name, str(part["rows"])]
        for target in ("tpot", "ttft"):
            if target in part:
                off = part[target]
                cells += [f"{off[key]:.1f}" for key in ("mean", "median", "p90")]
                cells.append(f"{part['intervals'][target]:.1%}")
            else:
                cells += [""] * 4
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)
