"""Why something does not fit, and the nearest thing that would: computed, never guessed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, replace

from plimsoll.errors import DoesNotFit
from plimsoll.facts.shape import ModelShape
from plimsoll.plan.memory import Settings, cells, ledger
from plimsoll.plan.types import Ledger
from plimsoll.units import size


@dataclass(frozen=True, slots=True, kw_only=True)
class Room:
    """What there is for the replicas of one model.

    machine   bytes of the whole machine
    others    bytes that other models take
    replicas  how many replicas must fit together
    """

    machine: int
    others: int
    replicas: int

    @property
    def each(self) -> int:
        """Bytes for one replica; 0 where the others take everything."""
        return max(0, self.machine - self.others) // self.replicas


@dataclass(frozen=True, slots=True, kw_only=True)
class Nearest:
    """A setting that fits, as near as possible to what was asked for.

    context   tokens of one slot
    parallel  slots
    replicas  replicas that fit together
    bytes     what one replica then takes
    """

    context: int
    parallel: int
    replicas: int
    bytes: int


class LedgerDoesNotFit(DoesNotFit):
    """A model that needs more memory than there is.

    model      its name
    ledger     what one replica would take
    replicas   how many must fit
    available  bytes for one replica
    nearest    settings that would fit, the nearest first; empty where none does
    """

    default_code = "does-not-fit.memory"

    def __init__(
        self,
        message: str,
        *,
        model: str,
        ledger: Ledger,
        room: Room,
        nearest: tuple[Nearest, ...],
        hint: str,
    ) -> None:
        super().__init__(message, where=model, hint=hint)
        self.model = model
        self.ledger = ledger
        self.replicas = room.replicas
        self.available = room.each
        self.nearest = nearest

    def as_dict(self) -> dict[str, object]:
        """The error for `--json`, with the ledger and what would fit."""
        return super().as_dict() | {
            "needed": self.ledger.total,
            "available": self.available,
            "replicas": self.replicas,
            "ledger": [asdict(term) for term in self.ledger.terms],
            "nearest": [asdict(option) for option in self.nearest],
        }


def refusal(model: str, shape: ModelShape, settings: Settings, room: Room) -> LedgerDoesNotFit:
    """The error that says by how much a model does not fit, what limits it, and what would fit."""
    asked = ledger(shape, settings)
    found = nearest(shape, settings, room)
    each = "a replica" if room.replicas == 1 else f"each of {room.replicas} replicas"
    beside = f", beside {size(room.others)} of other models" if room.others else ""
    return LedgerDoesNotFit(
        f"{each} needs {size(asked.total)} at context {settings.context:,} and "
        f"{counted(settings.parallel, 'slot')}, and {size(room.each)} is available{beside}; "
        f"most of it is {asked.largest.name}, {size(asked.largest.bytes)}",
        model=model,
        ledger=asked,
        room=room,
        nearest=found,
        hint=_hint(shape, settings, room, found),
    )


def nearest(shape: ModelShape, settings: Settings, room: Room) -> tuple[Nearest, ...]:
    """Settings that fit: the longest context, the most slots, the most replicas, both at once.

    Each changes as little as it can; memory never falls with any of them, so halving the interval
    finds the exact bound. Embedding keeps its batch as long as its context.
    """

    def at(context: int, parallel: int) -> Settings:
        batch = context if settings.task == "embedding" else settings.batch
        return replace(settings, context=context, parallel=parallel, batch=batch)

    def total(context: int, parallel: int) -> int:
        return ledger(shape, at(context, parallel)).total

    def fits(context: int, parallel: int) -> bool:
        return total(context, parallel) <= room.each

    step = cells(1)
    steps = cells(settings.context) // step - 1
    options: list[Nearest] = []
    blocks = _most(steps, lambda n: fits(n * step, settings.parallel))
    slots = _most(settings.parallel - 1, lambda n: fits(settings.context, n))
    if blocks:
        options.append(_option(blocks * step, settings.parallel, room, total))
    if slots:
        options.append(_option(settings.context, slots, room, total))
    if not options and (blocks := _most(steps, lambda n: fits(n * step, 1))):
        options.append(_option(blocks * step, 1, room, total))
    one = total(settings.context, settings.parallel)
    replicas = max(0, room.machine - room.others) // one
    if 0 < replicas < room.replicas:
        options.append(
            Nearest(
                context=settings.context,
                parallel=settings.parallel,
                replicas=replicas,
                bytes=one,
            )
        )
    return tuple(options)


def _option(context: int, parallel: int, room: Room, total: Callable[[int, int], int]) -> Nearest:
    return Nearest(
        context=context,
        parallel=parallel,
        replicas=room.replicas,
        bytes=total(context, parallel),
    )


def _most(highest: int, fits: Callable[[int], bool]) -> int:
    """The largest number from 1 to `highest` that fits, where smaller ones fit too; else 0."""
    low, high = 0, highest
    while low < high:
        middle = (low + high + 1) // 2
        if fits(middle):
            low = middle
        else:
            high = middle - 1
    return low


def _hint(shape: ModelShape, settings: Settings, room: Room, found: tuple[Nearest, ...]) -> str:
    if not found:
        least = ledger(shape, replace(settings, context=1, parallel=1, batch=1)).total
        return (
            f"it takes {size(least)} at the very least, its weights alone "
            f"{size(shape.weight_bytes)}: take a smaller model or a smaller quantization"
        )
    words = [_in_words(option, settings, room) for option in found]
    return "it would fit with " + ", or ".join(words)


def _in_words(option: Nearest, settings: Settings, room: Room) -> str:
    changes = []
    if option.context != settings.context:
        changes.append(f"`context: {option.context}`")
    if option.parallel != settings.parallel:
        changes.append(f"`concurrency: {option.parallel}`")
    if option.replicas != room.replicas:
        changes.append(f"`scaling: {{min: {option.replicas}}}`")
    return f"{' and '.join(changes)} ({size(option.bytes)})"


def counted(number: int, noun: str) -> str:
    """`1 slot`, `3 slots`."""
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"
