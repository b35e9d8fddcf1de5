"""What callers' words mean."""

from __future__ import annotations

import subprocess
import sys
from collections import Counter

from plimsoll.policy.requests.names import Names
from plimsoll.policy.requests.types import Served
from tests.policy.requests.machine import Machine, served, upstream


def ask(names: Names, word: str, count: int = 4000, *, ready: str = "abc") -> dict[str, str]:
    """Key -> name of the model."""
    found = {str(key): names.resolve(word, str(key), lambda name: name in ready)
             for key in range(count)}  # fmt: skip
    assert None not in found.values()
    return {key: model.name for key, model in found.items() if isinstance(model, Served)}


def test_a_models_own_name_means_it_before_any_alias_does() -> None:
    names = Names([served("a", aliases=("b",)), served("b")])
    assert set(ask(names, "b", 10).values()) == {"b"}


def test_an_unknown_word_means_nothing() -> None:
    names = Names([served("a")])
    assert names.resolve("x", "k", lambda _name: True) is None
    assert names.resolve("", "k", lambda _name: True) is None


def test_aliases_tiers_and_adapters_are_spoken_once_each() -> None:
    names = Names([served("a", aliases=("x", "x"), tier="fast"), served("b", adapters=("x",))])
    assert names.spoken() == ("a", "b", "x", "fast")


def test_models_that_share_a_word_get_keys_by_their_weights() -> None:
    models = [served("a", tier="t", weight=9), served("b", tier="t", weight=1)]
    counts = Counter(ask(Names(models), "t").values())
    assert 0.08 < counts["b"] / counts.total() < 0.12


def test_a_weight_of_none_is_one_and_of_zero_is_none_at_all() -> None:
    models = [served("a", aliases=("t",)), served("b", aliases=("t",), weight=1)]
    counts = Counter(ask(Names([*models, served("c", aliases=("t",), weight=0)]), "t").values())
    assert set(counts) == {"a", "b"}
    assert 0.45 < counts["a"] / counts.total() < 0.55
    assert set(ask(Names([served("c", aliases=("t",), weight=0)]), "t").values()) == {"c"}


def test_a_key_stays_with_its_model_when_another_weight_changes_as_far_as_it_can() -> None:
    before = ask(Names([served("a", tier="t", weight=9), served("b", tier="t", weight=1)]), "t")
    after = ask(Names([served("a", tier="t", weight=8), served("b", tier="t", weight=2)]), "t")
    assert all(after[key] == "b" for key, name in before.items() if name == "b")
    assert sum(before[key] != after[key] for key in before) / len(before) < 0.15


def test_models_without_replicas_are_left_out_where_others_have_some() -> None:
    names = Names([served(name, tier="t") for name in "abc"])
    everywhere = ask(names, "t")
    without = ask(names, "t", ready="bc")
    assert set(without.values()) == {"b", "c"}
    assert all(without[key] == name for key, name in everywhere.items() if name != "a")
    assert ask(names, "t", ready="") == everywhere


def test_the_machine_knows_which_models_are_ready() -> None:
    m = Machine(served("a", tier="t"), served("b", tier="t"))
    m.replicas(upstream(1, model="b"), model="b")
    assert all(m.it.resolve("t", str(key)) == served("b", tier="t") for key in range(50))


def test_every_process_gives_the_same_answer() -> None:
    code = (
        "from tests.policy.requests.test_names import *;"
        "print(sorted(ask(Names([served(n, tier='t') for n in 'abc']), 't', 200).items()))"
    )
    seen = {
        subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=True,
            env={"PYTHONHASHSEED": seed, "PYTHONPATH": "."},
        ).stdout
        for seed in ("1", "2")
    }  # fmt: skip
    assert len(seen) == 1
    assert len(seen.pop()) > 1000


def test_any_text_is_a_key() -> None:
    names = Names([served(name, tier="t") for name in "ab"])
    for key in ("", "\0", "ü", "\udc80"):
        assert names.resolve("t", key, lambda _name: True) is not None
