"""Every configuration of one model on the grounds it may use: what it gives, or why it is left."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from math import ceil, floor, inf

import msgspec

from plimsoll.errors import InputError
from plimsoll.facts.catalogue import network
from plimsoll.facts.network import Network
from plimsoll.fleet import Model, Traffic
from plimsoll.plan.deployment import Deployment, Split
from plimsoll.plan.search.alone import dollars_for, nodes_for
from plimsoll.plan.search.formats import FormatOption, formats_for
from plimsoll.plan.search.sizing import cold_start, published_bytes, replicas
from plimsoll.plan.search.splits import in_words, splits
from plimsoll.plan.search.types import Candidate, Demand, Found, Ground, Rejected
from plimsoll.plan.speed.latency import latency
from plimsoll.plan.speed.load import Capacity, Objectives, capacity
from plimsoll.plan.vram import fits, room

MOST_SEQUENCES = 1024  # requests at once; what vLLM itself allows on the largest devices
USUAL_SEQUENCES = 256
FEWEST_SEQUENCES = 4
SPARE_SEQUENCES = 1.5  # places over the expected number in flight: arrivals come in clumps
BATCH_TOKENS = (2048, 16384)  # tokens of a step that are tried beside the engine's own
UNSAID = Traffic(requests_per_second=1.0, prompt_tokens=1000, output_tokens=200)
SHORT_CONTEXT = 4096  # tokens; the least that is offered where the fleet file leaves it open


class Wish(msgspec.Struct, frozen=True, kw_only=True):
    """One model as the search sees it.

    alone  whether no other model of the fleet can share its nodes, so that it pays whole ones
    """

    model: Model
    network: Network
    demand: Demand
    alone: bool = False


def demand_of(model: Model) -> Demand:
    """What the fleet file asks of a model; a modest request where it says nothing."""
    goals = model.objectives
    traffic = model.traffic or UNSAID
    rate = traffic.requests_per_second if model.traffic else 0.0
    return Demand(
        rate=rate,
        peak=rate * traffic.peak_factor,
        prompt=float(traffic.prompt_tokens),
        output=float(traffic.output_tokens),
        shared=float(min(traffic.shared_prefix_tokens, traffic.prompt_tokens)),
        ttft=goals.ttft,
        tpot=goals.tpot,
        end_to_end=goals.end_to_end,
        percentile=goals.percentile,
    )


def find(wish: Wish, grounds: Sequence[Ground]) -> Found:
    """Every configuration of a model, those that meet its objectives cheapest first.

    Formats of the last resort are tried only where nothing else fits any memory; objectives do
    not matter for that, or a tighter one could buy a cheaper format.
    """
    candidates, rejected = _tried(wish, grounds, last_resort=False)
    if all(one.code in ("memory", "split", "format") for one in rejected) and not candidates:
        candidates, more = _tried(wish, grounds, last_resort=True)
        rejected = [*rejected, *more]
    candidates.sort(key=by_cost)
    return Found(
        network=wish.network,
        demand=wish.demand,
        candidates=tuple(candidates),
        rejected=tuple(rejected),
        notes=_notes(wish),
    )


def _tried(
    wish: Wish, grounds: Sequence[Ground], *, last_resort: bool
) -> tuple[list[Candidate], list[Rejected]]:
    candidates: list[Candidate] = []
    rejected: list[Rejected] = []
    for ground in grounds:
        options = formats_for(wish.model, wish.network, ground.device)
        ways = splits(wish.network, ground, wish.model.parallelism)
        if not last_resort:
            rejected.extend(_at(ground, one) for one in (*options.rejected, *ways.rejected))
        for option in options.possible:
            if option.last_resort is not last_resort:
                continue
            for outcome in _shallow(wish, ground, option, ways.possible):
                if isinstance(outcome, Candidate):
                    candidates.append(outcome)
                else:
                    rejected.append(outcome)
    return candidates, rejected


def _shallow(
    wish: Wish, ground: Ground, option: FormatOption, ways: Sequence[Split]
) -> Iterator[Candidate | Rejected]:
    """Every split with the fewest pipeline stages that memory allows.

    More stages hold more, but each request still passes all of them: they serve a model that is
    too large for fewer, and nothing else.
    """
    for depth in sorted({split.pipeline for split in ways}):
        found = [evaluate(wish, ground, option, split) for split in ways if split.pipeline == depth]
        yield from found
        if any(isinstance(one, Candidate) or one.code != "memory" for one in found):
            return


def by_cost(candidate: Candidate) -> tuple[float, int, float]:
    """Cheapest first; without prices, fewest devices first; then the fastest."""
    dollars = inf if candidate.dollars is None else candidate.dollars
    speed = candidate.tpot.value if candidate.tpot else 0.0
    return (dollars, candidate.devices * candidate.replicas, speed)


def _at(ground: Ground, rejected: Rejected) -> Rejected:
    return msgspec.structs.replace(rejected, what=f"{ground.name}: {rejected.what}")


def _notes(wish: Wish) -> tuple[str, ...]:
    notes = []
    if wish.model.traffic is None:
        notes.append(
            "no `traffic` in the fleet file: one replica, shown for prompts of "
            f"{wish.demand.prompt:,.0f} and answers of {wish.demand.output:,.0f} tokens"
        )
    if wish.model.engine == "custom":
        notes.append("a custom engine is sized as vLLM would be")
    if wish.model.draft is not None:
        known = "" if _draft(wish.model) else ", nor in its memory: the draft is not known here"
        notes.append(f"speculative decoding is not reckoned in the speed{known}")
    if wish.model.context is None:
        notes.append("no `context` in the fleet file: chosen from the traffic")
    return tuple(notes)


def context_of(model: Model, network: Network, demand: Demand) -> int:
    """Tokens that one request may hold: as the fleet file says, or four times the usual request."""
    if model.context is not None:
        return model.context
    usual = max(SHORT_CONTEXT, 1 << (int(4 * (demand.prompt + demand.output)) - 1).bit_length())
    return min(network.context, usual) if network.context else usual


def check_context(model: Model, network: Network) -> None:
    """Raises InputError for a context beyond the model, or too short for its own traffic."""
    if model.context is None:
        return
    if network.context and model.context > network.context:
        raise InputError(
            f"a context of {model.context:,} tokens is more than the {network.context:,} that "
            f"{network.name} was trained for",
            where=model.name,
            hint=f"say `context: {network.context}` or less",
            code="plan.context",
        )
    if model.traffic is None:
        return
    tokens = model.traffic.prompt_tokens + model.traffic.output_tokens
    if tokens > model.context:
        raise InputError(
            f"requests of {tokens:,} tokens on average do not fit a context of {model.context:,}",
            where=model.name,
            hint="raise `context`, or correct `traffic`",
            code="plan.context",
        )


def evaluate(
    wish: Wish, ground: Ground, option: FormatOption, split: Split
) -> Candidate | Rejected:
    """One configuration, sized for its demand; or why it is left."""
    what = f"{ground.name}: {option.label}, {in_words(split)}"
    model, demand = wish.model, wish.demand
    first = Deployment(
        network=wish.network,
        device=ground.device,
        engine=_engine(model),
        version=model.engine_options.version or "",
        split=split,
        formats=option.formats,
        context=context_of(model, wish.network, demand),
        sequences=model.concurrency or USUAL_SEQUENCES,
        batch_tokens=model.batch_tokens or 0,
        draft=_draft(model),
        adapters=len(model.adapters),
        adapter_rank=max((adapter.rank or 16 for adapter in model.adapters), default=0),
    )
    first = _leaving_enough(first)
    verdict = fits(first)
    if not verdict and model.concurrency is None:
        # Fewer requests at once leave more for the rest; what they cost is little but not nothing.
        first = _leaving_enough(replace(first, sequences=FEWEST_SEQUENCES))
        verdict = fits(first)
    if not verdict:
        return Rejected(what=what, code="memory", reason=verdict.reason, deployment=first)
    sized, able = _sized(first, model, demand)
    if able.requests_per_second <= 0:
        return Rejected(what=what, code="objective", reason=able.limited_by, deployment=sized)
    found = _candidate(wish, ground, option, sized, able)
    if _nodes(ground, found) > ground.most_nodes:
        starved = "" if verdict.fit == "fits" else f": {verdict.reason}"
        return Rejected(
            what=what,
            code="nodes",
            reason=f"{found.replicas} replicas would be needed, more than {ground.name} holds, "
            f"at {found.capacity:.2g} requests/s each{starved}",
            deployment=sized,
        )
    return found


def _nodes(ground: Ground, candidate: Candidate) -> float:
    """Nodes that a candidate needs at least; parts of accelerators lie beside others' parts."""
    if ground.portion < 1:
        return candidate.devices * candidate.replicas * ground.portion / ground.per_node
    return nodes_for(candidate)


