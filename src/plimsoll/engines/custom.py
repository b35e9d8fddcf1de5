"""A container of one's own: the fleet file's image, command, probes and metrics, as they are."""

from __future__ import annotations

from collections.abc import Iterable

from plimsoll.engines.catalogue import Catalogued, counts, variables
from plimsoll.engines.metrics_text import totals
from plimsoll.engines.protocol import (
    Capabilities,
    Command,
    Container,
    Counts,
    Drain,
    Probe,
    Setting,
)
from plimsoll.errors import FormatError, InputError
from plimsoll.facts.engines import EngineFacts
from plimsoll.plan.types import Placement


class Custom(Catalogued):
    """The adapter of whatever the fleet file names.

    facts  its row in the catalogue: the fleet file's defaults
    known  engines whose metrics are recognised, for most containers run one of them
    """

    def __init__(self, facts: EngineFacts, known: Iterable[EngineFacts] = ()) -> None:
        super().__init__(facts)
        self._known = tuple(known)

    @property
    def capabilities(self) -> Capabilities:
        """What must be expected of it: the least, for nothing is known."""
        return Capabilities(
            formats=frozenset({"gguf", "safetensors"}),
            tasks=frozenset(self._facts.tasks),
            accelerators=frozenset({"cpu", "cuda", "rocm", "xpu"}),
            cancels=False,
            cancels_whole=False,
            continues=False,
            drains_itself=False,
            counts_tokens=False,
        )

    def command(self, place: Placement, setting: Setting) -> Command:
        """The fleet file's words and nothing else; no argv means the image's own entry point.

        Weights, host, port and name are in variables, for images that want to be told. Ends at
        SIGTERM; nothing says that it drains, so whoever stops it must wait first.
        """
        told = {
            "PLIMSOLL_WEIGHTS": setting.weights,
            "PLIMSOLL_MODEL": place.model,
            "PLIMSOLL_HOST": setting.host,
            "PLIMSOLL_PORT": str(setting.port),
        }
        return Command(
            argv=(*place.options.command, *place.options.args),
            env=variables(place, {**self._facts.env, **told}),
            ready=Probe(path=place.options.ready, loading=frozenset(self._facts.loading)),
            drain=Drain(),
            metrics=place.options.metrics,
        )

    def container(self, place: Placement) -> Container:
        """The fleet file's image. Raises InputError without one."""
        if not place.options.image:
            raise InputError(
                "a `custom` engine in a cluster needs an image",
                where=f"model {place.model}",
                hint="name one in `engineOptions.image`",
                code="engine.image",
            )
        return Container(
            image=place.options.image,
            user=self._facts.user,
            writable=self._facts.writable,
            shared_memory=True,
            env=self._facts.container_env,
        )

    def counts(self, metrics: str) -> Counts:
        """What an engine that is known says, if this is one of them.

        Raises FormatError where the text says nothing of requests that run and wait: then nothing
        is known, which is not the same as none.
        """
        names = totals(metrics).keys()
        for facts in self._known:
            if {facts.metrics["running"], facts.metrics["waiting"]} <= names:
                return counts(facts, metrics)
        raise FormatError(
            "the metrics of this engine say nothing of requests that run and wait",
            hint="scaling then goes by what the gateway counts",
            code="engine.metric-missing",
        )
