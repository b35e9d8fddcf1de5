"""NVIDIA Triton with its OpenAI frontend: placements -> command and model repository."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

from plimsoll.engines.catalogue import Catalogued, container, counts, variables
from plimsoll.engines.flags import Flag, words
from plimsoll.engines.protocol import (
    Capabilities,
    Command,
    Container,
    Counts,
    Drain,
    Probe,
    Setting,
)
from plimsoll.engines.triton_repository import model_files
from plimsoll.errors import InputError
from plimsoll.facts.engines import EngineFacts
from plimsoll.plan.types import Placement

REPOSITORY = "/etc/plimsoll/repository"  # where the model repository lies in our containers
_LANGUAGE = ("vllm", "tensorrtllm")  # backends of which the OpenAI frontend knows the tensors
Member = tuple[Placement, Setting]


class Triton(Catalogued):
    """The adapter of Triton.

    facts  the engine's row in the catalogue
    vllm   vLLM's row, whose engine is one of the backends
    """

    def __init__(self, facts: EngineFacts, vllm: EngineFacts) -> None:
        super().__init__(facts)
        self._vllm = vllm

    @property
    def capabilities(self) -> Capabilities:
        """What it can do. It cuts its answers at SIGTERM, so whoever stops it waits first."""
        return Capabilities(
            formats=frozenset(self._facts.formats),
            tasks=frozenset(self._facts.tasks),
            accelerators=frozenset({"cuda", "cpu"}),
            cancels=True,
            cancels_whole=False,
            continues=False,
            drains_itself=self._facts.drains,
            counts_tokens=False,
            model_label=self._facts.model_label,
        )

    def command(self, place: Placement, setting: Setting) -> Command:
        """How to run a server of one model."""
        return self.server(((place, setting),))

    def server(self, members: Iterable[Member]) -> Command:
        """How to run one server of several models, with their repository as files.

        members  at least one; where the server listens is the first one's setting
        Raises InputError where models cannot live in one server: several language models, or
        several values of one variable.
        Source: triton-inference-server/server python/openai/openai_frontend/main.py @e1db8a60.
        """
        listed = list(members)
        place, setting = _leading(listed)
        _refuse(self.name, place)
        repository = self.model_repository(listed)
        return Command(
            argv=(
                self._facts.program,
                *self._facts.start,
                *words(_flags(place, setting), place.options.args),
            ),
            env=variables(place, {**self._facts.env, **_orchestrated(place)}),
            ready=Probe(path=self._facts.health, loading=frozenset(self._facts.loading)),
            drain=Drain(),
            metrics=self._facts.metrics_path,
            files={f"{REPOSITORY}/{path}": text for path, text in repository.items()},
        )

    def model_repository(self, members: Iterable[Member]) -> Mapping[str, str]:
        """The texts of a model repository, by path within it: `llama/config.pbtxt`, ...

        Weights are not among them: `weights_in_repository` tells which backends want them there.
        Raises InputError for a task or split that a backend has not.
        """
        listed = list(members)
        own = _numbers(listed)
        return {
            path: text
            for place, setting in listed
            for path, text in model_files(
                self._vllm, place, setting, own.get(place.model, ())
            ).items()
        }

    def container(self, place: Placement) -> Container:
        """The image of the model's backend. Raises InputError where there is none."""
        chosen = backend(place)
        return container(self._facts, place, variant=chosen if chosen in _LANGUAGE else "")

    def counts(self, metrics: str) -> Counts:
        """What its TensorRT-LLM backend says of requests that run.

        Raises FormatError with other backends: those show only requests that wait.
        """
        return counts(self._facts, metrics)


def backend(place: Placement) -> str:
    """The model's backend; vLLM where the fleet file names none."""
    return place.options.backend or "vllm"


def _numbers(members: Sequence[Member]) -> Mapping[str, range]:
    """Which of the container's accelerators are a model's own, where several models share them.

    Language models come first, as they count from 0. Turns and slices are one device to a process,
    so nothing is said of them.
    """
    found: dict[str, range] = {}
    taken = 0
    for place, _ in sorted(members, key=lambda member: backend(member[0]) not in _LANGUAGE):
        if len(members) > 1 and place.devices is not None and place.devices.sharing == "none":
            found[place.model] = range(taken, taken + place.devices.per_node)
            taken += place.devices.per_node
    return found


def weights_in_repository(place: Placement) -> str:
    """Folder of the repository where this model's weights must lie, such as `rerank/1`.

    Empty for backends that are told where the weights are.
    """
    return "" if backend(place) in _LANGUAGE else f"{place.model}/1"


def _leading(members: list[Member]) -> Member:
    """The member that the frontend speaks for: the language model, if there is one."""
    language = [member for member in members if backend(member[0]) in _LANGUAGE]
    if len(language) > 1:
        names = ", ".join(f"`{place.model}`" for place, _ in language)
        raise InputError(
            f"one Triton server speaks for one language model, and these are several: {names}",
            where=f"model {language[1][0].model}",
            hint="give each its own `engineOptions.server`",
            code="engine.server",
        )
    return (language or members)[0]


def _refuse(engine: str, place: Placement) -> None:
    if place.devices is not None and place.devices.nodes > 1:
        raise InputError(
            f"{engine} runs a replica on one node only",
            where=f"model {place.model}",
            hint="take `engine: vllm` or `engine: sglang`, or a smaller format",
            code="engine.split",
        )


def _flags(place: Placement, setting: Setting) -> Iterator[Flag]:
    yield "--model-repository", REPOSITORY
    if backend(place) in _LANGUAGE:
        yield "--tokenizer", setting.weights
        yield "--backend", backend(place)
    yield "--host", setting.host
    yield "--openai-port", setting.port
    if backend(place) == "vllm":
        yield "--default-max-tokens", place.context
    # Models of other backends answer Triton's own protocol, on the ports after that.
    yield "--enable-kserve-frontends", None
    yield "--kserve-http-port", setting.port + 1
    yield "--kserve-grpc-port", setting.port + 2


def _orchestrated(place: Placement) -> Mapping[str, str]:
    """The frontend starts TensorRT-LLM's workers itself, without mpirun."""
    return {"TRTLLM_ORCHESTRATOR": "1"} if backend(place) == "tensorrtllm" else {}
