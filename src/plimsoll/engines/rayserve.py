"""Ray Serve with vLLM inside (KubeRay): placements -> Serve configuration, metrics -> counts."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

from plimsoll.engines.catalogue import Catalogued, capable, container, counts, variables
from plimsoll.engines.protocol import (
    Capabilities,
    Command,
    Container,
    Counts,
    Drain,
    Probe,
    Setting,
)
from plimsoll.engines.vllm_arguments import engine_arguments
from plimsoll.errors import InputError
from plimsoll.facts.engines import EngineFacts
from plimsoll.plan.types import Placement

CONFIG_PATH = "/etc/plimsoll/serve.yaml"  # where the configuration lies in our containers
Member = tuple[Placement, Setting]


class RayServe(Catalogued):
    """The adapter of Ray Serve's LLM application.

    facts  the engine's row in the catalogue
    vllm   vLLM's row, whose engine runs inside
    """

    def __init__(self, facts: EngineFacts, vllm: EngineFacts) -> None:
        super().__init__(facts)
        self._vllm = vllm

    @property
    def capabilities(self) -> Capabilities:
        """What it can do. A closed connection ends a streamed answer."""
        return capable(self._facts, cancels_whole=False)

    def command(self, place: Placement, setting: Setting) -> Command:
        """How to serve one model on one machine, without KubeRay's operator.

        In a cluster a RayService takes `serve_config` instead, and its operator starts Ray.
        """
        return Command(
            argv=(
                self._facts.program,
                *self._facts.start,
                CONFIG_PATH,
            ),
            env=variables(place, self._facts.env),
            ready=Probe(path=self._facts.health, loading=frozenset(self._facts.loading)),
            drain=Drain(
                wait_idle=False, grace_seconds=setting.max_stream + self._facts.drain_margin
            ),
            metrics=self._facts.metrics_path,
            metrics_port=self._facts.metrics_port,
            files={CONFIG_PATH: self.serve_config(((place, setting),))},
        )

    def container(self, place: Placement) -> Container:
        """What the catalogue says of its image. Raises InputError where there is none."""
        return container(self._facts, place)

    def counts(self, metrics: str) -> Counts:
        """Sums over replicas that the node shows. Raises FormatError for no Prometheus text."""
        return counts(self._facts, metrics)

    def serve_config(self, members: Iterable[Member]) -> str:
        """The text of `spec.serveConfigV2` of a RayService.

        members  models of one application, each with where its weights lie
        Ray Serve's own autoscaler sets the replicas, between 1 and `most`; nobody else may. Raises
        InputError for what vLLM inside cannot do.
        Source: ray 2.60.0, ray/serve/schema.py ServeDeploySchema and ray.serve.llm LLMConfig.
        """
        listed = list(members)
        application = {
            "name": "llm",
            "route_prefix": "/",
            "import_path": "ray.serve.llm:build_openai_app",
            "args": {"llm_configs": [self.llm_config(*member) for member in listed]},
        }
        config = {
            "proxy_location": "EveryNode",
            "http_options": {"host": listed[0][1].host, "port": listed[0][1].port},
            "applications": [application],
        }
        return msgspec.yaml.encode(config).decode()

    def llm_config(self, place: Placement, setting: Setting) -> Mapping[str, Any]:
        """One LLMConfig of Ray Serve. Raises InputError for what it cannot do."""
        _refuse(self.name, place)
        return {
            "model_loading_config": {"model_id": place.model, "model_source": setting.weights},
            "engine_kwargs": dict(engine_arguments(self._vllm, place, setting)),
            "deployment_config": {
                "max_ongoing_requests": place.parallel,
                "graceful_shutdown_timeout_s": setting.max_stream,
                "autoscaling_config": {
                    "min_replicas": 1,
                    "max_replicas": max(1, place.most),
                    "target_ongoing_requests": max(1, round(place.parallel * 0.8)),
                },
            },
            "runtime_env": {"env_vars": dict(variables(place, self._facts.env))},
        }


def _refuse(engine: str, place: Placement) -> None:
    if place.options.args:
        raise InputError(
            f"{engine} takes no `engineOptions.args`: vLLM runs inside it",
            where=f"model {place.model}",
            hint="take `engine: vllm` to say vLLM's own flags",
            code="engine.args",
        )
    if place.adapters:
        raise InputError(
            f"{engine} loads adapters from object storage, not from files beside the model",
            where=f"model {place.model}",
            hint="take `engine: vllm` to serve them beside their base model",
            code="engine.adapters",
        )
