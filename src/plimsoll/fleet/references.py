"""What one part of a fleet says of another: references that name nothing, and contradictions."""

from __future__ import annotations

from datetime import date

from plimsoll.fleet.branches import Branch, Leaf, Place
from plimsoll.fleet.names import Names
from plimsoll.fleet.problems import Problems
from plimsoll.fleet.suggest import did_you_mean

_OPEN_SHARING = {"timeSlicing": "time_slicing", "mps": "mps"}  # no wall between the sharers
_OFFER = {"mig": "mig", "timeSlicing": "time_slicing", "mps": "mps", "dra": "dra"}


def check_references(specs: list[Branch], problems: Problems) -> None:
    """Note every problem between the parts of a fleet."""
    names = Names(specs, problems)
    _Models(names).check()
    _Tenants(names).check()
    _check_gateway(specs, names)


class _Models:
    """Fallbacks and placements."""

    def __init__(self, names: Names) -> None:
        self.names = names
        self.problems = names.problems

    def check(self) -> None:
        for model in self.names.models.values():
            for leaf in model.leaves("fallbacks"):
                self._fallback(model, leaf)
            self._placement(model.inner("placement"))
        self._cycles()

    def _fallback(self, model: Branch, leaf: Leaf) -> None:
        reference: str = leaf.value
        provided = self.names.provider_model(reference)
        targets = [provided] if provided is not None else self.names.called.get(reference, [])
        if not targets:
            self.names.note_missing(leaf)
        elif model in targets and len(targets) == 1:
            self.problems.add(leaf.place, "a model cannot fall back to itself", None, "fleet.cycle")
        else:
            tasks = {target.get("task") for target in targets} - {None}
            own = model.get("task")
            if own is not None and tasks and (own == "embedding") != ("embedding" in tasks):
                message = f"`{reference}` is for {'/'.join(sorted(tasks))}, this model for {own}"
                self.problems.add(leaf.place, message, None, "fleet.conflict")

    def _cycles(self) -> None:
        """Chains of fallbacks end; each cycle is told once, where its first model closes it."""
        ended: set[str] = set()
        for start in self.names.models:
            trail: list[str] = []
            self._walk(start, trail, ended)

    def _walk(self, start: str, trail: list[str], ended: set[str]) -> None:
        stack = [(start, iter(self._next(start)))]
        trail.append(start)
        while stack:
            name, following = stack[-1]
            step = next(following, None)
            if step is None:
                ended.add(name)
                stack.pop()
                trail.pop()
                continue
            leaf, target = step
            if target in trail and target != name:
                chain = " -> ".join([*trail[trail.index(target) :], target])
                self.problems.add(leaf.place, f"fallbacks go round: {chain}", None, "fleet.cycle")
            elif target not in ended and target != name:
                stack.append((target, iter(self._next(target))))
                trail.append(target)

    def _next(self, name: str) -> list[tuple[Leaf, str]]:
        model = self.names.models[name]
        return [
            (leaf, target.get("name"))
            for leaf in model.leaves("fallbacks")
            for target in self.names.called.get(leaf.value, [])
            if self.names.models.get(target.get("name")) is target
        ]

    def _placement(self, placement: Branch) -> None:
        sharing = placement.get("sharing")
        strict = placement.get("isolation") == "strict"
        for leaf in placement.leaves("pools"):
            pool = self.names.pools.get(leaf.value)
            if pool is None:
                _no_pool(leaf, self.names)
                continue
            offered = pool.inner("sharing")
            if sharing in _OFFER and not offered.has(_OFFER[sharing]) and not pool.broken:
                message = f"pool `{leaf.value}` does not offer `{sharing}`: {pool.at('sharing')}"
                hint = f"add `sharing.{sharing}` to the pool"
                self.problems.add(leaf.place, message, hint, "fleet.conflict")
            self._profile(placement, offered, leaf)
            if strict:
                _refuse_open_sharing(offered, leaf.place, f"pool `{leaf.value}`", self.problems)

    def _profile(self, placement: Branch, offered: Branch, leaf: Leaf) -> None:
        profile = placement.get("mig_profile")
        layout = [slice_.get("profile") for slice_ in offered.inner("mig").branches("layout")]
        if profile is not None and layout and profile not in layout:
            shown = ", ".join(f"`{name}`" for name in layout if name)
            message = f"pool `{leaf.value}` has no instances of `{profile}`, only {shown}"
            self.problems.add(placement.at("mig_profile"), message, None, "fleet.conflict")


