"""The network of every model that needs an accelerator: from the catalogue, a disk, or the hub."""

from __future__ import annotations

from pathlib import Path

from plimsoll.cli.demand import on_demand
from plimsoll.cli.files import LoadedFleet
from plimsoll.errors import InputError, SourceError
from plimsoll.facts.catalogue import network
from plimsoll.facts.network import Network
from plimsoll.fleet import Fleet, Model


def on_accelerators(fleet: Fleet) -> tuple[Model, ...]:
    """The models that an engine runs on accelerators; the others are the embedded engine's."""
    return tuple(model for model in fleet.models if not runs_here(model))


def runs_here(model: Model) -> bool:
    """Whether the embedded engine runs a model: it is asked for, or the weights are GGUF."""
    if model.engine != "auto":
        return model.engine == "llamacpp"
    source = model.source
    return source.scheme == "builtin" or source.path.lower().endswith(".gguf")


def networks_of(loaded: LoadedFleet) -> dict[str, Network]:
    """The networks of the models that need accelerators, by model name.

    Raises InputError for a model that neither the catalogue nor its source tells.
    """
    return {
        model.name: _network(index, model, loaded.base)
        for index, model in enumerate(loaded.fleet.models)
        if not runs_here(model)
    }


def _network(index: int, model: Model, base: Path) -> Network:
    source, where = model.source, f"spec.models[{index}].source"
    if model.base_model is not None:
        return _known(model.base_model, f"spec.models[{index}].baseModel")
    if source.scheme == "file":
        found: Network = on_demand("elsewhere").network_on_disk(model, base)
        return found
    name = source.repository or source.path.strip("/").rpartition("/")[2]
    try:
        return network(name)
    except InputError as unknown:
        try:
            told: Network = on_demand("elsewhere").network_at_source(model)
        except (SourceError, InputError) as failed:
            raise InputError(
                f"{unknown.message}, and its source did not tell: {failed.message}",
                where=where,
                hint=f"name one of the same shape in `baseModel`; {unknown.hint}",
                code=unknown.code,
            ) from failed
        return told


def _known(name: str, where: str) -> Network:
    """A network of the catalogue. Raises InputError that says where the name stands."""
    try:
        return network(name)
    except InputError as error:
        raise InputError(error.message, where=where, hint=error.hint, code=error.code) from error
