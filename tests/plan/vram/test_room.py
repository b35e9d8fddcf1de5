"""What the KV cache of one GPU holds, against the engines' own arithmetic."""

import timeit
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from plimsoll.plan.deployment import Deployment, Formats, Split
from plimsoll.plan.vram import (
    blocks,
    blocks_between,
    cache_tokens,
    fits,
    largest_batch,
    room,
)
from plimsoll.plan.vram.budget import budget
from tests.plan.vram.made import deployments, plain

CALLS = 2000


def test_an_eight_bit_cache_holds_twice_the_tokens() -> None:
    wide, narrow = plain(), plain(formats=Formats(cache="fp8"))
    assert budget(narrow).layout.block_bytes * 2 == budget(wide).layout.block_bytes
    assert abs(blocks(narrow) - 2 * blocks(wide)) <= 1


@given(deployments())
def test_blocks_lie_within_their_interval(deployment: Deployment) -> None:
    fewest, most = blocks_between(deployment)
    assert fewest <= blocks(deployment) <= most


@given(deployments(), st.floats(1.0, 1e5), st.floats(1.0, 1e5))
def test_longer_requests_are_never_more(deployment: Deployment, one: float, more: float) -> None:
    assert largest_batch(deployment, one + more) <= largest_batch(deployment, one)


@given(deployments())
def test_blocks_take_no_more_than_is_left(deployment: Deployment) -> None:
    held = budget(deployment)
    if held.left >= 0:
        assert held.left - blocks(deployment) * held.layout.block_bytes >= 0
        if held.layout.block_bytes:
            assert held.left < (blocks(deployment) + 1) * held.layout.block_bytes
    else:
        assert blocks(deployment) == 0


def test_a_token_takes_keys_and_values_of_every_layer() -> None:
    layout = budget(plain("Llama-2-7b-hf")).layout
    assert layout.block_tokens == 16
    assert layout.block_bytes == 16 * 2 * 32 * 32 * 128 * 2


def test_windows_and_whole_layers_share_blocks_of_one_size() -> None:
    layout = budget(plain("gpt-oss-20b")).layout
    window, whole = layout.pools
    assert (window.reach, window.limit, whole.reach) == ("window", 128, "whole")
    assert window.block_bytes == whole.block_bytes == 12 * 16 * 8 * (64 + 64) * 2
    # Of a long request the window keeps its 128 tokens, one block more, and no others.
    assert layout.request(100_000) < 1.01 * whole.block_bytes * 100_000 / 16
    assert largest_batch(plain("gpt-oss-20b"), 100_000) > 1.9 * room(plain("gpt-oss-20b")).cache / (
        100_000 / 16 * layout.block_bytes
    )


def test_a_state_widens_the_blocks_of_attention() -> None:
    layout = budget(plain("Qwen/Qwen3-Next-80B-A3B-Instruct", split=Split(tensor=4))).layout
    state, whole = layout.pools
    assert state.reach == "state"
    assert whole.block_tokens % 16 == 0
    assert whole.block_bytes / whole.layers >= state.token_bytes / state.layers
    # A request of ten times the length keeps no more state.
    assert layout.request(100_000) < 10 * layout.request(10_000)


def test_layers_that_reuse_anothers_cache_keep_none() -> None:
    found = plain()
    shared = replace(
        found.network,
        layers=(
            replace(found.network.layers[0], count=16),
            replace(
                found.network.layers[0],
                count=16,
                mixer=replace(found.network.layers[0].mixer, cached=False),
            ),
        ),
    )
    half = budget(replace(found, network=shared)).layout.block_bytes
    assert half * 2 == budget(found).layout.block_bytes


def test_an_embedding_model_keeps_nothing_and_runs() -> None:
    found = plain()
    embedder = replace(found, network=replace(found.network, embedding=True))
    assert blocks(embedder) == cache_tokens(embedder) == 0
    assert largest_batch(embedder, 512) == 128
    assert fits(embedder).fit == "fits"


def test_copies_of_attention_add_up() -> None:
    one = plain(
        "deepseek-ai/DeepSeek-R1",
        "H200",
        formats=Formats(weights="fp8", experts="fp8"),
        split=Split(data=8, expert=8),
    )
    held = budget(one)
    assert largest_batch(one, 4096) == pytest.approx(
        8 * held.left / held.layout.request(4096), rel=1e-9
    )


def test_an_engine_that_takes_a_share_of_what_is_left_always_leaves_a_part() -> None:
    found = room(plain(engine="trtllm"))
    assert found.engine < found.usable
    assert found.cache == pytest.approx(0.9 * (found.cache + found.usable - found.engine), rel=1e-6)


def test_aliases_share_the_rows_of_their_engine() -> None:
    assert blocks(plain(engine="triton")) == blocks(plain(engine="trtllm"))
    assert blocks(plain(engine="tgi")) == blocks(plain(engine="vllm"))


def test_one_request_of_the_full_context_must_fit() -> None:
    short, long = plain(accelerator="RTX-4090"), plain(accelerator="RTX-4090", context=131_072)
    assert fits(short).fit != "does not fit"
    verdict = fits(long)
    assert (verdict.fit, verdict.limit) == ("does not fit", "kv cache")
    assert verdict.missing > 0


def test_heads_that_do_not_divide_are_refused() -> None:
    verdict = fits(plain("deepseek-ai/DeepSeek-R1", "B200", split=Split(tensor=24)))
    assert (verdict.fit, verdict.limit, verdict.possible) == ("does not fit", "heads", False)


def test_a_share_without_room_for_the_context_is_refused() -> None:
    verdict = fits(plain(utilization=1.0))
    assert (verdict.fit, verdict.limit) == ("does not fit", "left free")


def test_what_a_higher_share_would_hold_is_said() -> None:
    tight = plain("Qwen3-32B", utilization=0.8)
    verdict = fits(tight)
    assert not verdict
    assert verdict.possible
    assert fits(replace(tight, utilization=0.95))


def test_a_verdict_takes_less_than_a_tenth_of_a_millisecond() -> None:
    found = plain("gpt-oss-20b", split=Split(tensor=2))
    least = min(timeit.repeat(lambda: (blocks(found), fits(found)), number=CALLS, repeat=3))
    assert least / CALLS < 2 * 100e-6
