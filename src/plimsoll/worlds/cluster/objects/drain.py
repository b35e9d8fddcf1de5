"""How long a replica may take to end: every time of a shutdown follows from the longest answer.

An endpoint is taken out of the proxies while the container still answers (`preStop`), then the
engine gets its signal and finishes its streams, then the kubelet would kill it. The one number
that people choose is `gateway.maxStream`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from plimsoll.engines.protocol import Command, Drain
from plimsoll.facts.kubernetes import figure, kubernetes_features
from plimsoll.worlds.cluster.info import ClusterInfo
from plimsoll.worlds.cluster.objects.names import PREFIX
from plimsoll.worlds.cluster.objects.site import Site, Workload
from plimsoll.worlds.cluster.objects.spot import notice_of

DRAIN_VARIABLE = "PLIMSOLL_DRAIN_SECONDS"  # how long the embedded engine finishes its streams


@dataclass(frozen=True, slots=True, kw_only=True)
class Ending:
    """The times of one replica's shutdown, in whole seconds.

    pre_stop    from the wish to end until the engine's signal
    max_stream  that the engine then gets for its streams
    grace       from the wish to end until SIGKILL: terminationGracePeriodSeconds
    notice      that a spot node gives to pods, where that is less than `grace`; else None
    why         the arithmetic in words
    """

    pre_stop: int
    max_stream: int
    grace: int
    notice: int | None
    why: str


def ending(site: Site, workload: Workload, drain: Drain) -> Ending:
    """The times of a replica that ends as its engine's `drain` says.

    An engine that aborts its streams at the signal, and that nobody can tell to wait, gets the
    signal only after the longest answer.
    """
    removal = math.ceil(figure("endpoint_removal"))
    longest = math.ceil(site.fleet.gateway.max_stream)
    margin = math.ceil(figure("shutdown_margin"))
    if drain.wait_idle and not embedded(workload):
        pre_stop, after = removal + longest, math.ceil(drain.grace_seconds)
        words = f"{removal} s until no proxy sends more, {longest} s for the longest answer"
        words = f"{words} before the signal, at which the engine aborts what runs"
    else:
        pre_stop, after = removal, max(longest + margin, math.ceil(drain.grace_seconds))
        words = f"{removal} s until no proxy sends more, then {after} s for the longest answer"
    grace = pre_stop + max(after, margin)
    notice = notice_of(workload)
    return Ending(
        pre_stop=pre_stop,
        max_stream=longest,
        grace=grace,
        notice=math.floor(notice) if notice is not None and notice < grace else None,
        why=f"{words} (gateway.maxStream)",
    )


def embedded(workload: Workload) -> bool:
    """Whether the engine runs inside Plimsoll's own image, whose process waits for its streams."""
    options = workload.place.options
    return not workload.engine.container(workload.place).image and not options.image


def lifecycle(end: Ending, info: ClusterInfo) -> dict[str, Any]:
    """The container's `lifecycle`: a pause of the kubelet's own where it has one."""
    if info.minor >= kubernetes_features()["preStopSleep"].minor:
        return {"preStop": {"sleep": {"seconds": end.pre_stop}}}
    return {"preStop": {"exec": {"command": ["sleep", str(end.pre_stop)]}}}


def explained(end: Ending) -> dict[str, str]:
    """Annotations that say where the times come from, and what a spot notice does to them."""
    found = {f"{PREFIX}/why-grace-period": end.why}
    if end.notice is not None:
        found[f"{PREFIX}/spot-notice-seconds"] = str(end.notice)
        found[f"{PREFIX}/why-spot"] = (
            f"spot nodes give pods {end.notice} s, less than the {end.grace} s that the longest "
            "answer needs: the gateway goes on with streams that are cut on another replica"
        )
    return found


def variables(end: Ending, workload: Workload, command: Command) -> dict[str, str]:
    """Environment that tells the embedded engine how long to finish its streams."""
    if embedded(workload) and command.drain.wait_idle:
        return {DRAIN_VARIABLE: str(end.max_stream)}
    return {}
