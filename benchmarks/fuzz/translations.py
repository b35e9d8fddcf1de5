"""Bodies of every surface, and answers on their way through the translations."""

from __future__ import annotations

import json
import random

from benchmarks.fuzz.corpus import ANSWERS, BODIES, EVENTS, FIELDS
from benchmarks.fuzz.mutate import changed, mutated, written
from benchmarks.fuzz.wires import World
from plimsoll.gateway.answers import body_for_engine
from plimsoll.gateway.errors import TABLE, Refused
from plimsoll.gateway.surfaces import SURFACES, fitted, read_call

_ERROR = {"message": "no", "type": "server_error", "param": None, "code": "replica_lost"}


def _body(path: bytes, rng: random.Random) -> bytes:
    value = rng.choice(BODIES[path])
    if rng.random() < 0.2:
        value = {**value, "model": rng.choice(("shy", "talk", "embed"))}
    for _ in range(rng.choice((0, 1, 1, 2, 4))):
        value = changed(value, rng, FIELDS)
    data = written(value, rng)
    return mutated(data, rng) if rng.random() < 0.2 else data


def one(world: World, rng: random.Random) -> None:
    """One body; only refusals may come out, or an object for an engine."""
    path = rng.choice(list(SURFACES))
    surface = SURFACES[path]
    body = _body(path, rng)
    refused: Refused | None = None
    try:
        call = read_call(surface, body, world.board, request_id=b"a")
        made = body_for_engine(call, fitted(call))
    except Refused as error:
        refused = error
    if refused is not None:
        assert refused.code in TABLE
        assert 400 <= refused.status < 600
        return
    assert isinstance(json.loads(made.decode("utf-8", "surrogatepass")), dict)
    assert call.prompt >= 0
    assert call.answer >= 0
    if surface.translation is not None and not surface.counts:
        _whole(path, body, rng)
        _stream(path, body, rng)


def _whole(path: bytes, body: bytes, rng: random.Random) -> None:
    translation = SURFACES[path].translation
    assert translation is not None
    said = json.loads(translation.error(502, _ERROR))
    assert isinstance(said["error"], dict)
    answer = rng.choice(ANSWERS)
    for _ in range(rng.choice((0, 1, 3))):
        answer = changed(answer, rng)
    data = written(answer, rng)
    try:
        out = translation.whole(mutated(data, rng) if rng.random() < 0.1 else data, body)
    except ValueError:
        return
    assert isinstance(json.loads(out), dict)


def _stream(path: bytes, body: bytes, rng: random.Random) -> None:
    translation = SURFACES[path].translation
    assert translation is not None
    stream = translation.stream(body)
    out = b""
    try:
        for event in rng.choices(EVENTS, k=rng.randint(0, 8)):
            if rng.random() < 0.2 and event.startswith(b"data: {"):
                said = changed(json.loads(event[6:]), rng)
                out += stream.feed(b"data: %b\n\n" % json.dumps(said).encode())
            else:
                out += stream.feed(event)
    except ValueError:
        pass
    out += stream.fail(_ERROR)
    assert out.endswith(b"\n\n")
    for each in out.decode("utf-8").removesuffix("\n\n").split("\n\n"):
        rows = [row for row in each.split("\n") if row.startswith("data: ")]
        assert len(rows) == 1, each
        assert rows[0] == "data: [DONE]" or isinstance(json.loads(rows[0][6:]), dict)
