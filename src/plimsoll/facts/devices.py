"""What a shard of a replica runs on: a whole accelerator, or one hardware slice of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Device:
    """A whole accelerator or a MIG instance, as memory and speed see it.

    name         `H100-80GB-SXM`, `A100-80GB-SXM/3g.40gb`
    accelerator  the accelerator's name in the catalogue
    generation   `ampere`, `ada`, `hopper`, `blackwell`, `turing`, `cdna3`
    profile      MIG profile; empty for a whole accelerator
    nominal      bytes on the box (or in the profile)
    memory       bytes that programs can use, as the driver reports them in total
    bandwidth    bytes per second between memory and processors
    flops        dense operations per second by element type: `bf16`, `fp8`, `int8`, `fp4`
    multiprocessors  streaming multiprocessors or compute units; 0 where not known
    link         bytes per second and direction to the other devices of a node (NVLink, or PCIe
                 where there is none); 0 for a slice, which has no peers
    nvlink       whether `link` is NVLink (or the maker's equal) and not PCIe
    fabric       bytes per second and direction of one device to other nodes, as usually built
    per_node     devices that one node usually has
    quantizations  weight formats that its hardware computes: `bf16`, `fp16`, `fp8`, `int8`,
                 `int4`, `nvfp4`, `mxfp4`
    """

    name: str
    accelerator: str
    generation: str
    profile: str = ""
    nominal: int
    memory: int
    bandwidth: float
    flops: Mapping[str, float]
    multiprocessors: int = 0
    link: float
    nvlink: bool
    fabric: float
    per_node: int
    quantizations: tuple[str, ...]
