"""`plimsoll gateway` from end to end: real llama.cpp servers as pods, the OpenAI SDK as caller."""

from __future__ import annotations

import signal
import ssl
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest

from plimsoll.worlds.cluster.objects.gateway import config_map_name, gateway_objects
from plimsoll.worlds.cluster.objects.site import Site
from plimsoll.worlds.cluster.served import KEY
from tests.cli.gateway_process import (
    GatewayProcess,
    endpoint_slice,
    gateway_process,
    wait_for,
)
from tests.gateway.engine import RealEngine
from tests.gateway.test_certificate import write_pair
from tests.worlds.cluster.api import Api, served
from tests.worlds.cluster.sites import fleet_text, site_of

pytestmark = pytest.mark.slow

ONE = """
models:
  - {name: demo, aliases: [small], source: "builtin:demo", engine: llamacpp, context: 1024,
     concurrency: 4}
gateway: {maxStream: 60s, queue: {wait: 20s}}
"""
TWO = ONE.replace(
    "gateway:",
    """\
  - {name: second, source: "builtin:demo", engine: llamacpp, context: 1024, concurrency: 4,
     startup: {hold: 30s}}
gateway:""",
)

KEYED = """
tenants:
  - name: acme
    limits: {concurrency: 8}
    keys:
      - {name: web, from: {secret: acme, key: web}}
      - {name: ci, from: {env: ACME_KEY}}
      - {name: lost, from: {secret: acme, key: lost}}
      - {name: sum, sha256: %s}
"""


@pytest.fixture(scope="module")
def engines() -> Iterator[tuple[RealEngine, RealEngine]]:
    with RealEngine("demo-a") as first, RealEngine("demo-b") as second:
        yield first, second


@pytest.fixture
def api() -> Iterator[Api]:
    with served() as running:
        yield running


def site(text: str) -> Site:
    return site_of(fleet_text(text, name="shop", namespace="default"))


def config_map(text: str) -> dict[str, Any]:
    return next(one for one in gateway_objects(site(text)) if one["kind"] == "ConfigMap")


def service(model: str) -> str:
    return f"shop-{model}"


@contextmanager
def held(engine: RealEngine) -> Iterator[None]:
    """The engine stands still, so that what it answers is in mid-stream for as long as needed."""
    engine._process.send_signal(signal.SIGSTOP)
    try:
        yield
    finally:
        engine._process.send_signal(signal.SIGCONT)


@contextmanager
def gateway(api: Api, text: str = ONE, **more: Any) -> Iterator[GatewayProcess]:
    """The gateway of a fleet whose ConfigMap is there."""
    api.create(config_map(text))
    name = config_map_name(site(text))
    arguments = ("--config-map", name, "--namespace", "default", "--api-server", api.url)
    with gateway_process(*arguments, "--service", "shop-gateway", **more) as running:
        yield running


def client(running: GatewayProcess) -> openai.OpenAI:
    return openai.OpenAI(base_url=f"{running.url}/v1", api_key="none", max_retries=0, timeout=60)


def ask(running: GatewayProcess, model: str = "demo", *, tokens: int = 8) -> str:
    with client(running) as sdk:
        answer = sdk.chat.completions.create(
            model=model,
            messages=[{"role": "user", "content": "Which port?"}],
            max_tokens=tokens,
            extra_body={"ignore_eos": True},
        )
    assert answer.usage is not None
    assert answer.usage.completion_tokens == tokens
    return str(answer.choices[0].message.content)


class Streaming:
    """A streamed answer that is read in a thread; `begun` after its first event."""

    def __init__(self, running: GatewayProcess, *, tokens: int, model: str = "demo") -> None:
        self.begun = threading.Event()
        self.events = 0
        self.finish = ""
        self._pool = ThreadPoolExecutor(1)
        self._read = self._pool.submit(self._run, running, tokens, model)

    def _run(self, running: GatewayProcess, tokens: int, model: str) -> None:
        with client(running) as sdk:
            for event in sdk.chat.completions.create(
                model=model,
                messages=[{"role": "user", "content": "Tell me of ships."}],
                max_tokens=tokens,
                stream=True,
                extra_body={"ignore_eos": True},
            ):
                self.events += 1
                self.begun.set()
                for choice in event.choices:
                    self.finish = choice.finish_reason or self.finish

    def over(self) -> bool:
        return self._read.done()

    def result(self) -> None:
        """Wait for the end; raises what the SDK raised."""
        self._read.result(60)
        self._pool.shutdown()


