"""The ledger of one GPU: it adds up, and it moves the way memory does."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from plimsoll.errors import InputError
from plimsoll.facts.accelerators import device
from plimsoll.facts.catalogue import network
from plimsoll.plan.deployment import Deployment, Formats, Split
from plimsoll.plan.vram import blocks, fits, ledger, room
from plimsoll.plan.vram.budget import budget
from plimsoll.plan.vram.weights import shard
from plimsoll.units import MIB
from tests.plan.vram.made import deployments, networks, plain


@given(deployments())
def test_the_ledger_adds_up_to_the_byte(deployment: Deployment) -> None:
    found = ledger(deployment)
    assert all(isinstance(term.bytes, int) and term.bytes > 0 and term.why for term in found.terms)
    held = budget(deployment)
    parts = held.driver + held.inside + held.outside + max(0, held.free - held.outside)
    cache = sum(term.bytes for term in found.terms if term.name == "kv cache")
    assert found.total == parts + cache


@given(deployments())
def test_what_fits_has_a_ledger_within_the_device(deployment: Deployment) -> None:
    verdict = fits(deployment)
    if verdict:
        assert ledger(deployment).total <= deployment.device.memory
    elif verdict.limit in ("weights", "activations", "kv cache"):
        assert ledger(deployment).total > deployment.device.memory
        assert verdict.missing > 0


@given(deployments(), st.integers(1, 100_000))
def test_a_longer_context_never_needs_fewer_bytes(deployment: Deployment, more: int) -> None:
    longer = replace(deployment, context=deployment.context + more)
    assert ledger(longer).total >= ledger(deployment).total


@given(deployments(), st.integers(1, 1000))
def test_more_sequences_never_need_fewer_bytes(deployment: Deployment, more: int) -> None:
    wider = replace(deployment, sequences=deployment.sequences + more)
    assert ledger(wider).total >= ledger(deployment).total
    assert blocks(wider) <= blocks(deployment)


@given(deployments(), st.integers(1, 64 << 30))
def test_more_memory_never_lowers_blocks(deployment: Deployment, more: int) -> None:
    # The default step grows with the device, which is a setting and not the memory's doing.
    asked = replace(deployment, batch_tokens=deployment.batch_tokens or 2048, utilization=0.9)
    larger = replace(asked.device, memory=asked.device.memory + more)
    assert blocks(replace(asked, device=larger)) >= blocks(asked)


@given(networks(), st.sampled_from(("bf16", "fp8", "int4")), st.sampled_from((1, 2, 4)))
def test_more_tensor_parallelism_never_raises_weights(network, weights: str, data: int) -> None:  # type: ignore[no-untyped-def]
    formats = Formats(weights=weights, experts=weights)
    held = [
        shard(network, Split(tensor=tensor, data=data), formats).total for tensor in (1, 2, 4, 8)
    ]
    assert held == sorted(held, reverse=True)


@given(networks())
def test_a_smaller_format_never_raises_weights(network) -> None:  # type: ignore[no-untyped-def]
    held = [
        shard(network, Split(), Formats(weights=name, experts=name)).total
        for name in ("fp32", "bf16", "fp8", "int4")
    ]
    assert held == sorted(held, reverse=True)


@pytest.mark.parametrize("profile", ["1g.10gb", "3g.40gb"])
def test_a_slice_has_less_than_the_whole(profile: str) -> None:
    whole, part = plain(), plain(device=device("H100", profile))
    assert 0 < room(part).usable < room(whole).usable
    assert room(part).cache < room(whole).cache


def test_weights_are_what_the_model_has_parameters_for() -> None:
    held = shard(network("Llama-3.1-8B"), Split(), Formats())
    assert held.total == pytest.approx(8_030_261_248 * 2, rel=1e-4)


def test_quantized_weights_leave_embeddings_and_head_at_sixteen_bits() -> None:
    model = network("Llama-3.1-70B")
    whole, small = (shard(model, Split(), Formats(weights=name)) for name in ("bf16", "fp8"))
    assert small.embeddings == whole.embeddings == 2 * 128_256 * 8192 * 2
    assert small.dense == pytest.approx(whole.dense / 2, rel=1e-3)


def test_key_value_heads_are_replicated_where_there_are_fewer_than_devices() -> None:
    model = network("Qwen3-30B-A3B")  # 4 heads of keys and values
    four, eight = (plain("Qwen3-30B-A3B", split=Split(tensor=n)) for n in (4, 8))
    assert model.layers[0].mixer.kv_heads == 4
    assert budget(eight).layout.block_bytes == budget(four).layout.block_bytes


def test_compressed_keys_are_whole_on_every_device() -> None:
    one, eight = (plain("deepseek-ai/DeepSeek-R1", split=Split(tensor=n)) for n in (1, 8))
    layout = budget(one).layout
    assert layout.block_bytes == budget(eight).layout.block_bytes
    assert layout.block_bytes == 61 * (512 + 64) * 2 * layout.block_tokens


def test_experts_are_spread_over_all_devices_and_attention_is_not() -> None:
    model = network("deepseek-ai/DeepSeek-R1")
    formats = Formats(weights="fp8_block", experts="fp8_block")
    spread = shard(model, Split(data=8, expert=8), formats)
    cut = shard(model, Split(tensor=8), formats)
    assert spread.experts == pytest.approx(cut.experts, rel=1e-6)
    assert spread.dense > 4 * cut.dense


def test_a_pipeline_holds_one_table_of_embeddings_a_stage() -> None:
    model = network("Llama-3.1-70B")
    whole, stage = (shard(model, Split(pipeline=n), Formats()) for n in (1, 2))
    assert stage.embeddings * 2 == whole.embeddings
    assert stage.dense * 2 == whole.dense


def test_published_bytes_are_taken_where_the_published_formats_run() -> None:
    model = replace(network("Llama-3.1-8B"), stored_bytes=16_500_000_000)
    assert shard(model, Split(), Formats()).total == pytest.approx(16_500_000_000, abs=8)
    assert shard(model, Split(), Formats(weights="fp8")).total < 10_000_000_000


def test_the_allocator_keeps_short_ends_of_its_steps() -> None:
    """Yi-34B on two devices: 63 and 49 MiB of attention, and tables of 437.5 MiB."""
    held = shard(network("01-ai/Yi-34B"), Split(tensor=2), Formats())
    assert held.rounding == (60 * (1 + 1) + 2 // 2) * MIB
    assert shard(network("Llama-2-7b-hf"), Split(), Formats()).rounding == 0


def test_adapters_and_a_draft_model_take_their_bytes() -> None:
    bare = plain()
    adapted = plain(adapters=4, adapter_rank=16)
    drafted = plain(draft=network("Qwen3-0.6B"))
    assert budget(adapted).adapters == 4 * budget(plain(adapters=1, adapter_rank=16)).adapters > 0
    assert room(adapted).cache < room(bare).cache
    assert budget(drafted).draft > 10**9
    assert budget(drafted).layout.block_bytes > budget(bare).layout.block_bytes


def test_a_step_is_limited_by_its_sampler_where_the_vocabulary_is_large() -> None:
    many = plain(version="0.11", sequences=1024, split=Split(tensor=1))
    assert budget(many).peak.limit == "sampler"
    assert budget(replace(many, sequences=1)).peak.limit == "layer"


@pytest.mark.parametrize(
    "change",
    [{"context": 0}, {"sequences": 0}, {"utilization": 1.5}, {"split": Split(tensor=0)}],
)
def test_a_number_out_of_range_is_the_users_error(change: dict[str, object]) -> None:
    with pytest.raises(InputError) as caught:
        ledger(plain(**change))
    assert caught.value.code == "plan.vram.range"


def test_an_unknown_engine_is_the_users_error() -> None:
    with pytest.raises(InputError) as caught:
        ledger(plain(engine="vlm"))
    assert caught.value.hint is not None
    assert "vllm" in caught.value.hint
