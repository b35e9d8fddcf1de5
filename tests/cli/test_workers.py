"""Several workers as one gateway: real processes, real llama.cpp servers as pods."""

from __future__ import annotations

import signal
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from http.client import HTTPConnection
from typing import Any

import httpx
import openai
import psutil
import pytest

from tests.cli.gateway_process import GatewayProcess, endpoint_slice, gateway_process, wait_for
from tests.cli.test_gateway_command import (
    ONE,
    Streaming,
    ask,
    config_map,
    config_map_name,
    held,
    ready,
    service,
    site,
    terminating,
)
from tests.gateway.engine import RealEngine
from tests.worlds.cluster.api import Api, served

pytestmark = pytest.mark.slow
ROOMY = ONE.replace("concurrency: 4", "concurrency: 32")
REQUESTS = 'plimsoll_gateway_requests_total{model="demo",status="200",surface="chat"}'


@pytest.fixture(scope="module")
def engine() -> Iterator[RealEngine]:
    with RealEngine("demo-a", parallel=16) as running:
        yield running


@pytest.fixture
def api() -> Iterator[Api]:
    with served() as running:
        yield running


@contextmanager
def several(api: Api, engine: RealEngine, text: str = ONE, *, count: int = 2) -> Iterator[Any]:
    """A gateway of some workers that all serve."""
    ready(api, engine)
    api.create(config_map(text))
    arguments = ("--config-map", config_map_name(site(text)), "--namespace", "default")
    with gateway_process(*arguments, "--api-server", api.url, "--workers", str(count)) as running:
        wait_for(lambda: serving(running) == count, what="every worker serves")
        wait_for(lambda: running.ready("demo") == 1, what="the replica")
        yield running


def serving(running: GatewayProcess) -> float:
    return running.metrics().get("plimsoll_gateway_workers", 0)


def times(running: GatewayProcess, text: str) -> int:
    return sum(text in event.get("message", "") for event in list(running.events))


def workers(running: GatewayProcess) -> list[psutil.Process]:
    return psutil.Process(running.process.pid).children()


def who(running: GatewayProcess) -> str:
    """The process that answers on a new connection, by the ids that it gives."""
    return given_id(running).rpartition("-")[0]


def given_id(running: GatewayProcess) -> str:
    """The id of a request on a new connection."""
    connection = HTTPConnection(running.url.removeprefix("http://"), timeout=30)
    with closing(connection):
        connection.request("GET", "/v1/models")
        return str(connection.getresponse().headers["x-request-id"])


def streaming(running: GatewayProcess, number: int) -> list[Streaming]:
    """Streams that have begun; all are at one of two workers in one of 2^(number - 1) runs."""
    streams = [Streaming(running, tokens=900) for _ in range(number)]
    for stream in streams:
        assert stream.begun.wait(30)
    return streams


def test_every_worker_gets_connections_and_their_numbers_add_up_exactly(
    api: Api, engine: RealEngine
) -> None:
    with several(api, engine, count=3) as running:
        assert len(workers(running)) == 3
        before = running.metrics()
        with ThreadPoolExecutor(8) as pool:
            answered = Counter(pool.map(lambda _: who(running), range(90)))
            assert len(list(pool.map(lambda _: ask(running, tokens=2), range(20)))) == 20
        assert len(answered) == 3
        assert min(answered.values()) >= 12, answered  # of 30; by chance less than once in 10^5
        for _ in range(6):  # whichever worker is asked
            after = running.metrics()
            assert after[REQUESTS] == 20
            assert after['plimsoll_gateway_request_seconds_count{model="demo"}'] == 20
            assert after['plimsoll_gateway_replicas_ready{model="demo"}'] == 1
            models = 'plimsoll_gateway_requests_total{model="",status="200",surface="models"}'
            assert after[models] - before.get(models, 0) == 90


def test_what_became_of_a_request_is_told_by_whichever_worker_is_asked(
    api: Api, engine: RealEngine
) -> None:
    with several(api, engine) as running:
        sent = httpx.post(
            f"{running.url}/v1/chat/completions",
            json={"model": "demo", "messages": [{"role": "user", "content": "?"}], "max_tokens": 2},
            headers={"x-request-id": "abc-1"},
        )
        assert sent.status_code == 200
        with ThreadPoolExecutor(4) as pool:
            told = list(
                pool.map(lambda _: httpx.get(f"{running.url}/plimsoll/requests/abc-1"), range(12))
            )
        assert [each.status_code for each in told] == [200] * 12
        assert len({each.text for each in told}) == 1
        assert told[0].json()["id"] == "abc-1"
        unknown = httpx.get(f"{running.url}/plimsoll/requests/abc-2")
        assert (unknown.status_code, unknown.json()["error"]["code"]) == (404, "not_found")


