"""What the policies remember, kept over a restart."""

from __future__ import annotations

import asyncio
import hashlib
import logging
import os
import re
from collections.abc import Callable
from pathlib import Path
from time import monotonic
from typing import Any, Protocol

import msgspec

from plimsoll.errors import Failed
from plimsoll.scaler.decisions import Decided, Decisions
from plimsoll.scaler.models import ModelKey
from plimsoll.scaler.turns import Turns

_log = logging.getLogger(__name__)

LATEST_SECONDS = 30.0
"""A memory that changed is stored after so long at the latest; a number that changed, at once."""
_LOOK_SECONDS = 0.5  # between two looks for what is to be stored


class Store(Protocol):
    """Where memories lie; keys are models, values JSON."""

    def load(self, key: ModelKey) -> bytes | None:
        """What was saved last, whole; None where nothing was. Raises Failed."""
        ...

    def save(self, key: ModelKey, data: bytes) -> None:
        """Replace it, wholly or not at all. Raises Failed."""
        ...


class Folder:
    """A store of one file a model. A file is replaced in one step: a crash leaves the old one.

    One process at a time may write to it.
    """

    def __init__(self, path: Path) -> None:
        """Makes the folder. Raises Failed where that cannot be done."""
        self._path = path
        try:
            path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise self._unusable(path, error) from error

    def load(self, key: ModelKey) -> bytes | None:
        """See Store."""
        path = self._file(key)
        try:
            return path.read_bytes()
        except FileNotFoundError:
            return None
        except OSError as error:
            raise self._unusable(path, error) from error

    def save(self, key: ModelKey, data: bytes) -> None:
        """See Store."""
        path = self._file(key)
        new = path.with_suffix(".new")
        try:
            try:
                with new.open("wb", buffering=0) as file:
                    file.write(data)
                    os.fsync(file.fileno())
                new.replace(path)
            except BaseException:
                new.unlink(missing_ok=True)
                raise
        except OSError as error:
            raise self._unusable(path, error) from error

    def _file(self, key: ModelKey) -> Path:
        """Readable, and different for different models, however they are named."""
        digest = hashlib.sha256(f"{key.namespace}\0{key.fleet}\0{key.model}".encode())
        readable = re.sub(r"[^A-Za-z0-9_-]+", "-", f"{key.fleet}-{key.model}")[:80]
        return self._path / f"{readable}-{digest.hexdigest()[:16]}.json"

    @staticmethod
    def _unusable(path: Path, error: OSError) -> Failed:
        return Failed(
            f"the scaler's memory cannot be kept: {error.strerror or error}",
            where=str(path),
            hint="give a folder on a volume that the scaler may write to",
            code="scaler.memory",
        )


class _Saved(msgspec.Struct, frozen=True, kw_only=True):
    """One model's file. memory_type tells whose memory it is."""

    model: str
    replicas: int
    reasons: tuple[str, ...]
    at: float
    memory_type: str
    memory: msgspec.Raw


class Keeper:
    """Stores what changed, a little later, and hands it back after a restart.

    One that cannot be stored is tried again; the scaler goes on without.
    """

    def __init__(self, store: Store, clock: Callable[[], float] = monotonic) -> None:
        self._store = store
        self._clock = clock
        self._due: dict[ModelKey, float] = {}
        self._failing = False

    def changed(self, key: ModelKey, number: bool) -> None:
        """A model's memory changed; `number`: its replicas, too."""
        now = self._clock()
        due = now if number else now + LATEST_SECONDS
        self._due[key] = min(self._due.get(key, due), due)

    def recall(self, decisions: Decisions) -> None:
        """Hand back what is stored of the models that are offered.

        A file that cannot be read is passed over with a warning: its model begins anew, and until
        figures come nobody is told a number.
        """
        for key, scaled in decisions.models.items():
            if decisions.of(key) is not None:
                continue
            try:
                data = self._store.load(key)
                decided = None if data is None else _decoded(data, scaled.policy.memory_type)
            except (Failed, msgspec.MsgspecError) as error:
                _log.warning("the memory of %s is lost, it begins anew: %s", key, error)
                continue
            if decided is not None:
                decisions.recall(key, decided)

    async def run(self, decisions: Decisions) -> None:
        """Store what is due, until cancelled."""
        while True:
            await asyncio.sleep(_LOOK_SECONDS)
            now = self._clock()
            due = [key for key, at in self._due.items() if at <= now]
            if due:
                await self._save(decisions, due)

    async def close(self, decisions: Decisions) -> None:
        """Store all that changed."""
        await self._save(decisions, list(self._due))

    async def _save(self, decisions: Decisions, keys: list[ModelKey]) -> None:
        texts = []
        turns = Turns()
        for key in keys:
            self._due.pop(key, None)
            decided = decisions.of(key) if key in decisions.models else None
            if decided is not None:
                texts.append((key, _encoded(key, decided)))
                await turns.pause()
        failed = await asyncio.to_thread(self._write, texts)
        for key in failed:
            self._due.setdefault(key, self._clock() + LATEST_SECONDS)

    def _write(self, texts: list[tuple[ModelKey, bytes]]) -> list[ModelKey]:
        failed = []
        for key, data in texts:
            try:
                self._store.save(key, data)
                self._failing = False
            except Failed as error:
                if not self._failing:
                    _log.warning("%s", error)
                self._failing = True
                failed.append(key)
        return failed


def _encoded(key: ModelKey, decided: Decided) -> bytes:
    memory = decided.memory
    return msgspec.json.encode(
        _Saved(
            model=str(key),
            replicas=decided.replicas,
            reasons=decided.reasons,
            at=decided.at,
            memory_type=_name(type(memory)),
            memory=msgspec.Raw(msgspec.json.encode(memory)),
        )
    )


def _decoded(data: bytes, memory_type: type[Any]) -> Decided:
    """The memory of another policy than the present one is left out, the number stays."""
    saved = msgspec.json.decode(data, type=_Saved)
    memory = None
    if saved.memory_type == _name(memory_type):
        memory = msgspec.json.decode(saved.memory, type=memory_type)
    return Decided(
        replicas=saved.replicas,
        reasons=saved.reasons,
        current=None,
        at=saved.at,
        memory=memory,
    )


def _name(kind: type[Any]) -> str:
    return f"{kind.__module__}.{kind.__qualname__}"