def ready(api: Api, engine: RealEngine, model: str = "demo", **words: Any) -> dict[str, Any]:
    made = endpoint_slice(service(model), engine.name, engine.address, **words)
    return api.create(made)


def terminating(it: dict[str, Any]) -> None:
    it["endpoints"][0]["conditions"] = {"ready": False, "serving": True, "terminating": True}


def test_a_stream_on_an_ending_pod_finishes_and_new_work_goes_elsewhere(
    api: Api, engines: tuple[RealEngine, RealEngine]
) -> None:
    first, second = engines
    at_first = ready(api, first)
    with gateway(api) as running:
        stream = Streaming(running, tokens=900)
        assert stream.begun.wait(30)
        with held(first):
            ready(api, second)
            wait_for(lambda: running.ready("demo") == 2, what="both replicas")
            api.change(at_first, terminating)
            wait_for(lambda: running.ready("demo") == 1, what="the ending one gone")
            for _ in range(6):
                ask(running)
            assert not stream.over()
        stream.result()
        assert (stream.finish, stream.events > 100) == ("length", True)
        wait_for(lambda: len(running.accesses) == 7, what="seven accesses")
        work = [(line.get("streamed", False), line["replica"]) for line in running.accesses]
        assert sorted(work) == [(False, "demo-b")] * 6 + [(True, "demo-a")]


def test_traffic_goes_on_while_the_api_server_is_away_and_follows_it_when_it_is_back(
    api: Api, engines: tuple[RealEngine, RealEngine]
) -> None:
    first, second = engines
    ready(api, first)
    with gateway(api) as running:
        ask(running)
        api.down()
        wait_for(lambda: running.said("cannot be followed"), what="the gateway notices")
        for _ in range(3):
            ask(running)
        assert running.ready("demo") == 1
        api.up()
        ready(api, second)
        wait_for(lambda: running.ready("demo") == 2, what="the new replica")
        assert (
            sum(
                value
                for name, value in running.metrics().items()
                if name.startswith("plimsoll_watch_failures_total")
            )
            >= 1
        )


def test_a_model_comes_and_goes_with_the_config_map_without_a_restart(
    api: Api, engines: tuple[RealEngine, RealEngine]
) -> None:
    first, second = engines
    ready(api, first)
    with gateway(api) as running:
        assert running.models() == ["demo"]
        stream = Streaming(running, tokens=900)
        assert stream.begun.wait(30)
        with held(first):
            ready(api, second, "second")
            changed = config_map(TWO)
            api.change(changed, lambda it: it["data"].update(changed["data"]))
            wait_for(lambda: running.models() == ["demo", "second"], what="the new model")
            ask(running, "second")
            gone = config_map(ONE)
            api.change(gone, lambda it: it["data"].update(gone["data"]))
            wait_for(lambda: running.models() == ["demo"], what="the model gone")
            with pytest.raises(openai.NotFoundError):
                ask(running, "second")
            assert not stream.over()
        stream.result()
        assert stream.finish == "length"


def test_only_callers_with_a_key_are_served_and_no_key_is_said(
    api: Api, engines: tuple[RealEngine, RealEngine], tmp_path: Path
) -> None:
    (tmp_path / "acme").mkdir()
    (tmp_path / "acme" / "web").write_text("sk-web-canary\n")
    ready(api, engines[0])
    text = ONE + KEYED % sha256(b"sk-sum-canary").hexdigest()
    api.create(config_map(text))
    arguments = ("--config-map", config_map_name(site(text)), "--namespace", "default")
    with gateway_process(
        *arguments, "--api-server", api.url, "--keys", str(tmp_path), ACME_KEY="sk-env-canary"
    ) as running:
        wait_for(lambda: running.ready("demo") == 1, what="the replica")
        with pytest.raises(openai.AuthenticationError):
            ask(running)
        for key in ("sk-web-canary", "sk-sum-canary", "sk-env-canary"):
            with openai.OpenAI(base_url=f"{running.url}/v1", api_key=key, max_retries=0) as sdk:
                assert [model.id for model in sdk.models.list()] == ["demo"]
                sdk.completions.create(model="small", prompt="Hi", max_tokens=2)
        assert running.said("key `lost` of tenant `acme` is not accepted")
        assert running.said("`limits` of tenants are not kept yet")
        wait_for(lambda: len(running.accesses) == 4, what="four accesses")
        callers = {(line.get("tenant"), line.get("key")) for line in running.accesses}
        assert callers == {(None, None), ("acme", "web"), ("acme", "ci"), ("acme", "sum")}
        metrics = httpx.get(f"{running.url}/metrics").text
        assert 'plimsoll_gateway_tenant_requests_total{tenant="acme"} 3.0' in metrics
        assert "canary" not in f"{running.accesses}{running.events}{metrics}"