def test_a_worker_that_is_killed_takes_only_its_streams_and_comes_back(
    api: Api, engine: RealEngine
) -> None:
    with several(api, engine, ROOMY) as running:
        for _ in range(10):
            ask(running, tokens=2)
        before = running.metrics()
        streams = streaming(running, 12)
        with held(engine):
            victim, other = workers(running)
            victim.send_signal(signal.SIGKILL)
            wait_for(lambda: running.said("ended by SIGKILL"), what="the parent notices")
            wait_for(lambda: serving(running) == 2, what="it is back")
            pids = {each.pid for each in workers(running)}
            assert other.pid in pids
            assert victim.pid not in pids
            after = running.metrics()
        assert after["plimsoll_gateway_worker_ends_total"] == 1
        assert after[REQUESTS] >= before[REQUESTS] == 10  # counters do not go down
        broken = 0
        for stream in streams:
            try:
                stream.result()
                assert stream.finish == "length"
            except (openai.APIError, httpx.TransportError):
                broken += 1
        assert 0 < broken < len(streams)
        ask(running)


def test_sigterm_cuts_no_stream_of_any_worker_and_ends_with_zero(
    api: Api, engine: RealEngine
) -> None:
    with several(api, engine, ROOMY) as running:
        streams = streaming(running, 12)
        with held(engine):
            running.process.send_signal(signal.SIGTERM)
            wait_for(lambda: times(running, "draining for") == 2, what="both drain")
            assert not any(stream.over() for stream in streams)
        for stream in streams:
            stream.result()
            assert stream.finish == "length"
        assert running.process.wait(30) == 0
        cut = [event["cut"] for event in running.events if event.get("message") == "drained"]
        assert cut == [0, 0]


def test_a_second_sigterm_cuts_what_every_worker_has(api: Api, engine: RealEngine) -> None:
    with several(api, engine, ROOMY) as running:
        streams = streaming(running, 12)
        with held(engine):
            assert not any(stream.over() for stream in streams)
            for word in ("draining for", "drained"):
                running.process.send_signal(signal.SIGTERM)
                wait_for(lambda word=word: times(running, word) == 2, what=f"both are {word}")
            assert running.process.wait(30) == 0
        for stream in streams:
            with pytest.raises((openai.APIError, httpx.TransportError)):
                stream.result()
        assert sum(e["cut"] for e in running.events if e.get("message") == "drained") == 12


def test_a_pod_that_ends_gets_no_new_work_of_any_worker_and_finishes_its_streams(
    api: Api, engine: RealEngine
) -> None:
    with RealEngine("demo-b", parallel=16) as second, several(api, engine, ROOMY) as running:
        streams = streaming(running, 12)
        with held(engine):
            ready(api, second)
            wait_for(lambda: running.ready("demo") == 2, what="both replicas")
            api.change(endpoint_slice(service("demo"), engine.name, engine.address), terminating)
            wait_for(lambda: running.ready("demo") == 1, what="every worker knows")
            with ThreadPoolExecutor(4) as pool:
                list(pool.map(lambda _: ask(running, tokens=2), range(12)))
            assert not any(stream.over() for stream in streams)
        for stream in streams:
            stream.result()
            assert stream.finish == "length"
        wait_for(lambda: len(running.accesses) == 24, what="an access of each")
        where = Counter(each["replica"] for each in running.accesses)
        assert where == {"demo-a": 12, "demo-b": 12}


def test_no_worker_outlives_its_parent(api: Api, engine: RealEngine) -> None:
    with several(api, engine, count=3) as running:
        left = workers(running)
        assert len(left) == 3
        running.process.kill()
        gone, alive = psutil.wait_procs(left, timeout=30)
        assert (len(gone), alive) == (3, [])


def test_a_request_id_is_given_once_however_many_workers(api: Api, engine: RealEngine) -> None:
    with several(api, engine, count=2) as running, ThreadPoolExecutor(8) as pool:
        ids = list(pool.map(lambda _: given_id(running), range(60)))
        assert len(set(ids)) == 60


def test_what_is_wrong_with_the_configuration_is_said_once_and_ends_with_two(api: Api) -> None:
    arguments = ("--config", "no-such-file.json", "--api-server", api.url, "--workers", "3")
    with gateway_process(*arguments, listens=False) as running:
        assert running.process.wait(60) == 2
        wait_for(lambda: running.events, what="the error")
        assert sum("no-such-file.json" in e["message"] for e in running.events) == 1


def test_a_taken_port_is_said_by_the_parent(api: Api, engine: RealEngine) -> None:
    with several(api, engine) as first:
        port = first.url.rpartition(":")[2]
        arguments = ("--config", "x.json", "--api-server", api.url, "--workers", "2")
        with gateway_process(*arguments, "--port", port, listens=False) as second:
            assert second.process.wait(60) == 1
            wait_for(
                lambda: any(f"port {port} is taken" in e["message"] for e in second.events),
                what="the error",
            )
