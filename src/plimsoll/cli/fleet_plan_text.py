"""A fleet's plan as a person reads it: what runs where, what it costs, what limits it."""

from __future__ import annotations

from collections.abc import Iterator

from plimsoll.cli.ledger import ledger_text
from plimsoll.cli.tables import table
from plimsoll.plan.cost import HOURS_PER_MONTH
from plimsoll.plan.search import Candidate, Choice, FleetPlan
from plimsoll.plan.search.cheaper import Cheaper
from plimsoll.plan.search.splits import in_words
from plimsoll.plan.speed.estimate import Estimate
from plimsoll.units import duration, money, size

MOST_REJECTED = 12  # lines of `explain`; the rest is counted, and whole in `--json`
MOST_COMPARED = 3  # APIs a model is set beside


def plan_text(plan: FleetPlan) -> str:
    """The whole plan."""
    parts = [_models(plan), _nodes(plan), *_money(plan)]
    notes = [*plan.notes, *(f"{c.model}: {note}" for c in plan.choices for note in c.found.notes)]
    if notes:
        parts.append("\n".join(f"note: {note}" for note in notes))
    return "\n\n".join(parts)


def _models(plan: FleetPlan) -> str:
    head = (
        "MODEL", "WEIGHTS", "WHERE", "SPLIT", "REPLICAS", "SEQS", "STEP", "TTFT", "TPOT", "$/H",
        "LIMIT",
    )  # fmt: skip
    return table(head, [_row(choice) for choice in plan.choices])


def _row(choice: Choice) -> tuple[str, ...]:
    chosen = choice.chosen
    deployment = chosen.deployment
    return (
        choice.model,
        chosen.label,
        _where(chosen),
        in_words(deployment.split),
        _count(chosen),
        str(deployment.sequences),
        f"{deployment.batch_tokens:,}" if deployment.batch_tokens else "default",
        _seconds(chosen.ttft),
        "-" if deployment.network.embedding else _seconds(chosen.tpot),
        "-" if chosen.dollars is None else f"{chosen.dollars:.2f}",
        chosen.limited_by,
    )


def _count(candidate: Candidate) -> str:
    if candidate.most > candidate.replicas:
        return f"{candidate.replicas} to {candidate.most}"
    return str(candidate.replicas)


def _where(candidate: Candidate) -> str:
    device = candidate.deployment.device
    slice_ = f" {device.profile}" if device.profile else ""
    return f"{candidate.ground.name}{slice_}"


def _seconds(estimate: Estimate | None) -> str:
    return "-" if estimate is None else _brief(estimate.value)


def _brief(seconds: float) -> str:
    """Three digits: `41.3ms`, `1.25s`."""
    return f"{seconds * 1000:.3g}ms" if seconds < 1 else f"{seconds:.3g}s"


def _nodes(plan: FleetPlan) -> str:
    rows = []
    for used in plan.nodes:
        ground = used.ground
        layouts = "; ".join(f"{layout} on {count}" for layout, count in used.layouts.items())
        rows.append(
            (
                ground.name,
                str(used.nodes),
                f"{ground.per_node} x {ground.device.accelerator}",
                f"{used.devices} of {used.nodes * ground.per_node}",
                "-" if ground.price.dollars is None else f"{ground.price.dollars:.2f}",
                layouts or "whole",
            )
        )
    return table(("NODES", "COUNT", "EACH HAS", "IN USE", "$/H EACH", "LAYOUT"), rows)


def _money(plan: FleetPlan) -> Iterator[str]:
    if plan.dollars is None:
        return
    proof = "the least for these configurations, proven" if plan.proven else "not proven least"
    lines = [
        f"{money(plan.dollars)} an hour, {money(plan.dollars * HOURS_PER_MONTH)} a month ({proof})"
    ]
    if plan.waste is not None and plan.waste.dollars > 0:
        saved = plan.waste.dollars / plan.waste.naive.dollars
        lines.append(f"{plan.waste}: {saved:.0%} saved")
    for choice in plan.choices:
        lines.extend(_choice_money(choice, MOST_COMPARED if len(plan.choices) == 1 else 1))
    yield "\n".join(lines)


