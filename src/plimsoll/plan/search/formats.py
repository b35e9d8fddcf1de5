"""Weight formats in which a model may run on a device, the most faithful first."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import msgspec

from plimsoll.errors import InputError
from plimsoll.facts.devices import Device
from plimsoll.facts.network import Network
from plimsoll.facts.weight_formats import How, WeightFormat, supported, weight_format
from plimsoll.fleet import Model
from plimsoll.plan.deployment import Formats, kernels_of
from plimsoll.plan.search.types import Rejected

SIXTEEN = ("bf16", "fp16", "f16", "f32", "fp32")
FOUR_BITS = (
    "awq",
    "int4",
)  # tried only where nothing larger fits: they need a checkpoint of their own
NEEDS_CHECKPOINT = ("awq", "gptq", "int4", "nvfp4", "mxfp4", "int8")
SPELLED = {"bitsandbytes": "bnb_nf4", "f16": "fp16"}


class FormatOption(msgspec.Struct, frozen=True, kw_only=True):
    """One way to hold the weights.

    label        in the fleet file's words
    formats      of weights, experts, products and cache
    quality      measured cost in quality; empty for the source's own format
    needs        what must be at hand; empty where nothing
    last_resort  whether it is tried only where nothing else is left
    """

    label: str
    formats: Formats
    quality: str = ""
    needs: str = ""
    last_resort: bool = False


class FormatOptions(msgspec.Struct, frozen=True, kw_only=True):
    """Formats to try, in order, and those that the device or the engine cannot run."""

    possible: tuple[FormatOption, ...]
    rejected: tuple[Rejected, ...]


def formats_for(model: Model, network: Network, device: Device) -> FormatOptions:
    """The formats of one model on one device.

    `auto` keeps the source's own format and tries FP8 beside it, which engines make while they
    load; four bits come last, because they need a checkpoint of their own.
    """
    engine = kernels_of(model.engine)
    try:
        runs = supported(device, engine)
    except InputError as unknown:
        return FormatOptions(
            possible=(),
            rejected=(Rejected(what=device.name, code="format", reason=unknown.message),),
        )
    possible: list[FormatOption] = []
    rejected: list[Rejected] = []
    for name, last in _wanted(model, network):
        made = _option(name, last, model, network, runs)
        if made is not None:
            possible.append(made)
        elif not last:
            rejected.append(
                Rejected(
                    what=f"{device.name}, {name}",
                    code="format",
                    reason=f"{engine} does not run {name} on {device.generation}",
                )
            )
    return FormatOptions(possible=tuple(possible), rejected=tuple(rejected))


def _wanted(model: Model, network: Network) -> Iterator[tuple[str, bool]]:
    """Names of formats, and whether each is a last resort."""
    word = SPELLED.get(model.quantization, model.quantization)
    if word not in ("auto", "none"):
        yield word, False
        return
    yield network.stored, False
    if (
        word == "auto"
        and not network.embedding
        and network.stored in SIXTEEN
        and network.expert_stored in SIXTEEN
    ):
        yield "fp8", False
        for name in FOUR_BITS:
            yield name, True


def _option(
    name: str, last: bool, model: Model, network: Network, runs: Mapping[str, How]
) -> FormatOption | None:
    """One format as the device runs it, or None where it does not."""
    wide = next((kind for kind in ("bf16", "fp16", "fp32") if kind in runs), "fp16")
    own = name == network.stored
    experts = network.expert_stored if own else name
    weights = wide if name in SIXTEEN else name
    experts = wide if experts in SIXTEEN else experts
    for kind in {weights, experts}:
        if kind not in runs:
            return None
    format_ = weight_format(weights)
    label = weights if weights == experts else f"{weights}, experts {experts}"
    return FormatOption(
        label=label,
        formats=Formats(
            weights=weights,
            experts=experts,
            compute=_compute(weight_format(experts) if network.mixture else format_, runs, wide),
            cache=_cache(model, wide),
        ),
        quality="" if own or name in SIXTEEN else _quality(format_),
        needs=f"a checkpoint in {name}" if not own and name in NEEDS_CHECKPOINT else "",
        last_resort=last,
    )


def _compute(format_: WeightFormat, runs: Mapping[str, How], wide: str) -> str:
    """The element type of the products: narrow only where the hardware multiplies it."""
    narrow = runs.get(format_.name) == "native" and format_.compute not in SIXTEEN
    return format_.compute if narrow else wide


def _cache(model: Model, wide: str) -> str:
    said = model.kv_cache_type
    if said == "auto":
        return wide
    return "fp8" if said.startswith("fp8") else SPELLED.get(said, said)


def _quality(format_: WeightFormat) -> str:
    if format_.recovery is None:
        return "no measured cost in quality is at hand"
    return f"{format_.recovery:.1%} of the 16-bit score ({format_.measured})"
