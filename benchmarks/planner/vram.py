"""How near predicted GPU memory is to measured: `score` of a file of measurements, `report` of it.

Alone: `python -m benchmarks.planner.vram FILE [--json]`.
"""

from __future__ import annotations

import csv
import json
import re
import statistics
import sys
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from plimsoll.errors import InputError
from plimsoll.facts.accelerators import device
from plimsoll.facts.catalogue import network
from plimsoll.facts.network import Network
from plimsoll.plan.deployment import Deployment, Formats, Split
from plimsoll.plan.vram import blocks, blocks_between, ledger
from plimsoll.plan.vram.budget import budget
from plimsoll.units import GIB

PLANNER_VERSION = "0.11"  # of vLLM, when llm-d-planner's constants were measured
PLANNER_SEQUENCES = 1024  # vLLM's default on an H100 then
QUANTITIES = {"kv_blocks": "blocks", "peak_activation": "GiB", "non_torch": "GiB"}


def score(path: str | Path) -> dict[str, Any]:
    """Errors by quantity, and of KV blocks the coverage of intervals and what is left out.

    `path`: a CSV with the columns model, gpu, tp, quantity, value, unit, note.
    """
    with Path(path).open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    cases = [case for row in rows if (case := _case(row))]
    result: dict[str, Any] = {"rows": len(rows), "predicted": len(cases)}
    result["share_predicted"] = len(cases) / len(rows) if rows else 0.0
    result["not_predicted"] = sorted(Counter(_unread(rows, cases)))
    for quantity in QUANTITIES:
        mine = [case for case in cases if case["quantity"] == quantity]
        result[quantity] = _errors(mine) | {"cases": _once(mine)}
    measured = [case for case in cases if case["quantity"] == "kv_blocks"]
    if measured:
        covered = [case["low"] <= case["measured"] <= case["high"] for case in measured]
        result["kv_blocks"]["coverage_of_90"] = statistics.fmean(covered)
        result["kv_blocks"]["left_out"] = _left_out(measured)
    return result


def report(result: dict[str, Any]) -> str:
    """The score as Markdown tables."""
    lines = [
        f"{result['predicted']} of {result['rows']} rows predicted",
        "",
        "| quantity | rows | mean | median | p90 | largest |",
        "|---|---|---|---|---|---|",
    ]
    for quantity in QUANTITIES:
        found = result[quantity]
        if found["rows"]:
            shown = " | ".join(
                f"{found[name]:.2f} %" for name in ("mean", "median", "p90", "largest")
            )
            lines.append(f"| {quantity} | {found['rows']} | {shown} |")
    if "left_out" in result["kv_blocks"]:
        lines += [
            "",
            f"90 % intervals hold {result['kv_blocks']['coverage_of_90']:.0%} of KV blocks",
            "",
            "| model | devices | measured | predicted | error | its model left out |",
            "|---|---|---|---|---|---|",
        ]
        left_out = result["kv_blocks"]["left_out"]
        lines += [
            f"| {case['model']} | {case['tp']} | {case['measured']:,.0f} | "
            f"{case['predicted']:,.0f} | {case['error']:+.2f} % | "
            f"{left_out[case['model']]:+.2f} % |"
            for case in result["kv_blocks"]["cases"]
        ]
    return "\n".join(lines)


def _case(row: dict[str, str]) -> dict[str, Any] | None:
    """One row with its prediction; None where model, device or quantity is not known."""
    quantity = next((name for name in QUANTITIES if row["quantity"].startswith(name)), None)
    if quantity is None:
        return None
    try:
        found = _deployment(row, quantity)
        predicted, low, high = _predicted(found, quantity)
        measured = float(row["value"])
    except (InputError, ValueError):
        return None
    if measured <= 0:
        return None
    return {
        "quantity": quantity,
        "model": row["model"],
        "gpu": row["gpu"],
        "tp": int(row["tp"]),
        "measured": measured,
        "predicted": predicted,
        "low": low,
        "high": high,
        "error": (predicted / measured - 1) * 100,
        "deployment": found,
    }


