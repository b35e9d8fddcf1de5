"""What one device reaches: peaks of its data sheet, and what kernels were measured to reach."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

from plimsoll.facts.devices import Device
from plimsoll.facts.speed import Kernel, kernels, likenesses
from plimsoll.facts.weight_formats import weight_format
from plimsoll.plan.deployment import Deployment

_NEXT = {"fp8": ("fp8_block",), "mxfp8": ("fp8_block",)}  # of the same width and unit


@dataclass(frozen=True, slots=True, kw_only=True)
class Hardware:
    """One device of a deployment; seconds, bytes per second and operations per second.

    product_start     of a product of matrices
    product_rate      bytes read by products
    product_compute   operations of products
    mixture_start     of the experts of one layer
    mixture_rate      bytes of weights read by experts
    mixture_compute   operations of experts
    mixture_traffic   bytes of activations moved by experts
    attention_start   of decoding attention of one layer
    attention_rate    bytes read by decoding attention
    attention_compute operations of decoding attention
    prompt_compute    operations of attention over prompts
    reduction_start   of one exchange for tensor parallelism
    wire              bytes exchanged
    nvlink            1 where they go over NVLink, 0 where over PCIe
    handing_start     of handing activations to the next stage of a pipeline
    handing           bytes handed
    """

    product_start: float
    product_rate: float
    product_compute: float
    mixture_start: float
    mixture_rate: float
    mixture_compute: float
    mixture_traffic: float
    attention_start: float
    attention_rate: float
    attention_compute: float
    prompt_compute: float
    reduction_start: float
    wire: float
    nvlink: float
    handing_start: float
    handing: float


def measured_generation(generation: str) -> str:
    """The generation itself where kernels were measured on it, else the one that stands for it."""
    if ("product", generation, "bf16") in kernels():
        return generation
    return likenesses().get(generation, "ampere")


@lru_cache(maxsize=1024)
def _kernel(kind: str, generation: str, stored: str) -> Kernel:
    """The kernel of a format; where it was not measured, that of its element type, or 16 bits."""
    table = kernels()
    for name in (stored, weight_format(stored).compute, *_NEXT.get(stored, ())):
        row = table.get((kind, generation, name))
        if row is not None:
            return row
    return table[kind, generation, "bf16"]


def peak(deployment: Deployment, compute: str) -> float:
    """Operations per second of the device in an element type, or in the widest that it has."""
    flops = deployment.device.flops
    return flops.get(compute) or flops.get("bf16") or flops.get("fp16") or max(flops.values())


def hardware(deployment: Deployment) -> Hardware:
    """What each device of a deployment reaches."""
    device, formats, split = deployment.device, deployment.formats, deployment.split
    generation = measured_generation(device.generation)
    product = _kernel("product", generation, formats.weights)
    mixture = _kernel("mixture", generation, formats.experts)
    attention = _kernel("attention", generation, formats.cache)
    prompt = _kernel("prompt", generation, "bf16")
    reduction = _kernel("reduction", generation if device.nvlink else "pcie", "bf16")
    wide = peak(deployment, "bf16")
    tensor = max(1, split.tensor)
    # Over NVLink every device reaches every other. Over PCIe bytes go around a ring, and each link
    # carries those of one neighbour: more devices are more hops, at the rate of one link.
    turns = tensor.bit_length() - 1 if device.nvlink else 2 * (tensor - 1)
    return Hardware(
        product_start=product.start,
        product_rate=device.bandwidth * product.bandwidth,
        product_compute=peak(deployment, product.compute) * product.operations,
        mixture_start=mixture.start,
        mixture_rate=device.bandwidth * mixture.bandwidth,
        mixture_compute=peak(deployment, mixture.compute) * mixture.operations,
        mixture_traffic=device.bandwidth * mixture.traffic,
        attention_start=attention.start,
        attention_rate=device.bandwidth * attention.bandwidth,
        attention_compute=wide * attention.operations,
        prompt_compute=wide * prompt.operations,
        reduction_start=reduction.start + reduction.traffic * turns,
        wire=_link(device, split.tensor) * reduction.bandwidth,
        nvlink=float(device.nvlink),
        handing_start=reduction.start + reduction.traffic,
        handing=_link(device, split.devices) * reduction.bandwidth,
    )


def _link(device: Device, devices: int) -> float:
    """Bytes per second of the narrowest link between as many devices."""
    link = device.link if devices <= device.per_node else min(device.link, device.fabric)
    return link or device.fabric or 1e9
