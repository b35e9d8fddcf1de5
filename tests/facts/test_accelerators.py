import csv
import datetime as dt
from collections import Counter
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from plimsoll.errors import InputError
from plimsoll.facts.accelerators import accelerator, accelerators, device
from plimsoll.facts.mig import mig_profiles, mig_slots
from plimsoll.facts.weight_formats import weight_formats

TODAY = dt.date(2026, 11, 21)
PERF = Path(__file__).parents[3] / "shared" / "data" / "perf"
EVERY = pytest.mark.parametrize("row", accelerators().values(), ids=lambda row: row.name)
SLICED = [row for row in accelerators().values() if mig_profiles(row.name)]
EVERY_SLICED = pytest.mark.parametrize("row", SLICED, ids=lambda row: row.name)
DENSE_BF16 = {  # the makers' sparse figures are twice these
    "A100-80GB-SXM": 312e12, "H100-80GB-SXM": 989e12, "H200-SXM": 989e12, "L4": 121e12,
    "L40S": 362.05e12, "B200": 2250e12, "MI300X": 1307.4e12,
}  # fmt: skip


def spellings(row):
    return {
        "".join(filter(str.isalnum, text.lower()))
        for text in (row.name, *row.aliases, row.product_label)
        if text
    }


@EVERY
def test_an_accelerator_has_a_source_and_a_date_that_has_been(row):
    assert row.source
    assert dt.date(2026, 1, 1) <= row.date <= TODAY


@EVERY
def test_usable_memory_is_a_little_below_what_the_box_says(row):
    assert 0.9 * row.nominal < row.usable <= row.nominal
    assert row.cuda_total is None or 0.93 * row.usable < row.cuda_total < row.usable
    assert row.memory_label is None or row.memory_label * 2**20 == row.usable


@EVERY
def test_speeds_are_within_what_physics_and_the_market_allow(row):
    assert 2e11 < row.bandwidth <= 8.1e12
    assert 5e13 <= row.flops["fp16"] <= 3e15
    assert all(value <= 2e16 for value in row.flops.values())
    assert 1e10 <= row.link <= 1e12
    assert 1e10 <= row.pcie <= 1.3e11
    assert 1e9 <= row.fabric <= 1e12
    assert 20 <= row.multiprocessors <= 400
    assert 60 <= row.power <= 1500
    assert 1 <= row.per_node <= 8


@EVERY
def test_a_narrower_type_is_never_slower(row):
    flops = row.flops
    assert "bf16" not in flops or flops["bf16"] == flops["fp16"]
    assert flops.get("fp8", flops["fp16"]) >= flops["fp16"]
    assert flops.get("fp4", 1e18) >= flops.get("fp8", 0)


@EVERY
def test_only_links_that_join_all_devices_of_a_node_count_as_nvlink(row):
    assert (row.link > row.pcie) == row.nvlink


@EVERY
def test_native_formats_have_a_rate_and_no_format_is_both(row):
    rates = {"bf16": "bf16", "fp16": "fp16", "fp8": "fp8", "fp8_block": "fp8", "int8": "int8",
             "nvfp4": "fp4", "mxfp4": "fp4"}  # fmt: skip
    for name in row.native:
        assert name == "int4" or rates[name] in row.flops
    assert not set(row.native) & set(row.dequantised)
    assert set(row.native) | set(row.dequantised) <= set(weight_formats())


@pytest.mark.parametrize("name", DENSE_BF16)
def test_rates_are_dense_not_sparse(name):
    assert accelerator(name).flops["bf16"] == pytest.approx(DENSE_BF16[name], rel=0.01)


def test_a_spelling_belongs_to_one_accelerator():
    seen = Counter(text for row in accelerators().values() for text in spellings(row))
    assert [text for text, times in seen.items() if times > 1] == []