def _choice_money(choice: Choice, most: int) -> Iterator[str]:
    """Dollars per token, beside the cheapest `most` APIs."""
    cost = choice.cost
    if cost is None or cost.per_million is None:
        return
    line = f"{choice.model}: {money(cost.per_million)} per million tokens at the expected traffic"
    if cost.at_full_load is not None:
        line += f", {money(cost.at_full_load)} when full"
    yield line
    for one in choice.comparisons[:most]:
        offer = one.offer
        same = "the same model" if offer.same else "a model of its size"
        turn = (
            f"cheaper to run from {one.break_even:.3g} requests/s on"
            if one.break_even is not None
            else "always cheaper to buy"
        )
        yield (
            f"  {offer.provider} {offer.model} ({same}): {money(one.per_million)} per million; "
            f"{turn}"
        )


def explain_text(choice: Choice, cheaper: tuple[Cheaper, ...] = ()) -> str:
    """Everything behind the choice of one model.

    cheaper  ways to pay less, with what each gives up
    """
    chosen = choice.chosen
    parts = [
        f"{choice.model}: {_count(chosen)} x {_line(chosen)}",
        "\n".join(f"  {line}" for line in _reasons(choice)),
        (
            f"memory of one device ({chosen.deployment.device.name}, "
            f"{size(chosen.deployment.device.memory)})\n{ledger_text(choice.ledger)}"
        ),
        "\n".join(_choice_money(choice, MOST_COMPARED)),
        _alternatives(choice),
        _cheaper(cheaper),
        _rejected(choice),
    ]
    return "\n\n".join(part for part in parts if part)


def _line(candidate: Candidate) -> str:
    return f"{candidate.label}, {in_words(candidate.deployment.split)}, on {_where(candidate)}"


def _reasons(choice: Choice) -> Iterator[str]:
    chosen, demand = choice.chosen, choice.found.demand
    yield f"limited by {chosen.limited_by}: {chosen.capacity:.3g} requests/s a replica"
    if demand.rate:
        start = duration(round(chosen.cold_start.total))
        yield (
            f"{demand.rate:g} requests/s expected, {demand.peak:g} at the peak; "
            f"{chosen.headroom:.0%} kept free for the {start} that a new replica takes on a new "
            "node (weights at disk speed; the image is not reckoned)"
        )
    for name, estimate, wanted in (
        ("ttft", chosen.ttft, demand.ttft),
        ("tpot", chosen.tpot, demand.tpot),
    ):
        if estimate is not None:
            yield _estimate(name, estimate, wanted)
    if chosen.quality:
        yield f"{chosen.label}: {chosen.quality}"
    if chosen.needs:
        yield f"needs {chosen.needs}"


def _estimate(name: str, estimate: Estimate, wanted: float | None) -> str:
    line = (
        f"{name} {_brief(estimate.value)} ({_brief(estimate.low)} to {_brief(estimate.high)}, "
        "nine times of ten)"
    )
    if wanted is not None:
        line += f", objective {_brief(wanted)}"
    if estimate.extrapolates:
        line += f"; extrapolated: {', '.join(estimate.extrapolates)}"
    return line


def _alternatives(choice: Choice) -> str:
    named = [
        ("cheapest", choice.cheapest),
        ("fastest", choice.fastest),
        ("smallest", choice.smallest),
    ]
    rows = [
        (
            f"  {word}",
            _line(one),
            _count(one),
            _seconds(one.ttft),
            _seconds(one.tpot),
            "-" if one.dollars is None else f"{one.dollars:.2f}",
            one.limited_by,
        )
        for word, one in named
    ]
    return table(("  ALTERNATIVE", "WHAT", "REPLICAS", "TTFT", "TPOT", "$/H", "LIMITED BY"), rows)


def _cheaper(found: tuple[Cheaper, ...]) -> str:
    if not found:
        return "nothing cheaper was found among longer latencies, four bits, spot and other pools"
    rows = [
        (f"  {one.dollars:.2f}", f"{_count(one.candidate)} x {_line(one.candidate)}", one.gives_up)
        for one in found
    ]
    return table(("  CHEAPER, $/H", "WHAT", "GIVES UP"), rows)


def _rejected(choice: Choice) -> str:
    rejected = choice.found.rejected
    if not rejected:
        return ""
    lines = [f"  {one.what}: {one.reason}" for one in rejected[:MOST_REJECTED]]
    if len(rejected) > MOST_REJECTED:
        lines.append(f"  and {len(rejected) - MOST_REJECTED} more (`--json` has all)")
    return "\n".join(["rejected", *lines])
