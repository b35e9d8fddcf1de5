"""How far one pod is, and what keeps it: read from its conditions and container statuses. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

from plimsoll.policy.snapshot import ReplicaState

_BACK_OFF = "CrashLoopBackOff"
_BAD_IMAGE = frozenset({"ErrImagePull", "ImagePullBackOff", "InvalidImageName", "ErrImageNeverPull",
                        "ImageInspectError", "RegistryUnavailable"})  # fmt: skip
_BAD_CONFIG = frozenset({"CreateContainerConfigError", "CreateContainerError", "RunContainerError"})
_HOPELESS = frozenset({"ImagePullBackOff", "InvalidImageName", "ErrImageNeverPull"})
_OUT_OF_MEMORY = "OOMKilled"


class Phase(StrEnum):
    """What a pod that is not ready is doing, in order."""

    GATE = "weights on a node"  # a scheduling gate: no node has its weights yet
    NODE = "node"  # no node takes it
    IMAGE = "image"  # its image is pulled, its volumes are mounted
    WEIGHTS = "weights"  # an init container brings its weights
    ENGINE = "engine"  # the engine starts
    READY = "ready"
    DRAINING = "draining"
    FAILED = "failed"


@dataclass(frozen=True, slots=True, kw_only=True)
class PodSeen:
    """One pod.

    name       of the pod
    phase      how far it is
    state      the same in the words of policy
    since      when it came there, seconds since 1970
    reason     what keeps it or why it failed; empty where all goes well
    hint       what to try; may be empty
    node       on which node; empty: on none yet
    address    `host:port`-less IP address; empty before it has one
    crashed    container whose last run failed, for its log; empty: none
    """

    name: str
    phase: Phase
    state: ReplicaState
    since: float
    reason: str = ""
    hint: str = ""
    node: str = ""
    address: str = ""
    crashed: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Trouble:
    """What one container is in.

    fatal  whether waiting will hardly help
    """

    phase: Phase
    reason: str
    hint: str = ""
    fatal: bool = False
    crashed: str = ""
    since: float = 0.0


def look(pod: Mapping[str, Any]) -> PodSeen:
    """How far a pod is."""
    status = pod.get("status") or {}
    found = _ended(pod, status) or _ready(pod, status) or _unplaced(pod, status)
    return found or _starting(pod, status)


def seconds(written: str | None) -> float:
    """Seconds since 1970 of a time as the API writes it; 0 for none."""
    return datetime.fromisoformat(written).timestamp() if written else 0.0


def _ended(pod: Mapping[str, Any], status: Mapping[str, Any]) -> PodSeen | None:
    meta = pod["metadata"]
    if meta.get("deletionTimestamp"):
        grace = float(meta.get("deletionGracePeriodSeconds") or 0)
        # The time stands for the end of the grace period, which begins when it is deleted.
        return _seen(pod, Phase.DRAINING, seconds(meta["deletionTimestamp"]) - grace)
    if status.get("phase") not in ("Failed", "Succeeded"):
        return None
    trouble = _first_trouble(status)
    reason = str(status.get("message") or status.get("reason") or "")
    since = max((_finished(one) for one in _statuses(status)), default=0.0)
    return _seen(
        pod, Phase.FAILED, since or _created(pod),
        reason=(trouble.reason if trouble else "") or reason or "it ended by itself",
        hint=trouble.hint if trouble else "", crashed=trouble.crashed if trouble else "",
    )  # fmt: skip


def _ready(pod: Mapping[str, Any], status: Mapping[str, Any]) -> PodSeen | None:
    ready = _condition(status, "Ready")
    if ready.get("status") != "True":
        return None
    return _seen(pod, Phase.READY, seconds(ready.get("lastTransitionTime")) or _created(pod))


def _unplaced(pod: Mapping[str, Any], status: Mapping[str, Any]) -> PodSeen | None:
    placed = _condition(status, "PodScheduled")
    if pod["spec"].get("nodeName") or placed.get("status") == "True":
        return None
    since = seconds(placed.get("lastTransitionTime")) or _created(pod)
    if pod["spec"].get("schedulingGates"):
        return _seen(pod, Phase.GATE, since, reason="waits until a node has its weights")
    message = str(placed.get("message") or "no node was chosen yet")
    return _seen(pod, Phase.NODE, since, reason=message, hint=_placing_hint(message))


def _starting(pod: Mapping[str, Any], status: Mapping[str, Any]) -> PodSeen:
    trouble = _first_trouble(status)
    if trouble is None:
        began = seconds(_condition(status, "Initialized").get("lastTransitionTime"))
        phase = _engine_phase(status)
        return _seen(pod, phase, began or _created(pod))
    return _seen(
        pod, Phase.FAILED if trouble.fatal else trouble.phase, trouble.since or _created(pod),
        reason=trouble.reason, hint=trouble.hint, crashed=trouble.crashed,
    )  # fmt: skip


def _engine_phase(status: Mapping[str, Any]) -> Phase:
    """Where a pod is whose containers are all well."""
    for one in status.get("initContainerStatuses") or []:
        state = one.get("state") or {}
        if "running" in state and not one.get("started"):
            return Phase.WEIGHTS
        if "terminated" not in state and not one.get("started"):
            return Phase.IMAGE if _nothing_ran(status) else Phase.WEIGHTS
    running = any("running" in (one.get("state") or {}) for one in _main(status))
    return Phase.ENGINE if running else Phase.IMAGE


def _nothing_ran(status: Mapping[str, Any]) -> bool:
    states = [one.get("state") or {} for one in status.get("initContainerStatuses") or []]
    return not any("running" in state or "terminated" in state for state in states)


def _first_trouble(status: Mapping[str, Any]) -> _Trouble | None:
    for phase, listed in (
        (Phase.WEIGHTS, status.get("initContainerStatuses") or []),
        (Phase.ENGINE, _main(status)),
    ):
        for one in listed:
            found = _trouble(one, phase)
            if found is not None:
                return found
    return None


def _trouble(one: Mapping[str, Any], phase: Phase) -> _Trouble | None:
    """What a container is in; None: it is well."""
    state, name = one.get("state") or {}, str(one.get("name", ""))
    waiting = state.get("waiting") or {}
    reason, message = str(waiting.get("reason", "")), str(waiting.get("message", ""))
    if reason in _BAD_IMAGE:
        return _Trouble(
            phase=Phase.IMAGE, reason=_joined(f"{reason} of {one.get('image', name)}", message),
            hint="check the image's name and the pull secret", fatal=reason in _HOPELESS,
        )  # fmt: skip
    if reason in _BAD_CONFIG:
        return _Trouble(
            phase=phase, reason=_joined(reason, message), fatal=True,
            hint="a Secret or ConfigMap that it names may be missing",
        )  # fmt: skip
    last = state.get("terminated") or (one.get("lastState") or {}).get("terminated") or {}
    failed = bool(last) and (last.get("exitCode") != 0 or last.get("reason") == _OUT_OF_MEMORY)
    if reason != _BACK_OFF and not failed:
        return None
    restarts = int(one.get("restartCount") or 0)
    return _Trouble(
        phase=phase, reason=_exit_words(name, last, restarts), hint=_exit_hint(last),
        fatal=reason == _BACK_OFF or "terminated" in state, crashed=name,
        since=seconds(last.get("finishedAt")),
    )  # fmt: skip


def _exit_words(name: str, last: Mapping[str, Any], restarts: int) -> str:
    """`engine exited with code 1 (3 restarts): CUDA out of memory`."""
    if last.get("reason") == _OUT_OF_MEMORY:
        how = f"{name} was killed: it took more memory than its limit"
    elif last:
        how = f"{name} exited with code {last.get('exitCode', '?')}"
    else:
        how = f"{name} keeps exiting"
    again = f" ({restarts} restart{'s' if restarts != 1 else ''})" if restarts else ""
    tail = str(last.get("message") or "").strip().splitlines()
    return f"{how}{again}: {tail[-1].strip()}" if tail else f"{how}{again}"


def _exit_hint(last: Mapping[str, Any]) -> str:
    if last.get("reason") == _OUT_OF_MEMORY:
        return "give the model more memory (`resources.memory`), or a smaller context"
    return ""


def _placing_hint(message: str) -> str:
    """What to try where the scheduler finds no node."""
    for words, hint in (
        ("Insufficient", "wait for a node, raise the pool's limit, or ask for less"),
        ("untolerated taint", "the nodes have a taint that the pool in the fleet file lacks"),
        ("didn't match Pod's node affinity", "no node has the accelerator or label asked for"),
        ("persistentvolumeclaim", "the claim is not bound: check its storage class"),
        ("unbound immediate", "the claim is not bound: check its storage class"),
    ):
        if words in message:
            return hint
    return ""


def _seen(
    pod: Mapping[str, Any], phase: Phase, since: float, *, reason: str = "", hint: str = "",
    crashed: str = "",
) -> PodSeen:  # fmt: skip
    state = {
        Phase.READY: ReplicaState.READY,
        Phase.DRAINING: ReplicaState.DRAINING,
        Phase.FAILED: ReplicaState.FAILED,
    }.get(phase, ReplicaState.STARTING)
    return PodSeen(
        name=pod["metadata"]["name"],
        phase=phase,
        state=state,
        since=since,
        reason=reason,
        hint=hint,
        node=pod["spec"].get("nodeName") or "",
        address=(pod.get("status") or {}).get("podIP") or "",
        crashed=crashed,
    )


def _condition(status: Mapping[str, Any], kind: str) -> Mapping[str, Any]:
    return next((one for one in status.get("conditions") or [] if one.get("type") == kind), {})


def _statuses(status: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    yield from status.get("initContainerStatuses") or []
    yield from _main(status)


def _main(status: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    return status.get("containerStatuses") or []


def _finished(one: Mapping[str, Any]) -> float:
    return seconds(((one.get("state") or {}).get("terminated") or {}).get("finishedAt"))


def _created(pod: Mapping[str, Any]) -> float:
    return seconds(pod["metadata"].get("creationTimestamp"))


def _joined(reason: str, message: str) -> str:
    return f"{reason}: {message}" if message else reason