def _leaving_enough(deployment: Deployment) -> Deployment:
    """With a smaller share for the engine where its default leaves too little for the driver.

    On slices and small devices, a tenth is less than the process's own context.
    """
    verdict = fits(deployment)
    if verdict.limit != "left free":
        return deployment
    held = room(deployment)
    share = (held.engine - verdict.missing) / held.usable
    return replace(deployment, utilization=floor(share * 100) / 100)


def _engine(model: Model) -> str:
    """The engine whose memory and speed are reckoned; Ray Serve runs vLLM inside."""
    return "vllm" if model.engine in ("auto", "custom", "rayserve") else model.engine


def _draft(model: Model) -> Network | None:
    """The draft model, where the catalogue has it."""
    if model.draft is None or model.draft.method != "draftModel" or model.draft.source is None:
        return None
    try:
        return network(model.draft.source.repository)
    except InputError:
        return None  # `_notes` says that it is not reckoned


def _objectives(demand: Demand) -> Objectives:
    return Objectives(
        ttft=demand.ttft,
        tpot=demand.tpot,
        end_to_end=demand.end_to_end,
        percentile=demand.percentile,
    )


def _able(deployment: Deployment, demand: Demand) -> Capacity:
    return capacity(
        deployment,
        demand.prompt,
        demand.output,
        _objectives(demand),
        shared_prefix=demand.shared,
    )


