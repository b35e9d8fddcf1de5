"""What a pipeline pays beside the work of its stages: handing over, and waiting for one another.

As many groups of requests are under way as there are stages, each group in one step. All of them
wait for the stage that takes longest: the last one, which has the output head.
"""

from __future__ import annotations

from collections.abc import Mapping

from plimsoll.plan.deployment import Deployment
from plimsoll.plan.speed.hardware import Hardware
from plimsoll.plan.speed.work import EXCHANGED_BYTES, HEAD_BYTES


def handing(deployment: Deployment, tokens: float, reach: Hardware) -> float:
    """Seconds in which a stage hands the activations of `tokens` to the next."""
    split = deployment.split
    moved = tokens / split.data * deployment.network.hidden * EXCHANGED_BYTES
    return reach.handing_start + moved / reach.handing


def idle(
    deployment: Deployment,
    requests: float,
    seconds: float,
    reach: Hardware,
    constants: Mapping[str, float],
) -> float:
    """Seconds of a round beyond those in which all stages compute, one after the other.

    requests  that decode in the whole replica
    seconds   of the mean stage for one group of them
    """
    stages = deployment.split.pipeline
    if stages == 1:
        return 0.0
    group = max(1.0, requests / stages)
    handed = handing(deployment, group, reach)
    slowest = seconds + _head(deployment, group, reach, constants) * (1.0 - 1.0 / stages) + handed
    once = stages * seconds + (stages - 1) * handed
    return max(once, min(requests, stages) * slowest) - stages * seconds


def _head(
    deployment: Deployment, requests: float, reach: Hardware, constants: Mapping[str, float]
) -> float:
    """Seconds of the output head on the stage that has it, where reading and multiplying add up."""
    network, split = deployment.network, deployment.split
    weights = network.vocab * network.hidden / split.tensor
    multiplied = 2.0 * weights * requests / split.data / reach.product_compute
    read = weights * HEAD_BYTES / reach.product_rate
    return max(read, multiplied) * constants["products"]
