"""What is vLLM's alone: ranks, nodes, formats, processors."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from plimsoll.engines import ENGINES
from plimsoll.errors import InputError
from plimsoll.facts.engines import engine as facts
from plimsoll.plan.split import Formats, Split
from plimsoll.plan.types import Accelerators
from plimsoll.units import GIB
from tests.engines.placements import CASES, Case, gpus, rendered, somewhere, usual

VLLM = ENGINES["vllm"]


def said(flag: str, argv: tuple[str, ...]) -> str | None:
    """The word after a flag; None where the flag is not said."""
    return argv[argv.index(flag) + 1] if flag in argv else None


def argv(**changes: object) -> tuple[str, ...]:
    return VLLM.command(usual(VLLM, **{**gpus(), **changes}), somewhere()).argv


def test_ranks_of_data_parallelism_are_added_and_their_caches_averaged() -> None:
    text = "".join(
        f'{name}{{engine="{rank}",model_name="m"}} {value}\n'
        for rank in (0, 1)
        for name, value in (
            ("vllm:num_requests_running", 3.0 + rank),
            ("vllm:num_requests_waiting", 2.0),
            ("vllm:kv_cache_usage_perc", 0.2 + 0.4 * rank),
            ("vllm:prompt_tokens_total", 100.0),
            ("vllm:generation_tokens_total", 50.0),
        )
    )
    counts = VLLM.counts(text)
    assert (counts.running, counts.waiting) == (7, 4)
    assert counts.kv_usage == pytest.approx(0.4)
    assert (counts.prompt_tokens, counts.generated_tokens) == (200, 100)


def test_requests_are_counted_for_each_rank_of_data_parallelism() -> None:
    split = Split(data=8, expert=8)
    words = argv(**{**gpus(per_node=8), "parallel": 100}, split=split)
    assert said("--max-num-seqs", words) == "13"


@pytest.mark.parametrize(
    ("accelerator", "image"),
    [
        ("H100-80GB-SXM", "vllm/vllm-openai"),
        ("MI300X", "vllm/vllm-openai-rocm"),
        ("Arc-Pro-B60", "vllm/vllm-openai-xpu"),
        ("", "vllm/vllm-openai-cpu"),
    ],
)
def test_the_image_is_the_one_for_the_accelerator(accelerator: str, image: str) -> None:
    devices = Accelerators(name=accelerator, per_node=1, memory=GIB) if accelerator else None
    version = facts("vllm").version
    assert VLLM.container(usual(VLLM, devices=devices)).image == f"{image}:v{version}"


def test_a_format_is_said_only_where_vllm_makes_it_while_loading() -> None:
    fp8 = Formats(weights="fp8", experts="fp8", compute="fp8")
    assert said("--quantization", argv(formats=fp8, quantization="fp8", converted=True)) == "fp8"
    assert said("--quantization", argv(formats=fp8, quantization="fp8")) is None


def test_a_format_that_vllm_cannot_make_is_refused_in_words() -> None:
    nf4 = Formats(weights="bnb_nf4", experts="bnb_nf4")
    with pytest.raises(InputError, match="has no weights `bnb_nf4`"):
        argv(formats=nf4, converted=True)


def test_a_step_holds_a_token_of_each_request_and_a_whole_prompt_of_an_embedding() -> None:
    assert said("--max-num-batched-tokens", argv(batch=16, parallel=64)) == "64"
    embedding = argv(batch=512, context=8192, task="embedding")
    assert said("--max-num-batched-tokens", embedding) == "8192"
    assert said("--max-num-batched-tokens", argv(batch=0)) is None


@given(rank=st.integers(1, 512))
def test_the_adapter_rank_holds_every_adapter_and_is_one_that_vllm_knows(rank: int) -> None:
    asked = int(said("--max-lora-rank", argv(adapters=("a",), adapter_rank=rank)) or 0)
    assert asked >= rank
    assert asked in facts("vllm").lora_ranks


def test_an_adapter_whose_path_has_a_comma_is_named_in_json() -> None:
    place = usual(VLLM, **gpus(), adapters=("a",), adapter_rank=8)
    there = somewhere(adapters={"a": "/models/a,b"})
    word = said("--lora-modules", VLLM.command(place, there).argv)
    assert json.loads(word or "") == {"name": "a", "path": "/models/a,b"}


def test_only_the_first_node_listens_and_shows_metrics() -> None:
    first, other = (rendered(VLLM, CASES[f"two-nodes-{which}"]) for which in ("first", "other"))
    assert "--headless" not in first.argv
    assert first.metrics
    assert first.alive
    assert "--headless" in other.argv
    assert "--port" not in other.argv
    assert other.metrics is None
    assert other.alive is None


def test_replicas_that_take_turns_are_told_their_cache_and_their_share() -> None:
    told = rendered(VLLM, CASES["turns"]).argv
    assert said("--kv-cache-memory-bytes", told) == str(12 * GIB)
    assert said("--gpu-memory-utilization", told) == "0.45"


def test_on_processors_the_cache_is_the_ledger_s_and_threads_are_not_bound_to_cores() -> None:
    command = VLLM.command(usual(VLLM, threads=6), somewhere())
    assert said("--kv-cache-memory-bytes", command.argv) == str(GIB)
    assert "--gpu-memory-utilization" not in command.argv
    assert command.env["OMP_NUM_THREADS"] == "6"
    assert command.env["VLLM_CPU_OMP_THREADS_BIND"] == "nobind"


def test_the_drain_is_the_longest_stream_and_a_little_more() -> None:
    command = VLLM.command(usual(VLLM), somewhere(max_stream=90.5))
    assert said("--shutdown-timeout", command.argv) == "91"
    assert 90.5 < command.drain.grace_seconds < 120


@pytest.mark.parametrize("variable", ["VLLM_SERVER_DEV_MODE", "VLLM_ALLOW_RUNTIME_LORA_UPDATING"])
def test_no_endpoint_that_changes_the_engine_is_opened(variable: str) -> None:
    assert all(variable not in rendered(VLLM, case).env for case in _served())


def _served() -> list[Case]:
    kept = []
    for case in CASES.values():
        try:
            rendered(VLLM, case)
        except InputError:
            continue
        kept.append(case)
    return kept


def test_it_reports_nothing_to_its_makers_and_asks_no_hub() -> None:
    env = VLLM.command(usual(VLLM), somewhere()).env
    assert (env["VLLM_NO_USAGE_STATS"], env["DO_NOT_TRACK"], env["HF_HUB_OFFLINE"]) == ("1",) * 3