def _sized(deployment: Deployment, model: Model, demand: Demand) -> tuple[Deployment, Capacity]:
    """The tokens per step and the places that carry the most within the objectives.

    The same few settings are tried whatever the objectives are, so that a tighter one can never
    come out with more; places that would stay empty are then taken away.
    """
    tried = [(one, _able(one, demand)) for one in _settings(deployment, model)]
    best, able = max(tried, key=lambda pair: pair[1].requests_per_second)
    if able.limited_by == "sequences" and model.concurrency is None:
        wider = replace(best, sequences=MOST_SEQUENCES)
        if fits(wider):
            more = _able(wider, demand)
            if more.requests_per_second > able.requests_per_second:
                best, able = wider, more
    if model.concurrency is not None or able.requests_per_second <= 0:
        return best, able
    needed = ceil(able.concurrency * SPARE_SEQUENCES / 8) * 8
    return replace(best, sequences=min(best.sequences, max(FEWEST_SEQUENCES, needed))), able


def _settings(deployment: Deployment, model: Model) -> Iterator[Deployment]:
    """With the engine's own tokens per step first, then others that fit."""
    yield deployment
    if model.batch_tokens is None:
        for tokens in BATCH_TOKENS:
            other = replace(deployment, batch_tokens=tokens)
            if fits(other):
                yield other


def _candidate(
    wish: Wish, ground: Ground, option: FormatOption, deployment: Deployment, able: Capacity
) -> Candidate:
    demand = wish.demand
    weights = published_bytes(deployment)
    start = cold_start(weights)
    count = replicas(demand, able.requests_per_second, start)
    planned = demand.rate / count.steady / able.requests_per_second * able.concurrency
    seen = latency(deployment, demand.prompt, demand.output, max(1.0, planned), demand.shared)
    return Candidate(
        ground=ground,
        deployment=deployment,
        label=option.label,
        quality=option.quality,
        needs=option.needs,
        capacity=able.requests_per_second,
        concurrency=able.concurrency,
        replicas=count.steady,
        most=count.most,
        headroom=count.headroom,
        ttft=seen.ttft,
        tpot=seen.tpot,
        dollars=dollars_for(ground, deployment.split, count.steady, alone=wish.alone),
        limited_by=able.limited_by,
        share=count.busy,
        cold_start=start,
        weight_bytes=int(weights),
    )
