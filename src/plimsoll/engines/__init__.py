"""How a replica runs: one adapter per engine, found by the name that the fleet file uses."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from types import MappingProxyType

from plimsoll.engines.custom import Custom
from plimsoll.engines.llamacpp import LlamaCpp
from plimsoll.engines.protocol import Engine
from plimsoll.engines.rayserve import RayServe
from plimsoll.engines.sglang import SGLang
from plimsoll.engines.tgi import Tgi
from plimsoll.engines.triton import Triton
from plimsoll.engines.vllm import Vllm
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
        Vllm(facts("vllm")),
        SGLang(facts("sglang")),
        Tgi(facts("tgi")),
        Triton(facts("triton"), vllm=facts("vllm")),
        RayServe(facts("rayserve"), vllm=facts("vllm")),
        Custom(facts("custom"), known=(facts("llamacpp"), facts("vllm"), facts("sglang"))),
    )
)  # fmt: skip