class _Tenants:
    """What tenants may call, where their data may go, and their walls."""

    def __init__(self, names: Names) -> None:
        self.names = names
        self.problems = names.problems
        self.keys: dict[str, Place] = {}

    def check(self) -> None:
        for tenant in self.names.tenants.values():
            self._models(tenant, tenant)
            for key in tenant.branches("keys"):
                self._models(key, tenant)
                self._key(key)
            for leaf in tenant.leaves("pools"):
                if leaf.value not in self.names.pools:
                    _no_pool(leaf, self.names)
            self._residency(tenant)
            if tenant.get("isolation") == "strict":
                self._strict(tenant)

    def _models(self, holder: Branch, tenant: Branch) -> None:
        for leaf in holder.leaves("models"):
            reference: str = leaf.value
            if reference == "*" or reference in self.names.called:
                continue
            provider = reference.partition("/")[0] if "/" in reference else None
            everything = reference.endswith("/*") and provider in self.names.providers
            if not everything and self.names.provider_model(reference) is None:
                self.names.note_missing(leaf)
            elif provider is not None:
                self._outside(leaf, provider, tenant)

    def _outside(self, leaf: Leaf, provider: str, tenant: Branch) -> None:
        """A model at a provider: its region must be allowed, and a budget must know its price."""
        allow = [entry.value for entry in tenant.inner("residency").leaves("allow")]
        region = self.names.providers[provider].get("region")
        if tenant.has("residency") and allow and provider not in allow and region not in allow:
            message = f"`residency.allow` keeps this tenant's data away from `{provider}`"
            hint = f"add `{provider}` there, or remove this model"
            self.problems.add(leaf.place, message, hint, "fleet.conflict")
        model = self.names.provider_model(leaf.value)
        budget = tenant.inner("limits").has("budget")
        if budget and model is not None and not model.has("prices") and not model.broken:
            message = f"the tenant has a budget, but `{leaf.value}` has no prices: {model.place}"
            self.problems.add(leaf.place, message, "add `prices` there", "fleet.conflict")

    def _key(self, key: Branch) -> None:
        expires = key.get("expires")
        if expires is not None and not _is_day(expires):
            message = f"`{expires}` is not a day"
            self.problems.add(key.at("expires"), message, None, "fleet.text")
        digest = key.get("sha256")
        if digest is None:
            return
        place = key.at("sha256")
        first = self.keys.setdefault(digest, place)
        if first != place:
            message = f"the same key is written twice; first at {first}"
            self.problems.add(place, message, "give each its own key", "fleet.duplicate")

    def _residency(self, tenant: Branch) -> None:
        regions = {provider.get("region") for provider in self.names.providers.values()}
        regions |= {pool.inner("cloud").get("region") for pool in self.names.pools.values()}
        known = {"cluster", *self.names.providers, *(region for region in regions if region)}
        for leaf in tenant.inner("residency").leaves("allow"):
            if leaf.value not in known:
                hint = did_you_mean(leaf.value, sorted(known))
                message = (
                    f"`{leaf.value}` is neither `cluster`, nor a provider, nor a region of one"
                )
                self.problems.add(leaf.place, message, hint, "fleet.reference")

    def _strict(self, tenant: Branch) -> None:
        for leaf in tenant.leaves("pools"):
            pool = self.names.pools.get(leaf.value)
            if pool is not None:
                offered = pool.inner("sharing")
                _refuse_open_sharing(offered, leaf.place, f"pool `{leaf.value}`", self.problems)
        for leaf in tenant.leaves("models"):
            for model in self.names.called.get(leaf.value, []):
                sharing = model.inner("placement").get("sharing")
                if sharing in _OPEN_SHARING:
                    at = model.at("placement", "sharing")
                    message = f"the tenant is `strict`, but this model shares by `{sharing}`: {at}"
                    hint = "use `sharing: none` or `mig` there"
                    self.problems.add(leaf.place, message, hint, "fleet.conflict")


def _check_gateway(specs: list[Branch], names: Names) -> None:
    written = [spec.at("gateway") for spec in specs if spec.has("gateway")]
    for place in written[1:]:
        message = f"there is one gateway, already described at {written[0]}"
        names.problems.add(place, message, "keep one of the two", "fleet.duplicate")
    for spec in specs:
        gateway = spec.inner("gateway")
        limited = any(_limited(tenant) for tenant in names.tenants.values())
        if not limited or gateway.has("counters") or gateway.broken:
            continue
        for field, what in (("replicas", "gateway replicas"), ("workers", "gateway workers")):
            number = gateway.get(field) or 1
            if number > 1:
                names.problems.add(
                    gateway.at(field),
                    f"each of {number} {what} would count the tenants' limits on its own",
                    "set `gateway.counters` to a Redis or Valkey that they share",
                    "fleet.conflict",
                )


def _is_day(text: str) -> bool:
    try:
        date.fromisoformat(text)
    except ValueError:
        return False
    return True


def _limited(tenant: Branch) -> bool:
    holders = (tenant, *tenant.branches("keys"))
    return any(holder.inner("limits").fields for holder in holders)


def _no_pool(leaf: Leaf, names: Names) -> None:
    if "pools" in names.incomplete:
        return
    hint = did_you_mean(leaf.value, list(names.pools))
    if hint is None and names.pools:
        hint = "choose from " + ", ".join(f"`{name}`" for name in list(names.pools)[:8])
    if hint is None:
        hint = "no pool is defined here; give the platform team's file too"
    message = f"there is no pool `{leaf.value}`"
    names.problems.add(leaf.place, message, hint, "fleet.reference")


def _refuse_open_sharing(offered: Branch, place: Place, who: str, problems: Problems) -> None:
    for word, attribute in _OPEN_SHARING.items():
        if offered.has(attribute):
            at = offered.at(attribute)
            message = f"isolation is `strict`, but {who} shares accelerators by `{word}`: {at}"
            problems.add(
                place, message, "use a pool of whole accelerators or MIG", "fleet.conflict"
            )
