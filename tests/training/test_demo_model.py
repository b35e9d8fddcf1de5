"""The shipped model, in the real engine."""

from __future__ import annotations

import itertools
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.training.engine import Server
from training.demo.corpus import SHIPPED, Corpus
from training.demo.evaluate import (
    Answer,
    Case,
    Report,
    ask,
    evaluate,
    other_name_cases,
    small_talk_cases,
)


@pytest.fixture(scope="module")
def report(server: Server, corpus: Corpus) -> Report:
    return evaluate(server.endpoint, corpus, workers=4, full=False)


def test_it_is_small_enough_to_ship() -> None:
    assert SHIPPED.stat().st_size <= 8_000_000


@pytest.mark.parametrize("name", ["plain", "plain, streamed", "second turn"])
def test_at_least_95_percent_of_the_glossary_is_exact(report: Report, name: str) -> None:
    (measure,) = [measure for measure in report.measures if measure.name == name]
    assert measure.share >= 0.95, measure.missed


@pytest.mark.parametrize("name", ["plain", "plain, streamed", "second turn"])
def test_every_answer_stops_by_itself(report: Report, name: str) -> None:
    (measure,) = [measure for measure in report.measures if measure.name == name]
    assert measure.unstopped == []


def test_streamed_answers_equal_whole_ones(report: Report) -> None:
    assert report.streams_that_differ == []


def _exact(server: Server, cases: list[Case]) -> float:
    def right(case: Case) -> bool:
        found = ask(server.endpoint, case.messages, stream=False)
        return found == Answer(text=case.wanted, finish="stop")

    with ThreadPoolExecutor(4) as pool:
        return sum(pool.map(right, cases)) / len(cases)


def test_other_names_and_small_talk_are_known_too(server: Server, corpus: Corpus) -> None:
    assert _exact(server, other_name_cases(corpus)[::4]) >= 0.9
    assert _exact(server, small_talk_cases(corpus)[::4]) >= 0.9


def test_it_admits_what_it_does_not_know(server: Server, corpus: Corpus) -> None:
    question = ({"role": "user", "content": "What is a banana?"},)
    found = ask(server.endpoint, question, stream=False)
    assert found == Answer(text=corpus.unknown_answer, finish="stop")


def test_a_system_message_does_not_change_the_answer(server: Server, corpus: Corpus) -> None:
    term = corpus.terms[0]
    messages = (
        {"role": "system", "content": "You are a helpful assistant."},
        {"role": "user", "content": f"What is {term.name}?"},
    )
    assert ask(server.endpoint, messages, stream=False).text == term.definition


def test_each_turn_of_a_long_conversation_ends_where_it_should(
    server: Server, corpus: Corpus
) -> None:
    messages: list[dict[str, str]] = []
    right = 0
    # 512 tokens of context hold about ten exchanges.
    for term in corpus.terms[:9]:
        messages.append({"role": "user", "content": f"And what is {term.name}?"})
        answer = ask(server.endpoint, messages, stream=True)
        assert answer.finish == "stop"
        right += answer.text == term.definition
        messages.append({"role": "assistant", "content": answer.text})
    assert right >= 8


def test_an_answer_broken_off_between_words_is_continued_to_its_exact_end(
    server: Server, corpus: Corpus
) -> None:
    """llama.cpp repeats the partial text in front of what it adds."""
    cases = [
        Case(
            name=term.name,
            messages=(
                {"role": "user", "content": f"What is {term.name}?"},
                {"role": "assistant", "content": " ".join(term.definition.split()[:words])},
            ),
            wanted=term.definition,
        )
        for term, words in zip(corpus.terms[::30], itertools.count(2), strict=False)
    ]
    assert _exact(server, cases) >= 0.9