def test_a_broken_configuration_changes_nothing_and_says_why(
    api: Api, engines: tuple[RealEngine, RealEngine]
) -> None:
    ready(api, engines[0])
    with gateway(api) as running:
        api.change(config_map(ONE), lambda it: it["data"].update({KEY: '{"format": 1}'}))
        wait_for(lambda: running.said("stays as it was"), what="the refusal")
        ask(running)
        assert running.metrics()['plimsoll_gateway_configurations_total{result="refused"}'] == 1


def test_a_request_waits_for_the_first_replica_of_a_model_that_has_none(
    api: Api, engines: tuple[RealEngine, RealEngine]
) -> None:
    with gateway(api) as running, ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(ask, running)
        wait_for(
            lambda: running.metrics()['plimsoll_gateway_queued{model="demo"}'] == 1,
            what="it waits",
        )
        ready(api, engines[0])
        assert waiting.result(30)


def test_a_model_that_goes_away_refuses_those_who_wait_for_it(
    api: Api, engines: tuple[RealEngine, RealEngine]
) -> None:
    with gateway(api, TWO) as running, ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(ask, running, "second")
        wait_for(
            lambda: running.metrics()['plimsoll_gateway_queued{model="second"}'] == 1,
            what="it waits",
        )
        gone = config_map(ONE)
        api.change(gone, lambda it: it["data"].update(gone["data"]))
        with pytest.raises(openai.NotFoundError, match="no longer offered"):
            waiting.result(30)


def test_sigterm_lets_streams_finish_and_ends_with_zero(
    api: Api, engines: tuple[RealEngine, RealEngine]
) -> None:
    ready(api, engines[0])
    with gateway(api) as running:
        stream = Streaming(running, tokens=900)
        assert stream.begun.wait(30)
        with held(engines[0]):
            running.process.send_signal(signal.SIGTERM)
            wait_for(lambda: running.said("draining"), what="it drains")
            with pytest.raises(httpx.TransportError):
                httpx.get(f"{running.url}/health")
            assert not stream.over()
        stream.result()
        assert stream.finish == "length"
        assert running.process.wait(30) == 0
        assert running.events[-1]["cut"] == 0


def test_a_second_sigterm_cuts_what_runs(api: Api, engines: tuple[RealEngine, RealEngine]) -> None:
    with gateway(api) as running, ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(ask, running)
        wait_for(
            lambda: running.metrics()['plimsoll_gateway_queued{model="demo"}'] == 1,
            what="it waits",
        )
        running.process.send_signal(signal.SIGTERM)
        wait_for(lambda: running.said("draining"), what="it drains")
        running.process.send_signal(signal.SIGTERM)
        with pytest.raises(openai.APIStatusError, match="shutting down"):
            waiting.result(30)
        assert running.process.wait(30) == 0


def two_gateways(api: Api) -> None:
    for number in range(2):
        api.create(
            endpoint_slice("shop-gateway", f"gateway-{number}", f"127.0.0.1:{9000 + number}")
        )


def test_gateways_share_the_replicas_by_their_number(
    api: Api, engines: tuple[RealEngine, RealEngine]
) -> None:
    """Of four places at once, one of two gateways has two; a replica that is silent lends none."""
    ready(api, engines[0])
    two_gateways(api)
    with gateway(api) as running:
        assert running.metrics()["plimsoll_gateway_peers"] == 2
        with held(engines[0]):
            streams = [Streaming(running, tokens=50) for _ in range(3)]
            wait_for(
                lambda: running.metrics()['plimsoll_gateway_queued{model="demo"}'] == 1,
                what="one waits",
            )
            assert running.metrics()['plimsoll_gateway_in_flight{model="demo"}'] == 2
        for one in streams:
            one.result()


