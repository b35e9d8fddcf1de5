"""Every name in a whole fleet, where it was given, and names that are given twice."""

from __future__ import annotations

from collections.abc import Iterator

from plimsoll.fleet.branches import Branch, Group, Leaf, Place
from plimsoll.fleet.problems import Problems
from plimsoll.fleet.suggest import did_you_mean


class Names:
    """The names of a fleet.

    models     by name
    called     whatever a caller may put in `model`: names, adapters, aliases, tiers; each with
               the models that answer to it
    pools      by name
    providers  by name
    tenants    in the order written
    incomplete sections that hold something whose name could not be read
    """

    def __init__(self, specs: list[Branch], problems: Problems) -> None:
        self.problems = problems
        self.incomplete: set[str] = set()
        self.models = self._section(specs, "models", "model")
        self.pools = self._section(specs, "pools", "pool")
        self.providers = self._section(specs, "providers", "provider")
        self.tenants = self._section(specs, "tenants", "tenant")
        self.called: dict[str, list[Branch]] = {}
        self._taken: dict[str, tuple[str, Place]] = {}
        self._call()

    @property
    def callable_names(self) -> list[str]:
        """For hints."""
        return [*self.called, *self.provided()]

    def provided(self) -> list[str]:
        """`provider/model` of every provider."""
        return [
            f"{name}/{leaf.value}"
            for name, provider in self.providers.items()
            for leaf in _names(provider.branches("models"))
        ]

    def provider_model(self, reference: str) -> Branch | None:
        """The model of a provider that `provider/model` names."""
        name, _, wanted = reference.partition("/")
        provider = self.providers.get(name)
        for model in provider.branches("models") if provider is not None else ():
            if model.get("name") == wanted:
                return model
        return None

    def note_missing(self, leaf: Leaf) -> None:
        """Note a reference to a model or `provider/model` that names nothing.

        Says nothing where the name may be one that could not be read.
        """
        name, slash, _ = leaf.value.partition("/")
        provider = self.providers.get(name)
        hint = did_you_mean(leaf.value, self.callable_names)
        if not slash:
            unsure = "models" in self.incomplete
            message = f"there is no model `{leaf.value}`"
            hint = hint or _listed(self.callable_names)
        elif provider is None:
            unsure = "providers" in self.incomplete
            message = f"there is no provider `{name}`"
            hint = hint or did_you_mean(name, list(self.providers)) or _listed(list(self.providers))
        else:
            unsure = _holes(provider, "models")
            message = f"provider `{name}` lists no such model"
            hint = hint or _listed([n for n in self.provided() if n.startswith(name + "/")])
        if not unsure:
            self.problems.add(leaf.place, message, hint, "fleet.reference")

    def _section(self, specs: list[Branch], section: str, noun: str) -> dict[str, Branch]:
        found: dict[str, Branch] = {}
        for spec in specs:
            if _holes(spec, section):
                self.incomplete.add(section)
            for branch in spec.branches(section):
                leaf = branch.fields.get("name")
                if not isinstance(leaf, Leaf):
                    continue
                first = found.setdefault(leaf.value, branch)
                if first is not branch:
                    message = f"another {noun} has the name `{leaf.value}`: {first.at('name')}"
                    self.problems.add(leaf.place, message, "give each its own", "fleet.duplicate")
        return found

    def _call(self) -> None:
        for name, model in self.models.items():
            self._take(name, "model", model, model.at("name"))
        for model in self.models.values():
            for adapter in model.branches("adapters"):
                name = adapter.get("name")
                if name is not None:
                    self._take(name, "adapter", model, adapter.at("name"))
        for model in self.models.values():
            for leaf in model.leaves("aliases"):
                self._alias(leaf, model)
        for model in self.models.values():
            tier = model.get("tier")
            if tier is not None:
                self._tier(tier, model, model.at("tier"))

    def _take(self, name: str, noun: str, model: Branch, place: Place) -> None:
        if name in self._taken:
            self._taken_twice(name, noun, place)
            return
        self._taken[name] = (noun, place)
        self.called[name] = [model]

    def _alias(self, leaf: Leaf, model: Branch) -> None:
        noun, first = self._taken.setdefault(leaf.value, ("alias", leaf.place))
        sharers = self.called.setdefault(leaf.value, [])
        if noun != "alias":
            self._taken_twice(leaf.value, "alias", leaf.place)
            return
        sharers.append(model)
        if first != leaf.place and not all(sharer.has("weight") for sharer in sharers):
            self.problems.add(
                leaf.place,
                f"another model has the alias `{leaf.value}`: {first}",
                "to share it, give each of them a `weight`",
                "fleet.duplicate",
            )

    def _tier(self, tier: str, model: Branch, place: Place) -> None:
        noun, _ = self._taken.setdefault(tier, ("tier", place))
        if noun != "tier":
            self._taken_twice(tier, "tier", place)
            return
        self.called.setdefault(tier, []).append(model)

    def _taken_twice(self, name: str, noun: str, place: Place) -> None:
        other, first = self._taken[name]
        self.problems.add(
            place,
            f"the {noun} `{name}` is already the name of {_article(other)} {other}: {first}",
            "callers could not tell the two apart",
            "fleet.duplicate",
        )


def _names(branches: tuple[Branch, ...]) -> Iterator[Leaf]:
    for branch in branches:
        leaf = branch.fields.get("name")
        if isinstance(leaf, Leaf):
            yield leaf


def _holes(branch: Branch, attribute: str) -> bool:
    """Whether a list of named records holds one whose name could not be read."""
    group = branch.fields.get(attribute)
    if attribute in branch.broken or (isinstance(group, Group) and group.broken):
        return True
    return any("name" in entry.broken for entry in branch.branches(attribute))


def _article(noun: str) -> str:
    return "an" if noun[0] in "aeiou" else "a"


def _listed(names: list[str]) -> str | None:
    if not names:
        return None
    shown = ", ".join(f"`{name}`" for name in names[:8])
    return f"choose from {shown}" + (f" and {len(names) - 8} more" if len(names) > 8 else "")
