"""The accelerators of the catalogue, and the device that a whole one or a MIG slice of it makes."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from functools import cache

import msgspec

from plimsoll.errors import InputError
from plimsoll.facts.devices import Device
from plimsoll.facts.mig import MigProfile, mig_profiles
from plimsoll.facts.nearest import nearest_hint
from plimsoll.facts.table import sparse_csv_rows


class Accelerator(msgspec.Struct, frozen=True, kw_only=True):
    """One accelerator, as its maker sells it and its driver shows it.

    name                its name in the catalogue: `H100-80GB-SXM`
    aliases             other spellings; a short name such as `A100` belongs to one accelerator
    vendor              `nvidia`, `amd` or `intel`
    generation          `volta`, `turing`, `ampere`, `ada`, `hopper`, `blackwell`, `cdna3`, `cdna4`,
                        `xe2`
    compute_capability  CUDA compute capability, or the maker's name of the target: `9.0`,
                        `gfx942`
    nominal             bytes on the box, whose GB are GiB
    usable              bytes that the driver shows in total, and `memory_label` says in MiB
    cuda_total          bytes that `cudaMemGetInfo` calls total, what engines take shares of; it
                        differs by some 0.3 % between drivers; None where not known
    bandwidth           bytes per second between memory and processors
    bf16 fp16 fp8 int8 fp4  dense operations per second of the matrix units, products summed in
                        FP32 where there is a choice; None where there are none
    multiprocessors     streaming multiprocessors, compute units or Xe cores
    link                bytes per second and direction to the other devices of a node
    nvlink              whether `link` is NVLink or Infinity Fabric between all of them, not PCIe;
                        bridges that join pairs of cards do not count
    pcie                bytes per second and direction
    fabric              bytes per second and direction of one device to other nodes, as usually
                        built; the source says where it is assumed
    per_node            devices that one node usually has
    power               watts
    native              weight formats that the matrix units multiply as they are
    dequantised         weight formats that kernels widen first; memory is saved, not arithmetic
    mig                 whether the maker offers MIG on it
    mps                 whether CUDA's Multi-Process Service works on it
    product_label       `nvidia.com/gpu.product` of GPU feature discovery; empty where not known
    memory_label        `nvidia.com/gpu.memory`, MiB; None where not known
    source              where it is written
    date                when it was read
    """

    name: str
    aliases: tuple[str, ...]
    vendor: str
    generation: str
    compute_capability: str
    nominal: int
    usable: int
    cuda_total: int | None = None
    bandwidth: float
    bf16: float | None = None
    fp16: float | None = None
    fp8: float | None = None
    int8: float | None = None
    fp4: float | None = None
    multiprocessors: int
    link: float
    nvlink: bool
    pcie: float
    fabric: float
    per_node: int
    power: int
    native: tuple[str, ...]
    dequantised: tuple[str, ...]
    mig: bool
    mps: bool
    product_label: str = ""
    memory_label: int | None = None
    source: str
    date: dt.date

    @property
    def flops(self) -> dict[str, float]:
        """Dense operations per second by element type, without those that it has not."""
        every = {
            "bf16": self.bf16,
            "fp16": self.fp16,
            "fp8": self.fp8,
            "int8": self.int8,
            "fp4": self.fp4,
        }
        return {name: value for name, value in every.items() if value is not None}


@cache
def accelerators() -> Mapping[str, Accelerator]:
    """Every accelerator of the catalogue, by name."""
    rows = sparse_csv_rows(
        "accelerators.csv", Accelerator, lists=("aliases", "native", "dequantised")
    )
    return {row.name: row for row in rows}


def accelerator(name: str) -> Accelerator:
    """The accelerator of that name or alias; case, spaces, `-` and `_` do not matter.

    `A100`, `H100` and `H200` are the SXM parts with 80, 80 and 141 GB, `V100` the one with 16.
    Raises InputError for one that is not in the catalogue.
    """
    try:
        return _by_spelling()[_plain(name)]
    except KeyError:
        raise InputError(
            f"no facts about an accelerator `{name}`",
            hint=nearest_hint(name, accelerators()),
            code="facts.unknown-accelerator",
        ) from None


def device(name: str, profile: str = "") -> Device:
    """A whole accelerator, or one MIG instance of it.

    An instance has its slots' share of the bandwidth, its multiprocessors' share of the
    operations, and no link: instances have no peers. `per_node` and `fabric` are then those of
    one instance where all are alike. Raises InputError for an accelerator that is not in the
    catalogue, or a profile that it has not.
    """
    whole = accelerator(name)
    if not profile:
        return Device(
            name=whole.name,
            accelerator=whole.name,
            generation=whole.generation,
            nominal=whole.nominal,
            memory=whole.usable,
            bandwidth=whole.bandwidth,
            flops=whole.flops,
            multiprocessors=whole.multiprocessors,
            link=whole.link,
            nvlink=whole.nvlink,
            fabric=whole.fabric,
            per_node=whole.per_node,
            quantizations=whole.native,
        )
    return _instance(whole, _profile(whole, profile))


def _profile(whole: Accelerator, name: str) -> MigProfile:
    known = {row.name: row for row in mig_profiles(whole.name)}
    if name.lower() in known:
        return known[name.lower()]
    listed = ", ".join(f"`{row}`" for row in known)
    raise InputError(
        f"{whole.name} has no MIG profile `{name}`",
        hint=f"it has {listed}" if known else "no MIG profiles of it are known",
        code="facts.unknown-mig-profile",
    )


def _instance(whole: Accelerator, profile: MigProfile) -> Device:
    share = profile.multiprocessors / whole.multiprocessors
    return Device(
        name=f"{whole.name}/{profile.name}",
        accelerator=whole.name,
        generation=whole.generation,
        profile=profile.name,
        nominal=whole.nominal * profile.memory_slices // profile.slots,
        memory=profile.usable,
        bandwidth=whole.bandwidth * profile.memory_slices / profile.slots,
        flops={kind: value * share for kind, value in whole.flops.items()},
        multiprocessors=profile.multiprocessors,
        link=0.0,
        nvlink=False,
        fabric=whole.fabric / profile.most,
        per_node=whole.per_node * profile.most,
        quantizations=whole.native,
    )


def _plain(name: str) -> str:
    return "".join(letter for letter in name.lower() if letter.isalnum())


@cache
def _by_spelling() -> Mapping[str, Accelerator]:
    return {
        _plain(spelling): row
        for row in accelerators().values()
        for spelling in (row.name, *row.aliases, row.product_label)
        if spelling
    }
