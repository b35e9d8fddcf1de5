"""The plan of a fleet on one computer: an engine, threads, slots and context for every model.

What the fleet file leaves to us begins at a comfortable setting and shrinks, the model that takes
most first, until everything fits; what it says is never changed.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from plimsoll.errors import InputError
from plimsoll.facts.shape import ModelShape
from plimsoll.fleet import Fleet, Model
from plimsoll.plan.fit import Room, counted, refusal
from plimsoll.plan.memory import Settings, ledger, snapshot_bytes
from plimsoll.plan.types import Ledger, Machine, Placement, Plan
from plimsoll.units import MIB, size

CONTEXT = 4096  # tokens; more is taken only when the fleet file asks for it
EMBEDDING_CONTEXT = 512  # tokens; an input to embed must fit one step, whose buffers grow with it
SHORTEST_CONTEXT = 512
BATCH = 128  # tokens; a caller who leaves is noticed between two batches, and more is not faster
SMALLEST_BATCH = 32
CHECKPOINTS = 3  # of a conversation: before its last turns, so that the next one starts there
LARGEST_PROMPT_CACHE = 1024 * MIB
SLOTS_BY_PARAMETERS = ((2_000_000_000, 8), (15_000_000_000, 4))  # below so many, so many slots
SLOTS_OF_LARGE = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class _Draft:
    """A model on its way to a placement."""

    model: Model
    shape: ModelShape
    settings: Settings

    @property
    def ledger(self) -> Ledger:
        return ledger(self.shape, self.settings)

    @property
    def bytes_at_minimum(self) -> int:
        return self.ledger.total * self.model.scaling.min


def plan_local(fleet: Fleet, shapes: Mapping[str, ModelShape], machine: Machine) -> Plan:
    """The placements of a fleet's models on one machine, in the fleet's order.

    shapes  by model name, one for each

    Raises InputError for what cannot run here whatever its size, LedgerDoesNotFit (a DoesNotFit)
    where the fewest replicas of all models do not fit together.
    """
    threads = threads_per_replica(fleet.models, machine)
    drafts = [_draft(model, shapes[model.name], threads) for model in fleet.models]
    drafts = _shrink(drafts, machine)
    return Plan(
        placements=tuple(_placement(draft, drafts, machine) for draft in drafts),
        budget=machine.memory,
    )


def threads_per_replica(models: Iterable[Model], machine: Machine) -> int:
    """Engine threads of one replica: the cores shared among all replicas that may ever run.

    More threads than cores cost far more than idle cores: engine threads wait for each other by
    spinning. On two cores, two replicas with two threads each did not finish in 60 s what they
    finish in 10 s, their start included, with one each.
    """
    return max(1, machine.cores // max(1, sum(model.scaling.max for model in models)))


def _draft(model: Model, shape: ModelShape, threads: int) -> _Draft:
    """The comfortable setting, before anything has to shrink. Raises InputError."""
    _check_engine(model, shape)
    context = _context(model, shape)
    embedding = model.task == "embedding"
    batch = context if embedding else model.batch_tokens or BATCH
    settings = Settings(
        context=context,
        parallel=model.concurrency or default_slots(shape),
        batch=batch,
        threads=max(1, round(model.resources.cpu)) if model.resources.cpu else threads,
        kv_type="f16" if model.kv_cache_type == "auto" else model.kv_cache_type,
        task=model.task,
    )
    if embedding:
        return _Draft(model=model, shape=shape, settings=settings)
    if snapshot_bytes(shape, settings):
        settings = replace(settings, checkpoints=CHECKPOINTS)
    return _Draft(
        model=model,
        shape=shape,
        settings=replace(settings, prompt_cache=_prompt_cache(shape, settings)),
    )


def _check_engine(model: Model, shape: ModelShape) -> None:
    if model.engine not in ("auto", "llamacpp"):
        raise InputError(
            f"`{model.engine}` does not run on this machine",
            where=model.name,
            hint="leave `engine` out to run it with llamacpp here",
            code="plan.engine",
        )
    if shape.format != "gguf":
        raise InputError(
            f"the weights are {shape.format}, which llamacpp does not read",
            where=model.name,
            hint="name a GGUF file of the model; vllm and sglang read safetensors, on a GPU",
            code="plan.format",
        )
    if not shape.tokenizer:
        raise InputError(
            "the GGUF file has no tokenizer", where=model.name,
            hint="convert the model with its tokenizer", code="plan.tokenizer",
        )  # fmt: skip
    if not shape.causal and model.task != "embedding":
        raise InputError(
            f"a {shape.architecture} model makes embeddings, no text",
            where=model.name,
            hint="say `task: embedding`",
            code="plan.task",
        )


def _context(model: Model, shape: ModelShape) -> int:
    longest = shape.context_train or max(model.context or 0, CONTEXT)
    if model.context is None:
        return min(longest, EMBEDDING_CONTEXT if model.task == "embedding" else CONTEXT)
    if model.context > longest:
        raise InputError(
            f"a context of {model.context:,} tokens is more than the {longest:,} that the model "
            "was trained for",
            where=model.name,
            hint=f"say `context: {longest}` or less",
            code="plan.context",
        )
    return model.context


def default_slots(shape: ModelShape) -> int:
    """Requests at once where the fleet file says nothing: fewer for larger, slower models."""
    for below, slots in SLOTS_BY_PARAMETERS:
        if shape.parameters < below:
            return slots
    return SLOTS_OF_LARGE


def _prompt_cache(shape: ModelShape, settings: Settings) -> int:
    """Room for as many prompts again as there are slots, in whole MiB, up to a bound."""
    terms = ledger(shape, settings).terms
    held = sum(term.bytes for term in terms if term.name.startswith(("kv cache", "recurrent")))
    return min(held, LARGEST_PROMPT_CACHE) // MIB * MIB


def _shrink(drafts: Sequence[_Draft], machine: Machine) -> list[_Draft]:
    """Make the largest smaller, step by step, until all fit. Raises LedgerDoesNotFit."""
    fitting = list(drafts)
    while (worst := _first_that_does_not_fit(fitting, machine)) is not None:
        helpful = {i for i, draft in enumerate(fitting) if draft.model.scaling.min} | {worst}
        candidates = sorted(helpful, key=lambda i: -fitting[i].ledger.total)
        for index in candidates:
            smaller = _smaller(fitting[index])
            if smaller is not None:
                fitting[index] = smaller
                break
        else:
            raise _refuse(fitting, worst, machine)
    return fitting


def _first_that_does_not_fit(drafts: Sequence[_Draft], machine: Machine) -> int | None:
    """The index of the model to blame, or None where all fit.

    The fewest replicas of all run together; a model that may go down to none needs room for one
    beside them, because a request can start it at any time.
    """
    together = sum(draft.bytes_at_minimum for draft in drafts)
    if together > machine.memory:
        return max(range(len(drafts)), key=lambda i: drafts[i].bytes_at_minimum)
    for index, draft in enumerate(drafts):
        if not draft.model.scaling.min and together + draft.ledger.total > machine.memory:
            return index
    return None


def _smaller(draft: _Draft) -> _Draft | None:
    """The same with one thing less that nobody asked for, or None where nothing is left."""
    settings, model = draft.settings, draft.model
    if settings.prompt_cache:
        less = replace(settings, prompt_cache=0)
    elif settings.parallel > 1 and model.concurrency is None:
        less = replace(settings, parallel=settings.parallel // 2)
    elif settings.context > SHORTEST_CONTEXT and model.context is None:
        context = max(SHORTEST_CONTEXT, settings.context // 2)
        batch = context if settings.task == "embedding" else settings.batch
        less = replace(settings, context=context, batch=batch)
    elif settings.checkpoints:
        less = replace(settings, checkpoints=0)
    elif (
        settings.batch > SMALLEST_BATCH
        and model.batch_tokens is None
        and settings.task != "embedding"
    ):
        less = replace(settings, batch=max(SMALLEST_BATCH, settings.batch // 2))
    else:
        return None
    return replace(draft, settings=less)


def _room(drafts: Sequence[_Draft], index: int, machine: Machine) -> Room:
    """What one model may take beside the fewest replicas of the others."""
    others = sum(d.bytes_at_minimum for i, d in enumerate(drafts) if i != index)
    return Room(
        machine=machine.memory,
        others=others,
        replicas=max(1, drafts[index].model.scaling.min),
    )


def _refuse(drafts: Sequence[_Draft], index: int, machine: Machine) -> Exception:
    draft = drafts[index]
    return refusal(draft.model.name, draft.shape, draft.settings, _room(drafts, index, machine))


def _placement(draft: _Draft, drafts: Sequence[_Draft], machine: Machine) -> Placement:
    settings, model = draft.settings, draft.model
    return Placement(
        model=model.name,
        engine="llamacpp",
        source=str(model.source),
        task=model.task,
        context=settings.context,
        parallel=settings.parallel,
        threads=settings.threads,
        batch=settings.batch,
        kv_type=settings.kv_type,
        ledger=draft.ledger,
        why=tuple(_reasons(draft, drafts, machine)),
        prompt_cache=settings.prompt_cache,
        checkpoints=settings.checkpoints,
        pooling=draft.shape.pooling if draft.shape.pooling in ("mean", "cls", "last") else "mean",
        kv_tokens=0 if model.task == "embedding" else settings.context * settings.parallel,
        options=model.engine_options,
    )


def _reasons(draft: _Draft, drafts: Sequence[_Draft], machine: Machine) -> Iterable[str]:
    """Why it looks like this, in order of weight."""
    model, shape, settings, total = draft.model, draft.shape, draft.settings, draft.ledger.total
    wanted = "as the fleet file says" if model.engine == "llamacpp" else "the weights are GGUF"
    yield f"engine llamacpp: {wanted}"
    others = sum(d.bytes_at_minimum for d in drafts if d is not draft)
    possible = min(model.scaling.max, max(0, machine.memory - others) // total)
    yield (
        f"{size(total)} a replica, most of it {draft.ledger.largest.name}; "
        f"{possible} of at most {model.scaling.max} replicas fit in {size(machine.memory)}"
        + (f" beside {size(others)} of other models" if others else "")
    )
    yield f"context {settings.context:,}: {_context_reason(model, shape, settings)}"
    yield f"{counted(settings.parallel, 'slot')}: {_slots_reason(model, shape, settings)}"
    at_most = sum(d.model.scaling.max for d in drafts)
    shared = (
        "`resources.cpu`"
        if model.resources.cpu
        else (f"{counted(machine.cores, 'core')} shared by {counted(at_most, 'replica')}")
    )
    yield f"{counted(settings.threads, 'thread')}: {shared}"
    if settings.prompt_cache:
        yield f"{size(settings.prompt_cache)} for prompts that no slot holds any more"
    if model.adapters or model.draft:
        yield "adapters and draft model are left out: not served on this machine yet"


def _context_reason(model: Model, shape: ModelShape, settings: Settings) -> str:
    if model.context is not None:
        return "as the fleet file says"
    usual = EMBEDDING_CONTEXT if model.task == "embedding" else CONTEXT
    if settings.context == shape.context_train <= usual:
        return "what the model was trained for"
    if settings.context == usual:
        return f"the default; the model was trained for {shape.context_train:,}"
    return f"what fits; the default is {min(usual, shape.context_train or usual):,}"


def _slots_reason(model: Model, shape: ModelShape, settings: Settings) -> str:
    if model.concurrency is not None:
        return "as the fleet file says"
    if settings.parallel == default_slots(shape):
        return f"the default for {shape.parameters / 1e6:,.0f} million parameters"
    return f"what fits; the default is {default_slots(shape)}"
