"""What a cluster answers when it does not do as asked: one class per cause, and how to read one.

Unreachable    nobody answers, or the answer broke off
Unauthorized   it does not know who we are
Forbidden      it knows, and we may not
├── QuotaExceeded   a ResourceQuota is used up
└── Terminating     the namespace is being deleted
NotFound       no such object
Conflict       somebody else changed it or owns the field
└── AlreadyExists
Expired        the version to watch or list from is gone: list again
Invalid        the object breaks a rule of its kind
└── Immutable  a field that may not change
Throttled      too many requests
MissingApi     the kind is not installed
ServerFault    the API server failed
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from plimsoll.errors import Failed, InputError, MissingExtra, PlimsollError

_MANAGER = re.compile(r'conflict with "([^"]*)"')
_IMMUTABLE = re.compile(
    r"immutable|may not change once set|forbidden after creation|cannot change roleRef|"
    r"updates to statefulset spec for fields other than",
    re.IGNORECASE,
)
_QUOTA = re.compile(r"exceeded quota: ([^,]+)")
# Policies refuse with the same status as missing rights do.
_POLICY = re.compile(r"admission webhook|ValidatingAdmissionPolicy|violates PodSecurity")
_LONGEST_WAIT = 3600.0  # seconds; a longer `Retry-After` is a mistake


class ClusterError(Failed):
    """The cluster did not do as asked."""

    default_code = "cluster"


class Unreachable(ClusterError):
    """Nobody answers, the answer came too late or broke off."""

    default_code = "cluster.unreachable"


class Unauthorized(ClusterError):
    """The credentials are missing, wrong or expired."""

    default_code = "cluster.unauthorized"


class Forbidden(ClusterError):
    """The caller may not do it."""

    default_code = "cluster.forbidden"


class QuotaExceeded(Forbidden):
    """A ResourceQuota of the namespace is used up."""

    default_code = "cluster.quota"


class Terminating(Forbidden):
    """The namespace is being deleted; nothing can be made in it."""

    default_code = "cluster.namespace-terminating"


class NotFound(ClusterError):
    """There is no such object."""

    default_code = "cluster.not-found"


@dataclass(frozen=True, slots=True, kw_only=True)
class OwnedField:
    """A field that somebody else owns.

    field    its path, `.spec.replicas`
    manager  who owns it
    """

    field: str
    manager: str

    def __str__(self) -> str:
        return f"`{self.field.lstrip('.')}` is owned by `{self.manager}`"


class Conflict(ClusterError):
    """Somebody else changed the object meanwhile, or owns fields of it.

    fields  those that others own; empty where the object as a whole was newer
    """

    default_code = "cluster.conflict"
    fields: tuple[OwnedField, ...] = ()


class AlreadyExists(Conflict):
    """An object of that name is there."""

    default_code = "cluster.already-exists"


class Expired(ClusterError):
    """The resource version is too old, or a paged list's continuation: list again."""

    default_code = "cluster.expired"


@dataclass(frozen=True, slots=True, kw_only=True)
class FieldCause:
    """One field that breaks a rule.

    field    its path, `spec.template.spec.containers[0].image`; may be empty
    message  the API server's words
    """

    field: str
    message: str

    def __str__(self) -> str:
        return f"{self.field}: {self.message}" if self.field else self.message


class Invalid(InputError):
    """The object breaks a rule of its kind.

    causes  one per field
    """

    default_code = "cluster.invalid"
    causes: tuple[FieldCause, ...] = ()


class Immutable(Invalid):
    """A field would change that may not: the object has to be made anew."""

    default_code = "cluster.immutable"


class Throttled(ClusterError):
    """The API server asks for patience.

    retry_after  seconds that it asks for; None where it says nothing
    """

    default_code = "cluster.throttled"
    retry_after: float | None = None


class MissingApi(ClusterError):
    """The cluster does not know the kind: its CustomResourceDefinition is not installed."""

    default_code = "cluster.missing-api"


class ServerFault(ClusterError):
    """The API server failed to answer the request (5xx)."""

    default_code = "cluster.server"
    retry_after: float | None = None


def missing_library(error: ImportError) -> MissingExtra:
    """The error for a library of the extra `kube` that is not installed."""
    return MissingExtra(
        f"talking to a cluster needs `{error.name}`, which is not installed",
        hint="pip install 'plimsoll[kube]'",
    )


def missing_api(api_version: str, kind: str) -> MissingApi:
    """The error for a kind that the cluster does not serve."""
    return MissingApi(
        f"the cluster does not know `{kind}` of `{api_version}`",
        hint="install what brings it; `plimsoll doctor` says what is missing and what it costs",
    )


def unreachable(server: str, reason: str) -> Unreachable:
    """The error for a server that does not answer."""
    return Unreachable(
        f"the Kubernetes API at {server} does not answer: {reason}",
        hint="`kubectl cluster-info` tells whether the cluster is up and the context the right one",
    )