def _predicted(deployment: Deployment, quantity: str) -> tuple[float, float, float]:
    """The prediction with its interval, in the unit of the quantity."""
    if quantity == "kv_blocks":
        low, high = blocks_between(deployment)
        return blocks(deployment), low, high
    names = {"peak_activation": ("activations",), "non_torch": ("libraries", "communication")}
    terms = ledger(deployment).terms
    value = sum(term.bytes for term in terms if term.name in names[quantity]) / GIB
    return value, value, value


def _deployment(row: dict[str, str], quantity: str) -> Deployment:
    note = row["note"]
    blocks_row = quantity == "kv_blocks"
    model = network("Llama-3.1-8B" if row["model"] == "any" else row["model"])
    version = _said(note, r"vLLM ([0-9.]+[0-9])") or ("" if blocks_row else PLANNER_VERSION)
    sequences = _said(note, r"max_num_seqs[ =]([0-9]+)")
    return Deployment(
        network=model,
        device=device(row["gpu"]),
        engine="vllm",
        version=version,
        split=Split(tensor=int(row["tp"])),
        formats=_published(model),
        context=int(_said(note, r"max_model_len[ =]([0-9]+)") or 4096),
        sequences=int(sequences or PLANNER_SEQUENCES),
        batch_tokens=int(_said(note, r"(?:mbt|max_num_batched_tokens)[ =]([0-9]+)") or 0),
        utilization=float(_said(note, r"gpu_memory_utilization[ =]([0-9.]*[0-9])") or 0),
    )


def _published(model: Network) -> Formats:
    """The formats in which a model's files are; FP32 ones are run at 16 bits."""
    weights = "fp16" if model.stored in ("f32", "fp32") else model.stored
    return Formats(weights=weights, experts=model.expert_stored if model.mixture else weights)


def _said(note: str, pattern: str) -> str:
    found = re.search(pattern, note)
    return found[1] if found else ""


def _unread(rows: list[dict[str, str]], cases: list[dict[str, Any]]) -> Iterable[str]:
    known = {(case["model"], case["gpu"]) for case in cases}
    for row in rows:
        if (row["model"], row["gpu"]) not in known:
            yield f"{row['model']} on {row['gpu']}, {row['quantity']}"


def _errors(cases: list[dict[str, Any]]) -> dict[str, Any]:
    """Absolute errors in percent."""
    if not cases:
        return {"rows": 0}
    errors = sorted(abs(case["error"]) for case in cases)
    last = len(errors) - 1
    return {
        "rows": len(errors),
        "mean": statistics.fmean(errors),
        "median": statistics.median(errors),
        "p90": errors[min(last, round(0.9 * last))],
        "largest": errors[last],
    }


def _once(cases: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Rows that differ, for the reader: repeats of one measurement are one."""
    seen = {
        (case["model"], case["tp"], case["measured"]): {
            key: value for key, value in case.items() if key != "deployment"
        }
        for case in cases
    }
    return list(seen.values())


def _left_out(cases: list[dict[str, Any]]) -> dict[str, float]:
    """Error in percent of each model's blocks with the constants fitted without it.

    Only the buffers between devices are fitted on KV blocks: without a model they are what all
    others on more than one device lack, on average over models.
    """
    lacking = {case["model"]: _lacking(case) for case in cases if case["tp"] > 1}
    errors = {}
    for case in cases:
        held = budget(case["deployment"])
        others = [value for name, value in lacking.items() if name != case["model"]]
        fitted = case["tp"] > 1 and others
        change = held.communication - statistics.fmean(others) if fitted else 0.0
        predicted = (held.left + change) // held.layout.block_bytes
        errors[case["model"]] = (predicted / case["measured"] - 1) * 100
    return errors


def _lacking(case: dict[str, Any]) -> float:
    """Bytes between devices with which a case's prediction would be what was measured."""
    held = budget(case["deployment"])
    return held.communication + held.left - float(case["measured"]) * held.layout.block_bytes


def main(arguments: list[str]) -> int:
    """Print the score of one file."""
    files = [argument for argument in arguments if not argument.startswith("--")]
    if len(files) != 1:
        print("usage: python -m benchmarks.planner.vram FILE [--json]", file=sys.stderr)
        return 2
    result = score(files[0])
    if "--json" in arguments:
        print(json.dumps(result, indent=2))
    else:
        print(report(result))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
