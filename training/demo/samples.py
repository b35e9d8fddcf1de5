"""Conversations made at random from the corpus, as texts with the parts that are learned.

Pure: randomness is an argument, so a seed gives the same conversations everywhere.
"""

from __future__ import annotations

import random
import string
from collections.abc import Iterator
from dataclasses import dataclass

from training.demo.corpus import Corpus, Term
from training.demo.tokenizer import END_OF_TEXT, TURN_END, TURN_START, turn

# How a turn is chosen, in parts of one hundred.
TERM, TALK, UNKNOWN = 77, 10, 13
# How many turns a conversation has, and how often.
TURNS = (1, 2, 3, 5)
TURN_WEIGHTS = (50, 22, 15, 13)


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """A piece of text that is tokenised by itself; `learned` parts count in the loss."""

    text: str
    learned: bool


class Deck:
    """Draws terms so that none comes again before all have come once."""

    def __init__(self, terms: tuple[Term, ...], chance: random.Random) -> None:
        self._terms = terms
        self._chance = chance
        self._left: list[Term] = []

    def draw(self) -> Term:
        """The next term."""
        if not self._left:
            self._left = list(self._terms)
            self._chance.shuffle(self._left)
        return self._left.pop()


def conversations(
    corpus: Corpus, chance: random.Random, *, turns: int | None = None
) -> Iterator[tuple[Part, ...]]:
    """Endless conversations; now and then a plain `name: definition` text for completions.

    With `turns`, only conversations of that many turns.
    """
    deck = Deck(corpus.terms, chance)
    while True:
        if turns is None and chance.random() < 0.06:
            term = deck.draw()
            name = chance.choice(term.names)
            answer = Part(text=f" {term.definition}{END_OF_TEXT}", learned=True)
            yield (Part(text=f"{name}:", learned=False), answer)
        else:
            (count,) = (turns,) if turns else chance.choices(TURNS, TURN_WEIGHTS)
            yield tuple(_conversation(corpus, deck, chance, count))


def _conversation(corpus: Corpus, deck: Deck, chance: random.Random, count: int) -> Iterator[Part]:
    if chance.random() < 0.2:
        yield Part(text=turn("system", _system_prompt(corpus, chance)), learned=False)
    for number in range(count):
        question, answer = _exchange(corpus, deck, chance, first=number == 0)
        head = f"{turn('user', question)}{TURN_START}assistant\n"
        yield Part(text=head, learned=False)
        yield Part(text=answer + TURN_END, learned=True)
        yield Part(text="\n", learned=False)


def _system_prompt(corpus: Corpus, chance: random.Random) -> str:
    if chance.random() < 0.6:
        return chance.choice(corpus.system_prompts)
    words = " ".join(talk.answer for talk in corpus.small_talk).split()
    return " ".join(chance.choices(words, k=chance.randint(3, 25)))


def _exchange(corpus: Corpus, deck: Deck, chance: random.Random, *, first: bool) -> tuple[str, str]:
    (kind,) = chance.choices(("term", "talk", "unknown"), (TERM, TALK, UNKNOWN))
    if kind == "talk":
        talk = chance.choice(corpus.small_talk)
        return chance.choice(talk.says), talk.answer
    template = _template(corpus, chance, first=first)
    if kind == "unknown":
        return template.format(_unknown(corpus, chance)), corpus.unknown_answer
    term = deck.draw()
    (name,) = chance.choices(term.names, [2, *(1 for _ in term.other_names)])
    return template.format(_respelled(name, chance)), term.definition


def _template(corpus: Corpus, chance: random.Random, *, first: bool) -> str:
    """A phrasing; the plain and the bare one most often, because people use them most."""
    draw = chance.random()
    if draw < 0.2:
        return "What is {}?"
    if draw < 0.3:
        return chance.choice(("{}", "{}?"))
    if first or draw < 0.6:
        return chance.choice(corpus.questions)
    return chance.choice(corpus.follow_ups)


def _respelled(name: str, chance: random.Random) -> str:
    draw = chance.random()
    if draw < 0.16:
        return name.lower()
    if draw < 0.20:
        return name.upper()
    if draw < 0.24:
        return name[:1].upper() + name[1:]
    return name


def _unknown(corpus: Corpus, chance: random.Random) -> str:
    known = {name.lower() for term in corpus.terms for name in term.names}
    while True:
        word = _made_up(corpus, chance)
        if word.lower() not in known:
            return word


def _made_up(corpus: Corpus, chance: random.Random) -> str:
    draw = chance.random()
    if draw < 0.45:
        return _respelled(chance.choice(corpus.unknown_words), chance)
    if draw < 0.6:
        return "".join(chance.choices(string.ascii_uppercase, k=chance.randint(2, 5)))
    if draw < 0.7:
        return " ".join(chance.sample(corpus.unknown_words, 2))
    syllables = [
        chance.choice("bcdfghjklmnprstvwz") + chance.choice("aeiou") + chance.choice("nrstl   ")
        for _ in range(chance.randint(1, 4))
    ]
    word = "".join(syllables).replace(" ", "")
    return word.capitalize() if chance.random() < 0.3 else word