def test_a_gateway_gets_more_than_its_share_when_a_replica_says_that_nobody_else_is_there(
    api: Api, engines: tuple[RealEngine, RealEngine]
) -> None:
    ready(api, engines[0])
    two_gateways(api)
    over = threading.Event()

    def go_on(running: GatewayProcess) -> None:
        while not over.is_set():
            ask(running, tokens=100)

    with gateway(api) as running, ThreadPoolExecutor(6) as pool:
        try:
            asking = [pool.submit(go_on, running) for _ in range(6)]
            wait_for(
                lambda: running.metrics()['plimsoll_gateway_in_flight{model="demo"}'] == 3,
                what="a third of four places",
            )
        finally:
            over.set()
        for each in asking:
            each.result(30)


def test_what_engines_say_is_shown_per_model_and_forgotten_with_the_replica(
    api: Api, engines: tuple[RealEngine, RealEngine]
) -> None:
    slices = [ready(api, engine) for engine in engines]
    with gateway(api) as running:
        wait_for(
            lambda: running.metrics().get('plimsoll_engine_replicas_known{model="demo"}') == 2,
            what="both tell",
        )
        shown = running.metrics()
        assert shown['plimsoll_engine_running{model="demo"}'] == 0
        assert shown['plimsoll_engine_waiting{model="demo"}'] == 0
        assert shown['plimsoll_engine_look_failures_total{model="demo"}'] == 0
        assert 0 <= shown['plimsoll_engine_look_age_seconds{model="demo"}'] < 30
        for made in slices:
            api.change(made, terminating)
        wait_for(
            lambda: running.metrics()['plimsoll_engine_replicas_known{model="demo"}'] == 0,
            what="they are forgotten",
        )
        assert 'plimsoll_engine_running{model="demo"}' not in running.metrics()


def test_an_alias_reaches_the_engine_under_the_models_own_name(
    api: Api, engines: tuple[RealEngine, RealEngine]
) -> None:
    ready(api, engines[0])
    with gateway(api) as running:
        assert ask(running, "small")


def test_a_file_is_followed_as_a_config_map_is(
    api: Api, engines: tuple[RealEngine, RealEngine], tmp_path: Path
) -> None:
    ready(api, engines[0])
    file = tmp_path / "fleet.json"
    file.write_text(config_map(ONE)["data"][KEY])
    with gateway_process("--config", str(file), "--api-server", api.url) as running:
        ask(running)
        file.write_text("{")
        wait_for(lambda: running.said("stays as it was"), what="the refusal")
        file.write_text(config_map(TWO)["data"][KEY])
        wait_for(lambda: running.models() == ["demo", "second"], what="the new model")
        ask(running)


def test_it_speaks_tls_with_its_own_certificate(
    api: Api, engines: tuple[RealEngine, RealEngine], tmp_path: Path
) -> None:
    chain, key = write_pair(tmp_path)
    ready(api, engines[0])
    api.create(config_map(ONE))
    arguments = ("--config-map", config_map_name(site(ONE)), "--namespace", "default")
    files = ("--tls-certificate", str(chain), "--tls-key", str(key))
    with gateway_process(*arguments, *files, "--api-server", api.url, scheme="https") as running:
        trust = ssl.create_default_context(cafile=str(chain))
        with httpx.Client(verify=trust) as http:
            assert http.get(f"{running.url}/health").json() == {"status": "serving"}


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        ((), "usage"),
        (("--config-map", "a", "--config", "b"), "usage"),
        (("--config", "/nowhere/fleet.json"), "input.file"),
        (("--config-map", "a", "--tls-key", "k"), "usage"),
        (("--config-map", "a", "--tls-key", "k", "--tls-certificate", "c"), "gateway.certificate"),
    ],
)
def test_bad_input_is_told_in_one_line(api: Api, arguments: tuple[str, ...], code: str) -> None:
    with gateway_process(*arguments, "--api-server", api.url, listens=False) as running:
        assert running.process.wait(60) == 2
    assert f"error[{code}]" in running.events[0]["message"]
    assert not any("Traceback" in event["message"] for event in running.events)


def test_nothing_listens_before_the_first_word_of_the_api_server(api: Api) -> None:
    api.create(config_map(ONE))
    api.deny("list", "endpointslices")
    arguments = ("--config-map", config_map_name(site(ONE)), "--namespace", "default")
    with gateway_process(*arguments, "--api-server", api.url, listens=False) as running:
        wait_for(lambda: running.said("cannot be followed"), what="the gateway notices")
        with pytest.raises(httpx.TransportError):
            httpx.get(f"{running.url}/health")
        api.server.denied.clear()
        wait_for(lambda: running.said("listening"), what="the gateway listens")
        assert httpx.get(f"{running.url}/health").json() == {"status": "serving"}
        assert running.stop() == 0
