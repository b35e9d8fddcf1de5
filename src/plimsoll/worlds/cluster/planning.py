"""Works out what an apply would do: dry runs on the API server, rights, names, quotas, owners."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import replace

from plimsoll.errors import InputError, PlimsollError
from plimsoll.worlds.cluster import inventory as stock
from plimsoll.worlds.cluster import quota
from plimsoll.worlds.cluster.changes import (
    DATA_KINDS,
    Change,
    Changes,
    NotOurs,
    Scope,
    is_ours_to_take,
    rank,
)
from plimsoll.worlds.cluster.client import Kube
from plimsoll.worlds.cluster.compare import field_changes
from plimsoll.worlds.cluster.each import each
from plimsoll.worlds.cluster.errors import (
    Conflict,
    Forbidden,
    Invalid,
    MissingApi,
    NotFound,
    Terminating,
)
from plimsoll.worlds.cluster.handoff import hands_off, leaves_replicas, with_replicas
from plimsoll.worlds.cluster.objects.site import Manifest
from plimsoll.worlds.cluster.ownership import changes_ownership, is_ours, other_fleet, owners
from plimsoll.worlds.cluster.reference import Key, key_of

WIDTH = 8  # requests at a time
SCALERS = frozenset({"ScaledObject", "HorizontalPodAutoscaler"})
_NO_DRY_RUN = "does not support dry run"  # an admission webhook with side effects
_NAME = re.compile(r"[a-z0-9]([-a-z0-9.]*[a-z0-9])?")
_LONGEST_NAME, _LONGEST_LABEL = 253, 63
_LABEL_KINDS = frozenset({"Namespace", "Service"})  # their names are DNS labels


async def plan_changes(
    kube: Kube, manifests: Sequence[Manifest], scope: Scope, *, width: int = WIDTH
) -> Changes:
    """What an apply of `manifests` would do; nothing is written.

    Raises InputError when an object is there twice, and what `Kube` raises when the API server
    cannot be asked; whatever keeps an object from being applied is in its `problems`.
    """
    keys = [key_of(manifest) for manifest in manifests]
    _unique(keys)
    have = await stock.read(kube, scope.fleet, scope.namespace)
    wished_names = {(*key.group_kind, key.namespace, key.name) for key in keys}
    leaving = [
        key
        for key in sorted(have.keys)
        if (*key.group_kind, key.namespace, key.name) not in wished_names
    ]
    planner = _Planner(kube, scope, manifests, have)
    gone = await each(leaving, planner.leave, width=width)
    planner.remember(change for change in gone if change is not None)
    looked = await each(manifests, planner.look, width=width)
    looked.sort(key=lambda change: (rank(change.key.kind), change.key))
    going = [change for change in gone if change is not None]
    going.sort(key=lambda change: (-rank(change.key.kind), change.key))
    missing = [key for key, change in zip(leaving, gone, strict=True) if change is None]
    return Changes(
        changes=(*looked, *going),
        inventory=have,
        problems=(*await planner.homeless(), *await planner.over_quota(looked)),
        gone=tuple(missing),
    )


class _Planner:
    """Asks about one object after the other.

    spaces   namespaces that this apply brings
    roles    Roles and ClusterRoles that this apply brings: kind, namespace, name
    kinds    kinds whose definitions this apply brings: API version and kind
    targets  workloads whose scaler leaves: kind, namespace, name
    """

    def __init__(
        self, kube: Kube, scope: Scope, manifests: Sequence[Manifest], have: stock.Inventory
    ) -> None:
        self._kube = kube
        self._scope = scope
        self._have = have
        self._manifests = manifests
        self._spaces = {m["metadata"]["name"] for m in manifests if m["kind"] == "Namespace"}
        self._roles = {
            (m["kind"], m["metadata"].get("namespace", ""), m["metadata"]["name"])
            for m in manifests
            if m["kind"] in ("Role", "ClusterRole")
        }
        self._kinds = {
            (f"{m['spec']['group']}/{version['name']}", m["spec"]["names"]["kind"])
            for m in manifests
            if m["kind"] == "CustomResourceDefinition"
            for version in m["spec"]["versions"]
        }
        self._targets: set[tuple[str, str, str]] = set()

    def remember(self, leaving: Iterable[Change]) -> None:
        """Note the workloads of leaving scalers: their `replicas` are free to take."""
        for change in leaving:
            if change.key.kind in SCALERS and change.live is not None:
                target = change.live["spec"].get("scaleTargetRef") or {}
                kind = target.get("kind", "Deployment")
                self._targets.add((kind, change.key.namespace, target.get("name", "")))

    async def look(self, manifest: Manifest) -> Change:
        """What happens to a wished object."""
        key = key_of(manifest)
        named = _misnamed(key)
        if named is not None:
            return Change(key=key, verdict="blocked", wished=manifest, problems=(named,))
        try:
            return await self._compared(key, manifest)
        except (Conflict, Forbidden, Invalid, MissingApi, NotFound, NotOurs) as problem:
            if isinstance(problem, MissingApi) and (key.api_version, key.kind) in self._kinds:
                return Change(
                    key=key, verdict="create", wished=manifest, note="its definition comes first"
                )
            return Change(key=key, verdict="blocked", wished=manifest, problems=(problem,))

    async def leave(self, key: Key) -> Change | None:
        """What happens to an object that is no longer wished; None: it is gone already."""
        try:
            live = await self._kube.get(key.api_version, key.kind, key.name, key.namespace)
        except MissingApi:
            return None
        if live is None:
            return None
        going = Change(key=key, verdict="keep", live=live)
        if key in self._have.found:
            return replace(going, note="it was there before the fleet")
        if not is_ours(live, self._scope.fleet):
            return replace(going, note="somebody else took it over")
        if not self._scope.prune:
            return replace(going, note="nothing is pruned")
        if key.kind in DATA_KINDS and not self._scope.prune_data:
            return replace(going, note="it holds data: `--delete-volumes` deletes it")
        if not await self._kube.allowed("delete", key.api_version, key.kind, key.namespace):
            refused = Forbidden(
                "not allowed to delete it", where=str(key), hint="ask for a role that may"
            )
            return replace(going, verdict="blocked", problems=(refused,))
        return replace(going, verdict="delete")

    async def homeless(self) -> tuple[PlimsollError, ...]:
        """The problem that the fleet's own namespace is missing, or going away."""
        name = self._scope.namespace
        if not self._manifests:
            return ()  # to delete what may be gone already needs no namespace
        try:
            space = await self._kube.get("v1", "Namespace", name)
        except Forbidden:  # who may only work inside a namespace cannot look at it
            return ()
        if space is None and name not in self._spaces:
            hint = f"`kubectl create namespace {name}`, or name another one"
            return (NotFound(f"there is no namespace `{name}`", hint=hint),)
        if space is not None and space["metadata"].get("deletionTimestamp"):
            text = f"namespace `{name}` is being deleted"
            return (Terminating(text, hint="wait until it is gone, then apply again"),)
        return ()

    async def over_quota(self, looked: Sequence[Change]) -> tuple[PlimsollError, ...]:
        """Quotas of the namespaces that would be exceeded."""
        spaces = sorted({c.key.namespace for c in looked if c.key.namespace and c.wished})
        quotas: list[Manifest] = []
        for space in spaces:
            try:
                listed = await self._kube.list("v1", "ResourceQuota", namespace=space)
            except Forbidden:  # the API server holds them all the same, when pods are made
                continue
            quotas += listed.items
        before = [change.live for change in looked if change.live is not None]
        after = [c.result or c.wished for c in looked if c.verdict != "blocked"]
        return quota.exceeded(quotas, before, [m for m in after if m], self._scope.replicas)

    async def _compared(self, key: Key, manifest: Manifest) -> Change:
        live = await self._kube.get(key.api_version, key.kind, key.name, key.namespace)
        adopted = live is not None and self._adopted(key, live)
        change = Change(
            key=key, verdict="update" if live else "create", wished=manifest, live=live,
            take=adopted,
        )  # fmt: skip
        try:
            result, taken = await self._tried(key, manifest, adopted)
        except NotFound:
            first = self._first(manifest)
            if first is None:
                raise
            await self._may_make(key)
            return replace(change, note=f"its {first} comes first")
        except Invalid as problem:
            if _NO_DRY_RUN not in problem.message:
                raise
            return replace(change, note="an admission webhook keeps it from being tried")
        result = self._with_replicas(key, manifest, live, result)
        fields = field_changes(live, result) if live is not None else ()
        change = replace(change, result=result, fields=fields, take=adopted or taken)
        if live is None or fields or changes_ownership(live, result):
            return change
        return replace(change, verdict="unchanged")

    async def _tried(self, key: Key, manifest: Manifest, adopted: bool) -> tuple[Manifest, bool]:
        """The result of a dry run, and whether fields had to be taken over for it."""
        force = self._scope.force or adopted
        try:
            return await self._kube.apply(manifest, force=force, dry_run=True), False
        except Conflict as conflict:
            leaving = (key.kind, key.namespace, key.name) in self._targets
            if not is_ours_to_take(conflict, leaving):
                raise
        return await self._kube.apply(manifest, force=True, dry_run=True), True

    def _adopted(self, key: Key, live: Manifest) -> bool:
        """Whether it is taken over from nobody of ours. Raises NotOurs, Terminating."""
        if live["metadata"].get("deletionTimestamp"):
            raise Terminating(
                "it is being deleted", where=str(key), hint="wait until it is gone, then try again"
            )
        if other := other_fleet(live, self._scope.fleet):
            raise NotOurs(
                f"it belongs to fleet `{other}`",
                where=str(key),
                hint="give the fleet, the model or the namespace another name",
            )
        if is_ours(live, self._scope.fleet) or key.kind == "Namespace":
            return False  # a namespace may be anybody's: only our labels are added to it
        if self._scope.adopt:
            return True
        made_by = ", ".join(f"`{owner}`" for owner in owners(live)) or "somebody else"
        raise NotOurs(
            f"it is there already, made by {made_by}",
            where=str(key),
            hint="take it over with `--adopt`, or give ours another name",
        )

    def _first(self, manifest: Manifest) -> str | None:
        """What of this apply has to be there before an object can be tried; None: nothing.

        Whoever may not `bind` is compared with the rules of the role that a binding names, so
        that the API server looks for that role in a dry run, too.
        """
        namespace = manifest["metadata"].get("namespace", "")
        if namespace in self._spaces:
            return "namespace"
        role = manifest.get("roleRef") or {}
        kind = role.get("kind", "")
        place = namespace if kind == "Role" else ""
        return "role" if (kind, place, role.get("name")) in self._roles else None

    def _with_replicas(
        self, key: Key, manifest: Manifest, live: Manifest | None, result: Manifest
    ) -> Manifest:
        """The result as it will be once `replicas` was handed over, which a dry run cannot know."""
        if live is None and leaves_replicas(manifest) and key in self._scope.replicas:
            return with_replicas(result, self._scope.replicas[key])
        if live is not None and hands_off(manifest, live):
            return with_replicas(result, live["spec"]["replicas"])
        return result

    async def _may_make(self, key: Key) -> None:
        """Raises Forbidden where we may not make what cannot be tried yet."""
        for verb in ("create", "patch"):
            if not await self._kube.allowed(verb, key.api_version, key.kind, key.namespace):
                plural = (await self._kube.resource(key.api_version, key.kind)).full_name
                raise Forbidden(
                    f"not allowed to {verb} it",
                    where=str(key),
                    hint=f"`kubectl auth can-i {verb} {plural} -n {key.namespace}` says no; ask "
                    "for a role that may",
                )


def _unique(keys: Sequence[Key]) -> None:
    seen: set[Key] = set()
    for key in keys:
        if key in seen:
            raise InputError(
                "it is there twice", where=str(key), hint="give one of them another name",
                code="cluster.twice",
            )  # fmt: skip
        seen.add(key)


def _misnamed(key: Key) -> InputError | None:
    """The problem with a name that Kubernetes would not take."""
    longest = _LONGEST_LABEL if key.kind in _LABEL_KINDS else _LONGEST_NAME
    if len(key.name) > longest or len(key.namespace) > _LONGEST_LABEL:
        text = f"the name has {len(key.name)} characters, {longest} are allowed"
    elif not _NAME.fullmatch(key.name) and not key.kind.endswith(("Role", "RoleBinding")):
        text = "the name holds other characters than lower-case letters, digits, `-` and `.`"
    else:
        return None
    return InputError(text, where=str(key), hint="choose another name", code="cluster.name")
