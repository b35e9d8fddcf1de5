"""A restart keeps what was decided and what the policies remember."""

import asyncio
import json
from dataclasses import replace

import pytest

from plimsoll.errors import Failed
from plimsoll.scaler.decisions import Decisions
from plimsoll.scaler.memory import LATEST_SECONDS, Folder, Keeper
from plimsoll.scaler.models import ModelKey
from plimsoll.scaler.server import serve
from tests.scaler.conftest import CHAT, CODE, Tenth, load, offered, scaled
from tests.scaler.test_decisions import Listed


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def kept(store, *keys: ModelKey, clock=None) -> tuple[Decisions, Keeper]:
    keeper = Keeper(store, clock or Clock())
    decisions = offered(*keys, changed=keeper.changed)
    keeper.recall(decisions)
    return decisions, keeper


def test_a_restart_recalls_number_reasons_and_memory(tmp_path):
    decisions, keeper = kept(Folder(tmp_path), CHAT, CODE)
    decisions.look(CHAT, load(45))
    decisions.look(CHAT, load(25))
    asyncio.run(keeper.close(decisions))
    again, _ = kept(Folder(tmp_path), CHAT, CODE)
    assert again.of(CHAT) == replace(decisions.of(CHAT), current=None)
    assert again.of(CODE) is None
    assert again.look(CHAT, load(0)).memory.looks == 3
    assert again.look(CHAT, load(0)).memory.peak == 5


def test_after_a_restart_without_figures_the_number_stays(tmp_path):
    decisions, keeper = kept(Folder(tmp_path))
    decisions.look(CHAT, load(45))
    asyncio.run(keeper.close(decisions))
    again, _ = kept(Folder(tmp_path))
    assert again.look(CHAT, load(0, blind=True)).replicas == 5


def test_a_number_that_changed_is_stored_at_once_and_a_memory_in_time(tmp_path):
    clock = Clock()
    decisions, keeper = kept(Folder(tmp_path), clock=clock)

    def stored() -> int:
        (path,) = tmp_path.glob("*.json")
        return json.loads(path.read_text())["memory"]["looks"]

    async def check():
        keeping = asyncio.ensure_future(keeper.run(decisions))
        decisions.look(CHAT, load(45))
        async with asyncio.timeout(5):
            while not list(tmp_path.glob("*.json")):  # noqa: ASYNC110 -- a file says nothing
                await asyncio.sleep(0.01)
        assert stored() == 1
        decisions.look(CHAT, load(45))
        await asyncio.sleep(0.7)
        assert stored() == 1
        clock.now = LATEST_SECONDS
        async with asyncio.timeout(5):
            while stored() == 1:  # noqa: ASYNC110 -- a file says nothing
                await asyncio.sleep(0.01)
        keeping.cancel()

    asyncio.run(check())


def test_a_file_that_is_broken_is_passed_over_with_a_warning(tmp_path, caplog):
    decisions, keeper = kept(Folder(tmp_path), CHAT, CODE)
    decisions.look(CHAT, load(45))
    decisions.look(CODE, load(15))
    asyncio.run(keeper.close(decisions))
    broken = next(path for path in tmp_path.glob("*.json") if "chat" in path.name)
    broken.write_bytes(broken.read_bytes()[:40])
    again, _ = kept(Folder(tmp_path), CHAT, CODE)
    assert again.of(CHAT) is None
    assert again.of(CODE).replicas == 2
    assert "the memory of team/main/chat is lost" in caplog.text


def test_the_memory_of_another_policy_is_left_out_and_the_number_stays(tmp_path):
    decisions, keeper = kept(Folder(tmp_path))
    decisions.look(CHAT, load(45))
    asyncio.run(keeper.close(decisions))
    (path,) = tmp_path.glob("*.json")
    saved = json.loads(path.read_text())
    path.write_text(json.dumps({**saved, "memory_type": "another.Kind", "memory": {"x": 1}}))
    again, _ = kept(Folder(tmp_path))
    assert again.of(CHAT).replicas == 5
    assert again.look(CHAT, load(5)).memory == Tenth.memory_type(looks=1, peak=1)


def test_names_that_look_alike_as_files_are_kept_apart(tmp_path):
    keys = [
        ModelKey(namespace="a", fleet=fleet, model=model)
        for fleet, model in (("x/y", "z"), ("x", "y/z"), ("x", "y.z"), ("X" * 200, "z"))
    ]
    store = Folder(tmp_path)
    for number, key in enumerate(keys):
        store.save(key, str(number).encode())
    assert [store.load(key) for key in keys] == [b"0", b"1", b"2", b"3"]
    assert len(list(tmp_path.glob("*.json"))) == 4


def test_a_crash_while_storing_leaves_the_old_memory(tmp_path, monkeypatch):
    store = Folder(tmp_path)
    store.save(CHAT, b"old")
    monkeypatch.setattr("os.fsync", lambda _: (_ for _ in ()).throw(OSError(28, "disk full")))
    with pytest.raises(Failed) as caught:
        store.save(CHAT, b"new")
    assert "disk full" in str(caught.value)
    assert caught.value.hint
    assert store.load(CHAT) == b"old"
    assert len(list(tmp_path.glob("*.json"))) == 1


def test_what_could_not_be_stored_is_tried_again_and_said_once(tmp_path, caplog):
    class Full(Folder):
        full = True

        def save(self, key, data):
            if self.full:
                raise Failed("disk full", hint="make room")
            super().save(key, data)

    store = Full(tmp_path)
    decisions, keeper = kept(store)
    decisions.look(CHAT, load(45))
    asyncio.run(keeper.close(decisions))
    asyncio.run(keeper.close(decisions))
    assert caplog.text.count("disk full") == 1
    store.full = False
    asyncio.run(keeper.close(decisions))
    assert kept(store)[0].of(CHAT).replicas == 5


def test_a_folder_that_cannot_be_is_refused(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(Failed):
        Folder(tmp_path / "file" / "folder")


def test_the_whole_scaler_stores_all_when_it_ends_and_recalls_it_when_it_begins(tmp_path):
    async def once(decisions: Decisions, keeper: Keeper, *looks) -> None:
        started: list[int] = []
        task = asyncio.ensure_future(
            serve(
                decisions,
                Listed(*looks),
                keeper=keeper,
                host="127.0.0.1",
                port=0,
                started=started.append,
            )
        )
        async with asyncio.timeout(10):
            while not started or decisions.of(CHAT) is None:  # noqa: ASYNC110 -- as it comes
                await asyncio.sleep(0.01)
        await asyncio.sleep(0.05)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    def whole() -> tuple[Decisions, Keeper]:
        keeper = Keeper(Folder(tmp_path))
        decisions = Decisions(keeper.changed)
        decisions.offer({CHAT: scaled()})
        return decisions, keeper

    first = whole()
    asyncio.run(once(*first, *[(CHAT, load(30))] * 4))
    second = whole()
    asyncio.run(once(*second))
    assert second[0].of(CHAT).replicas == 3
    assert second[0].of(CHAT).memory.looks == 4
