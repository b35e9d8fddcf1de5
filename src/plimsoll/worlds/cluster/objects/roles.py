"""Accounts, and what they are allowed: a role with its binding, always made together."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal

from plimsoll.worlds.cluster.objects.site import Manifest

RBAC = "rbac.authorization.k8s.io"
Rule = Mapping[str, Any]  # apiGroups, resources, verbs, perhaps resourceNames


def service_account(head: Mapping[str, Any]) -> Manifest:
    """An account whose token no pod gets that does not ask for it; `head` is its metadata."""
    return {
        "apiVersion": "v1",
        "kind": "ServiceAccount",
        "metadata": dict(head),
        "automountServiceAccountToken": False,
    }


def account_subject(name: str, namespace: str) -> dict[str, str]:
    """A ServiceAccount as a binding names it."""
    return {"kind": "ServiceAccount", "name": name, "namespace": namespace}


def granted(
    kind: Literal["Role", "ClusterRole"],
    head: Mapping[str, Any],
    rules: Sequence[Rule],
    subject: Mapping[str, str],
) -> Iterator[Manifest]:
    """A role and the binding of the same name that gives it to the subject.

    head  metadata of both
    """
    yield {
        "apiVersion": f"{RBAC}/v1",
        "kind": kind,
        "metadata": dict(head),
        "rules": [dict(rule) for rule in rules],
    }
    yield {
        "apiVersion": f"{RBAC}/v1",
        "kind": f"{kind}Binding",
        "metadata": dict(head),
        "roleRef": {"apiGroup": RBAC, "kind": kind, "name": head["name"]},
        "subjects": [dict(subject)],
    }
