"""One caller, or a few, and some engines, who say and do anything at any time."""

from __future__ import annotations

import random

from benchmarks.fuzz.corpus import ANSWERS, BODIES, ENGINE_SAYS, EVENTS, FIELDS, REQUESTS, request
from benchmarks.fuzz.mutate import changed, mutated, pieces, written
from benchmarks.fuzz.read_answers import answers
from benchmarks.fuzz.wires import MODELS, EngineWire, Player, Wire, World

_STEPS = 300  # of one conversation; more is not needed to end it


def caller_says(rng: random.Random) -> bytes:
    """Some requests, right and wrong, one behind another."""
    said = []
    for _ in range(rng.choice((1, 1, 1, 2, 3))):
        roll = rng.random()
        if roll < 0.35:
            data = rng.choice(REQUESTS)
        else:
            path = rng.choice(list(BODIES))
            body = rng.choice(BODIES[path])
            if rng.random() < 0.3:
                body = {**body, "model": "shy"}
            if rng.random() < 0.3:
                body = changed(body, rng, FIELDS)
            data = request(path, written(body, rng), b"X-Request-Id: a")
        said.append(mutated(data, rng) if rng.random() < 0.3 else data)
    return b"".join(said)


def engine_says(asked: bytes, rng: random.Random) -> bytes:
    """An answer to a request, most often a right one."""
    if rng.random() < 0.2:
        return rng.choice(ENGINE_SAYS)
    if b'"stream":true' in asked.replace(b" ", b""):
        events = rng.choices(EVENTS[:-3], k=rng.randint(0, 6))
        if rng.random() < 0.1:
            events.append(rng.choice(EVENTS[-3:]))
        if rng.random() < 0.8:
            events.append(EVENTS[-1])
        if rng.random() < 0.2:
            events = [mutated(each, rng, 1) for each in events]
        body = b"".join(b"%x\r\n%b\r\n" % (len(each), each) for each in events if each)
        head = b"content-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
        data = b"HTTP/1.1 200 OK\r\n" + head + body + b"0\r\n\r\n"
    else:
        answer = rng.choice(ANSWERS)
        if rng.random() < 0.2:
            answer = changed(answer, rng)
        body = written(answer, rng)
        status = rng.choice((b"200 OK", b"200 OK", b"200 OK", b"500 X", b"400 X", b"503 X"))
        data = b"HTTP/1.1 %b\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n%b" % (
            status, len(body), body,
        )  # fmt: skip
    return mutated(data, rng) if rng.random() < 0.15 else data


class Conversation:
    """Callers and engines of one world."""

    def __init__(self, world: World, rng: random.Random) -> None:
        self._world = world
        self._rng = rng
        self._callers: list[tuple[Player, Wire, list[bytes]]] = []
        for _ in range(rng.choice((1, 1, 2, 4))):
            player = Player(world.service)
            self._callers.append((player, Wire(player), pieces(caller_says(rng), rng)))

    def run(self) -> None:
        """Have it, to its end; fails when anything is wrong."""
        rng, world = self._rng, self._world
        wild = rng.random() < 0.5
        for _ in range(_STEPS):
            if wild and rng.random() < 0.15:
                self._something()
            elif not self._next():
                break
            self._sweep()
        for player, wire, _ in self._callers:
            wire.lose(politely=rng.random() < 0.5)
            answers(wire.written, at_most=player.requests + 1)
        for wire in world.pool.wires:
            if wire.closing or rng.random() < 0.5:
                wire.lose()
            wire.asked()
        world.check_empty()
        world.pool.wires = [wire for wire in world.pool.wires if not wire.lost]

    def _next(self) -> bool:
        """What would happen next if nobody did anything strange; False: nothing."""
        rng, pool = self._rng, self._world.pool
        can = [each for each in self._callers if each[2] and not each[1].closing]
        talking = [wire for wire in pool.wires if self._can_say(wire)]
        choices = ["opening"] * bool(pool.opening) + ["caller"] * bool(can)
        choices += ["engine"] * bool(talking)
        if not choices:
            return False
        match rng.choice(choices):
            case "opening":
                pool.accept(rng.randrange(len(pool.opening)))
            case "caller":
                _, wire, parts = rng.choice(can)
                wire.receive(parts.pop(0))
            case _:
                self._engine(rng.choice(talking))
        return True

    def _can_say(self, wire: EngineWire) -> bool:
        if wire.closing or wire.paused:
            return False
        return bool(wire.to_say) or len(wire.asked()) > wire.answered

    def _engine(self, wire: EngineWire) -> None:
        rng = self._rng
        if not wire.to_say:
            asked = wire.asked()
            wire.to_say = pieces(engine_says(asked[wire.answered], rng), rng)
            wire.answered = len(asked)
            wire.then = rng.choice(("stays", "stays", "stays", "closes", "resets"))
        if wire.to_say:
            wire.receive(wire.to_say.pop(0))
        if not wire.to_say and wire.then != "stays":
            wire.lose(ConnectionResetError() if wire.then == "resets" else None, politely=True)

    def _something(self) -> None:
        """Anything that may happen at any time."""
        rng, world = self._rng, self._world
        player, wire, _ = rng.choice(self._callers)
        engines = [each for each in world.pool.wires if not each.lost]
        match rng.randrange(11):
            case 0:
                wire.lose(politely=rng.random() < 0.5)
            case 1 if not wire.lost:
                player.pause_writing()
            case 2 if not wire.lost and player.paused:
                player.resume_writing()
            case 3 | 4:
                self._wait(rng.choice((0.01, 0.2, 1.0, 11.0, 61.0, 130.0, 301.0, 700.0)))
            case 5:
                world.replicas(rng.choice((0, 1, 2, 3)), rng.choice((1, 2)))
            case 6 if engines:
                rng.choice(engines).lose(rng.choice((None, ConnectionResetError())), politely=True)
            case 7 if engines:
                rng.choice(engines).receive(rng.choice(ENGINE_SAYS)[:200])
            case 8 if world.pool.opening:
                world.pool.refuse(rng.randrange(len(world.pool.opening)))
            case 9:
                world.board.offer(rng.sample(MODELS, rng.randint(1, len(MODELS))))
                world.board.offer(MODELS)
                world.replicas(2)
            case _ if not wire.lost and rng.random() < 0.1:
                player.cut()
            case _:
                pass

    def _wait(self, seconds: float) -> None:
        world = self._world
        world.clock.now += seconds
        for connection in list(world.service.connections):
            connection.tick(world.clock.now)
        world.board.tick(world.clock.now)

    def _sweep(self) -> None:
        """Tell the gateway of connections that it closed, as an event loop would, later."""
        for _, wire, _ in self._callers:
            if wire.closing and self._rng.random() < 0.5:
                wire.lose()
        for engine in self._world.pool.wires:
            if engine.closing and self._rng.random() < 0.5:
                engine.lose()


def one(world: World, rng: random.Random) -> None:
    """One case."""
    Conversation(world, rng).run()
    world.replicas(2)