@pytest.mark.parametrize(
    ("said", "meant"),
    [
        ("H100", "H100-80GB-SXM"), ("H100-80GB", "H100-80GB-SXM"), ("H100-SXM", "H100-80GB-SXM"),
        ("h200_sxm", "H200-SXM"), ("A100", "A100-80GB-SXM"), ("a100_sxm", "A100-80GB-SXM"),
        ("A100-SXM-80GB", "A100-80GB-SXM"), ("A100-PCIE-80GB", "A100-80GB-PCIe"),
        ("a100-80gb", "A100-80GB-SXM"), ("RTXPRO6000", "RTX-PRO-6000"), ("nvidia l4", "L4"),
        ("NVIDIA-A100-SXM4-40GB", "A100-40GB-SXM"), ("L4-24GB", "L4"), ("gb200", "GB200"),
        ("NVIDIA GeForce RTX 4090", "RTX-4090"),
    ],
)  # fmt: skip
def test_an_accelerator_is_known_by_the_names_in_use(said, meant):
    assert accelerator(said).name == meant


@given(st.sampled_from(sorted(accelerators())), st.sampled_from("-_ "), st.booleans())
def test_case_and_separators_do_not_matter(name, separator, upper):
    said = name.replace("-", separator)
    assert accelerator(said.upper() if upper else said.lower()).name == name


def test_an_unknown_accelerator_is_an_input_error_with_the_nearest():
    with pytest.raises(InputError) as caught:
        accelerator("H1000")
    assert caught.value.code == "facts.unknown-accelerator"
    assert "H100" in (caught.value.hint or "")


@EVERY
def test_a_whole_device_is_the_accelerator(row):
    whole = device(row.name)
    assert (whole.name, whole.accelerator, whole.profile) == (row.name, row.name, "")
    assert (whole.memory, whole.bandwidth, whole.link) == (row.usable, row.bandwidth, row.link)
    assert whole.flops == row.flops


@EVERY_SLICED
def test_an_instance_has_its_share_and_no_peers(row):
    whole = device(row.name)
    for profile in mig_profiles(row.name):
        part = device(row.name.lower(), profile.name.upper())
        assert part.name == f"{row.name}/{profile.name}"
        assert part.memory == profile.usable < whole.memory
        assert (part.link, part.nvlink) == (0, False)
        assert part.per_node == whole.per_node * profile.most
        shares = {part.flops[kind] / value for kind, value in whole.flops.items()}
        assert max(shares) == pytest.approx(min(shares))
        assert max(shares) <= 1
        assert part.bandwidth / whole.bandwidth == profile.memory_slices / mig_slots(row.name)


@EVERY_SLICED
def test_a_larger_instance_is_never_less(row):
    parts = [device(row.name, profile.name) for profile in mig_profiles(row.name)]
    for small, large in pairwise(parts):
        assert small.memory <= large.memory
        assert small.bandwidth <= large.bandwidth


def test_a_profile_that_the_device_has_not_names_those_it_has():
    with pytest.raises(InputError) as caught:
        device("H100", "3g.47gb")
    assert caught.value.code == "facts.unknown-mig-profile"
    assert "`3g.40gb`" in (caught.value.hint or "")
    with pytest.raises(InputError):
        device("L4", "1g.5gb")


def specs():
    path = PERF / "gpu_specs.csv"
    if not path.exists():
        return []
    return list(csv.DictReader(path.read_text().splitlines()))


@pytest.mark.skipif(not specs(), reason="shared/data/perf/gpu_specs.csv is not here")
def test_the_published_specifications_agree():
    columns = {"mem_bw_Bps": "bandwidth", "bf16_dense_flops": "bf16", "fp8_dense_flops": "fp8",
               "int8_dense_ops": "int8", "fp4_dense_flops": "fp4", "power_W": "power",
               "pcie_Bps_1dir": "pcie", "gpus_per_node": "per_node",
               "intra_node_bw_Bps_per_gpu_1dir": "link"}  # fmt: skip
    for row in specs():
        ours = accelerator(row["system"])
        assert ours.usable <= int(row["mem_capacity_B"])
        for column, field in columns.items():
            if row[column] and (row["system"], field) != ("b60", "fp8"):  # computed as BF16 there
                assert getattr(ours, field) == pytest.approx(float(row[column]), rel=0.01), (
                    row["system"], column,
                )  # fmt: skip
