"""How one replica is spread over devices, and the number formats in it. Plain data."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Split:
    """How one replica is spread over devices.

    tensor    devices that share every layer; inside one node
    pipeline  groups of layers, one after the other
    data      copies of attention behind one endpoint (attention data parallel); experts are
              spread over all of them
    expert    devices over which experts are spread whole; 1: experts are cut like the rest
    """

    tensor: int = 1
    pipeline: int = 1
    data: int = 1
    expert: int = 1

    @property
    def devices(self) -> int:
        """Devices of one replica."""
        return self.tensor * self.pipeline * self.data


@dataclass(frozen=True, slots=True, kw_only=True)
class Formats:
    """Element types of one replica, each a key of facts' weight formats (`bf16`, `fp8`, `int4`...).

    weights  of dense matrices
    experts  of experts' matrices
    compute  in which matrices are multiplied: `bf16`, `fp8`, `int8`, `fp4`
    cache    of the KV cache
    """

    weights: str = "bf16"
    experts: str = "bf16"
    compute: str = "bf16"
    cache: str = "bf16"
