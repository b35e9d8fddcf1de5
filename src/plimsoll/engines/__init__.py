"""How a replica runs: one adapter per engine, found by the name that the fleet file uses."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from types import MappingProxyType

from plimsoll.engines.llamacpp import LlamaCpp
from plimsoll.engines.protocol import Engine
from plimsoll.facts.engines import engine as facts


def table(engines: Iterable[Engine]) -> Mapping[str, Engine]:
    """The engines by name. Raises ValueError when two have one name."""
    by_name: dict[str, Engine] = {}
    for engine in engines:
        if by_name.setdefault(engine.name, engine) is not engine:
            raise ValueError(f"two engines are named `{engine.name}`")
    return MappingProxyType(by_name)


ENGINES = table(
    (
        LlamaCpp(facts("llamacpp")),
    )
)  # fmt: skip
