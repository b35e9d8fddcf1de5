"""What a person is told of one Fleet, from what a pass came to: conditions and models. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from plimsoll.errors import PlimsollError
from plimsoll.policy.snapshot import Memory, ModelMemory, ReplicaSeen, ReplicaState
from plimsoll.worlds.cluster.objects.site import Workload
from plimsoll.worlds.cluster.operator.conditions import Condition, State
from plimsoll.worlds.cluster.operator.demand import Look
from plimsoll.worlds.cluster.operator.fleets import Effective
from plimsoll.worlds.cluster.operator.status import ModelStatus

_SHOWN = 8  # problems in one message


@dataclass(frozen=True, kw_only=True)
class Course:
    """What one pass over a Fleet came to.

    planned    why it could not be planned; None where it was
    applied    why its objects could not be brought to what they are to be; None where they were
    look       what its gateway says
    scales     whether the operator scales any of its models
    made       whether it was ever planned, so that there is something to apply
    models     as they are
    """

    planned: PlimsollError | None = None
    applied: PlimsollError | None = None
    look: Look = field(default_factory=Look)
    scales: bool = False
    made: bool = False
    models: Mapping[str, ModelStatus] = field(default_factory=dict)


def model_status(
    workload: Workload, replicas: Sequence[ReplicaSeen], memory: Memory, *, written: int
) -> ModelStatus:
    """One model as it is.

    written  replicas that its workload says
    """
    ours = workload.driver == "operator"
    remembered = memory.models.get(workload.model.name, ModelMemory())
    wanted = remembered.wanted if ours else written
    ready = sum(one.state is ReplicaState.READY for one in replicas)
    loading = [one for one in replicas if one.state is ReplicaState.STARTING]
    failed = [one for one in replicas if one.state is ReplicaState.FAILED]
    reason = remembered.reason if ours else ""
    if failed:
        reason = f"{failed[-1].name}: {failed[-1].reason}"
    elif loading and ready < wanted and loading[0].reason:
        reason = f"{loading[0].name}: {loading[0].reason}"
    return ModelStatus(
        wanted=wanted,
        ready=ready,
        loading=len(loading),
        phase=_phase(wanted, ready, failing=bool(failed)),
        driver=workload.driver,
        reason=reason,
    )


def conditions(effective: Effective, course: Course) -> list[Condition]:
    """Every condition of a Fleet."""
    return [
        _ready(effective, course),
        _accepted(effective),
        _unique(effective),
        _done("Planned", course.planned, "Every model has its place"),
        _applied(effective, course),
        _progressing(course),
        _degraded(course),
    ]


def event_kind(condition: Mapping[str, str]) -> Literal["Normal", "Warning"]:
    """Whether a condition's change is good news."""
    bad = condition["status"] == ("True" if condition["type"] == "Degraded" else "False")
    return "Warning" if bad and condition["type"] != "Progressing" else "Normal"


def _phase(wanted: int, ready: int, *, failing: bool) -> str:
    if ready and ready >= wanted:
        return "Ready"
    if failing:
        return "Failing"
    return "Loading" if wanted else "Stopped"


def _ready(effective: Effective, course: Course) -> Condition:
    waiting = [
        f"{name}: {model.reason or 'no replica is ready yet'}"
        for name, model in course.models.items()
        if model.wanted and not model.ready
    ]
    if effective.fleet is None:
        return _condition("Ready", "False", "NotAccepted", "see the condition `Accepted`")
    if not course.models and (course.planned or course.applied):
        failed = "Planned" if course.planned else "Applied"
        return _condition("Ready", "False", f"Not{failed}", f"see the condition `{failed}`")
    if waiting:
        failing = any(model.phase == "Failing" for model in course.models.values())
        reason = "ReplicasFailing" if failing else "Loading"
        return _condition("Ready", "False", reason, "; ".join(waiting[:_SHOWN]))
    return _condition("Ready", "True", "Ready", "Every model that should answer does")


def _accepted(effective: Effective) -> Condition:
    if not effective.accepted:
        lines = []
        for problem in effective.problems[:_SHOWN]:
            hint = f" ({problem.hint})" if problem.hint else ""
            lines.append(f"{problem.path or 'spec'}: {problem.message}{hint}")
        more = len(effective.problems) - len(lines)
        last = (f"and {more} more",) if more > 0 else ()
        kept = ("what was accepted before keeps running",) if effective.fleet is not None else ()
        return _condition("Accepted", "False", "Invalid", "; ".join((*lines, *last, *kept)))
    if effective.loose:
        return _condition("Accepted", "True", "OpenReferences", "; ".join(effective.loose[:_SHOWN]))
    return _condition("Accepted", "True", "Accepted", "Every field is understood")


def _unique(effective: Effective) -> Condition:
    if effective.clashes:
        return _condition("Unique", "False", "NameTaken", "; ".join(effective.clashes[:_SHOWN]))
    return _condition("Unique", "True", "Unique", "No older Fleet has one of its names")


def _done(kind: str, error: PlimsollError | None, fine: str) -> Condition:
    if error is None:
        return _condition(kind, "True", kind, fine)
    return _condition(kind, "False", reason_of(error), str(error))


def _applied(effective: Effective, course: Course) -> Condition:
    if course.applied is None and not course.made:
        cause = "NotPlanned" if effective.fleet is not None else "NotAccepted"
        return _condition("Applied", "Unknown", cause, "Nothing was applied since this start")
    return _done("Applied", course.applied, "Every object is as it is to be")


def _progressing(course: Course) -> Condition:
    moving = [
        f"{name}: {model.ready} of {model.wanted} ready"
        for name, model in course.models.items()
        if model.ready != model.wanted or model.loading
    ]
    if moving:
        return _condition("Progressing", "True", "ReplicasChanging", "; ".join(moving[:_SHOWN]))
    return _condition("Progressing", "False", "Settled", "As many replicas as there should be")


def _degraded(course: Course) -> Condition:
    failing = [
        f"{name}: {model.reason}"
        for name, model in course.models.items()
        if model.phase == "Failing"
    ]
    if failing:
        return _condition("Degraded", "True", "ReplicasFailing", "; ".join(failing[:_SHOWN]))
    if course.scales and course.look.silent:
        silent = ", ".join(course.look.silent[:_SHOWN])
        message = f"no answer from {silent}; nothing is scaled down meanwhile"
        return _condition("Degraded", "True", "GatewaySilent", message)
    if course.applied or course.planned:
        return _condition("Degraded", "True", "NotAsWished", "see `Planned` and `Applied`")
    return _condition("Degraded", "False", "AsWished", "Nothing is wrong")


def reason_of(error: PlimsollError) -> str:
    """An error's code as a condition's reason: `cluster.not-found` -> `ClusterNotFound`."""
    words = error.code.replace(".", "-").split("-")
    return "".join(word[:1].upper() + word[1:] for word in words)


def _condition(kind: str, status: State, reason: str, message: str) -> Condition:
    return Condition(kind=kind, status=status, reason=reason, message=message)
