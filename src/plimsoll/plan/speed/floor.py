"""The limits of physics: what no engine and no setting can pass."""

from __future__ import annotations

from dataclasses import dataclass

from plimsoll.plan.deployment import Deployment
from plimsoll.plan.speed.hardware import peak
from plimsoll.plan.speed.step import bits_of
from plimsoll.plan.speed.work import Batch, work
from plimsoll.units import size


@dataclass(frozen=True, slots=True, kw_only=True)
class Floor:
    """A limit that no setting can pass.

    seconds  that it takes at least
    words    the limit for a reader
    """

    seconds: float
    words: str


def decode_floor(deployment: Deployment) -> Floor:
    """The least time of one output token: the weights that a token meets, read once."""
    asked = work(deployment, Batch(decodes=1, context=1), bits_of)
    read = (asked.dense_bytes + asked.expert_bytes) * deployment.split.pipeline
    device = deployment.device
    seconds = read / device.bandwidth
    return Floor(
        seconds=seconds,
        words=f"decode cannot go under {_milliseconds(seconds)} on {device.name}: "
        f"{size(int(read))} of weights at {device.bandwidth / 1e9:.0f} GB/s{_each(deployment)}",
    )


def prompt_floor(deployment: Deployment, prompt: float) -> Floor:
    """The least time of one prompt of `prompt` tokens: its operations at the device's peak."""
    batch = Batch(prefill=prompt, prefill_seen=prompt / 2)
    asked = work(deployment, batch, bits_of, head_tokens=1)
    operations = asked.dense_flops + asked.expert_flops + asked.prefill_flops
    operations *= deployment.split.pipeline
    compute = deployment.formats.compute
    rate = max(peak(deployment, compute), peak(deployment, "bf16"))
    device = deployment.device
    seconds = operations / rate
    return Floor(
        seconds=seconds,
        words=f"a prompt of {prompt:.0f} tokens cannot take less than {_milliseconds(seconds)} "
        f"on {device.name}: {operations / 1e12:.1f} Tflop at {rate / 1e12:.0f} Tflop/s"
        f"{_each(deployment)}",
    )


def _milliseconds(seconds: float) -> str:
    return f"{seconds * 1e3:.1f} ms" if seconds < 1 else f"{seconds:.1f} s"


def _each(deployment: Deployment) -> str:
    devices = deployment.split.tensor * deployment.split.data
    return f", on each of {devices} devices" if devices > 1 else ""