def from_status(
    code: int, status: Mapping[str, Any], *, verb: str, subject: str, can_i: str = ""
) -> PlimsollError:
    """The error that an answer with HTTP status `code` (400 and above) means.

    status   the body, a `Status` object; may be empty
    verb     what was tried: `patch`
    subject  on what: `Deployment chat in namespace llm`
    can_i    what to ask `kubectl auth can-i` for
    """
    message = str(status.get("message") or f"HTTP status {code}").rstrip(".")
    reader = _READERS.get(code)
    if reader is not None:
        return reader(message, status, verb, subject, can_i)
    if code >= 500:
        fault = ServerFault(f"the API server failed to {verb}: {message}", where=subject)
        fault.retry_after = _retry_after(status)
        return fault
    return ClusterError(f"the API server refused to {verb}: {message}", where=subject)


def _unauthorized(
    message: str, _status: Mapping[str, Any], _verb: str, subject: str, _can_i: str
) -> PlimsollError:
    return Unauthorized(
        f"the cluster does not accept the credentials: {message}",
        where=subject,
        hint="log in again with the cloud's own tool, or check the user of the context with "
        "`kubectl config view --minify`",
    )


def _forbidden(
    message: str, status: Mapping[str, Any], verb: str, subject: str, can_i: str
) -> PlimsollError:
    if quota := _QUOTA.search(message):
        return QuotaExceeded(
            message,
            where=subject,
            hint=f"raise quota `{quota[1]}`, or ask for less: fewer replicas, smaller models",
        )
    causes = _details(status).get("causes") or []
    if any(cause.get("reason") == "NamespaceTerminating" for cause in causes):
        return Terminating(message, where=subject, hint="wait until the namespace is gone")
    if _POLICY.search(message):
        return Forbidden(
            f"a policy of the cluster refused to {verb}: {message}",
            where=subject,
            hint="the policy says what it wants; change the fleet, or ask for an exception",
        )
    ask = f"`kubectl auth can-i {can_i}`" if can_i else "`kubectl auth can-i --list`"
    return Forbidden(
        f"not allowed to {verb}: {message}",
        where=subject,
        hint=f"{ask} says no; ask for a role that may",
    )


def _not_found(
    message: str, _status: Mapping[str, Any], verb: str, subject: str, _can_i: str
) -> PlimsollError:
    missing = 'namespaces "' in message
    hint = "make the namespace first, or name another one" if missing else None
    return NotFound(f"cannot {verb} what is not there: {message}", where=subject, hint=hint)


def _conflict(
    message: str, status: Mapping[str, Any], _verb: str, subject: str, _can_i: str
) -> PlimsollError:
    if status.get("reason") == "AlreadyExists":
        return AlreadyExists(message, where=subject)
    fields = tuple(
        OwnedField(field=str(cause.get("field", "")), manager=match[1])
        for cause in _details(status).get("causes") or []
        if (match := _MANAGER.search(str(cause.get("message", ""))))
    )
    if not fields:
        return Conflict(f"somebody else changed it meanwhile: {message}", where=subject)
    conflict = Conflict(
        "; ".join(str(field) for field in fields),
        where=subject,
        hint="leave the field to them, or take it over with `--force-conflicts`",
    )
    conflict.fields = fields
    return conflict


def _expired(
    message: str, _status: Mapping[str, Any], verb: str, subject: str, _can_i: str
) -> PlimsollError:
    return Expired(f"cannot {verb} from so long ago: {message}", where=subject)


def _invalid(
    message: str, status: Mapping[str, Any], _verb: str, subject: str, _can_i: str
) -> PlimsollError:
    causes = tuple(
        FieldCause(field=str(cause.get("field", "")), message=str(cause.get("message", "")))
        for cause in _details(status).get("causes") or []
    )
    text = "; ".join(str(cause) for cause in causes) or message
    kind: type[Invalid] = Immutable if _IMMUTABLE.search(text) else Invalid
    hint = (
        "this field cannot change: delete the object, or give it another name"
        if kind is Immutable
        else None
    )
    error = kind(text, where=subject, hint=hint)
    error.causes = causes or (FieldCause(field="", message=message),)
    return error


def _throttled(
    message: str, status: Mapping[str, Any], verb: str, subject: str, _can_i: str
) -> PlimsollError:
    error = Throttled(f"the API server is busy and refused to {verb}: {message}", where=subject)
    error.retry_after = _retry_after(status)
    return error


def _details(status: Mapping[str, Any]) -> Mapping[str, Any]:
    details = status.get("details")
    return details if isinstance(details, Mapping) else {}


def _retry_after(status: Mapping[str, Any]) -> float | None:
    """Seconds, from the body; a proxy's answer has no body of that kind."""
    seconds = _details(status).get("retryAfterSeconds")
    if isinstance(seconds, int | float) and 0 < seconds <= _LONGEST_WAIT:
        return float(seconds)
    return None


_READERS = {
    400: _invalid,
    401: _unauthorized,
    403: _forbidden,
    404: _not_found,
    409: _conflict,
    410: _expired,
    422: _invalid,
    429: _throttled,
}
