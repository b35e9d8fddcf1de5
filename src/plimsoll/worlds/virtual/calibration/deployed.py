"""The simulated engine of a deployment that nobody has measured: what the planner knows of it."""

from __future__ import annotations

from plimsoll.errors import InputError
from plimsoll.facts.schedulers import scheduler
from plimsoll.facts.vram import default_batch_tokens
from plimsoll.plan.deployment import Deployment, kernels_of
from plimsoll.plan.vram.room import blocks
from plimsoll.worlds.virtual.calibration.coefficients import Coefficients, coefficients_of
from plimsoll.worlds.virtual.engine.types import EngineLimits, StepTimes

BLOCK = 16  # tokens, in every release of vLLM on GPUs


def limits_of(deployment: Deployment, *, hash_tokens: int = BLOCK) -> EngineLimits:
    """What fits in a replica, and how it makes batches.

    hash_tokens  tokens that one name of a prompt's blocks stands for

    Raises InputError where nothing is left for a KV cache.
    """
    known = scheduler(deployment.engine, deployment.version)
    room = blocks(deployment) - 1  # one stays empty
    if room < 1:
        raise InputError(
            f"nothing is left for a KV cache on {deployment.device.name}",
            where=deployment.network.name,
            hint="more devices, narrower weights or a shorter context",
        )
    device = deployment.device
    usual = default_batch_tokens(kernels_of(deployment.engine), device.memory, device.generation)
    return EngineLimits(
        max_num_batched_tokens=max(deployment.batch_tokens or usual, deployment.sequences),
        max_num_seqs=deployment.sequences,
        kv_blocks=room,
        block_size=BLOCK,
        hash_tokens=hash_tokens,
        steps_ahead=known.steps_ahead,
        reserve_prompt=known.reserve_prompt,
    )


def times_of(deployment: Deployment, coefficients: Coefficients | None = None) -> StepTimes:
    """How long its steps take, with graphs for the batches that its release captures.

    coefficients  where they are known better than from what was fitted for all
    """
    sizes = scheduler(deployment.engine, deployment.version).graph_sizes
    padding = sizes.sizes(deployment.sequences) if deployment.graphs else ()
    return (coefficients or coefficients_of(deployment)).times(padding=padding)
