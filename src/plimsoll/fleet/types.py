"""The whole fleet file as one immutable value."""

from __future__ import annotations

from typing import Annotated

import msgspec

from plimsoll.fleet.fields import Items
from plimsoll.fleet.gateway import Gateway
from plimsoll.fleet.models import Model
from plimsoll.fleet.pools import Pool
from plimsoll.fleet.providers import Provider
from plimsoll.fleet.tenants import Tenant

GROUP = "plimsoll.dev"
VERSION = "v1alpha1"
API_VERSION = f"{GROUP}/{VERSION}"
KIND = "Fleet"


class Document(msgspec.Struct, frozen=True, kw_only=True):
    """The text of one file, which may hold several YAML documents.

    file  path as the user gave it, `-` for standard input
    text  its content; bytes are read as UTF-8
    """

    file: str
    text: str | bytes


class Spec(msgspec.Struct, frozen=True, kw_only=True):
    """What is wished; every section may be left out.

    models     models that callers can name
    pools      nodes that models may run on; a local run needs none
    providers  other people's APIs that may take a request
    tenants    who may call what
    gateway    the one door for requests
    """

    models: Annotated[tuple[Model, ...], Items(most=256, key="name")] = ()
    pools: Annotated[tuple[Pool, ...], Items(most=64, key="name")] = ()
    providers: Annotated[tuple[Provider, ...], Items(most=32, key="name")] = ()
    tenants: Annotated[tuple[Tenant, ...], Items(most=256, key="name")] = ()
    gateway: Gateway = Gateway()


class Fleet(msgspec.Struct, frozen=True, kw_only=True):
    """One fleet, whatever number of files and documents it was written in.

    name       of the first document
    namespace  of the first document; None where it does not say
    models     models that callers can name
    pools      nodes that models may run on
    providers  other people's APIs that may take a request
    tenants    who may call what
    gateway    the one door for requests
    """

    name: str
    namespace: str | None = None
    models: tuple[Model, ...] = ()
    pools: tuple[Pool, ...] = ()
    providers: tuple[Provider, ...] = ()
    tenants: tuple[Tenant, ...] = ()
    gateway: Gateway = Gateway()

    def model(self, name: str) -> Model:
        """The model of that name; aliases are not looked at. Raises KeyError."""
        for model in self.models:
            if model.name == name:
                return model
        raise KeyError(name)

    def called(self) -> dict[str, tuple[str, ...]]:
        """Whatever a caller may put in `model`, with the names of the models that answer to it."""
        found: dict[str, list[str]] = {}
        for model in self.models:
            adapters = (adapter.name for adapter in model.adapters)
            tiers = (model.tier,) if model.tier else ()
            for word in dict.fromkeys((model.name, *model.aliases, *tiers, *adapters)):
                found.setdefault(word, []).append(model.name)
        return {word: tuple(models) for word, models in found.items()}
