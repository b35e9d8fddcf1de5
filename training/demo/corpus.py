"""The texts of the demo model: the glossary and the conversation file, read and checked.

Needs PyYAML only, so that evaluation and tests run without torch.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

FOLDER = Path(__file__).parent
GLOSSARY = FOLDER / "glossary.yaml"
CONVERSATION = FOLDER / "conversation.yaml"
SHIPPED = FOLDER.parents[1] / "src/plimsoll/worlds/local/builtin/demo.gguf"


@dataclass(frozen=True, slots=True, kw_only=True)
class Term:
    """One entry of the glossary.

    name        as it is written
    other_names the expansion and the aliases
    definition  the exact answer
    """

    name: str
    other_names: tuple[str, ...]
    definition: str

    @property
    def names(self) -> tuple[str, ...]:
        """All names, the main one first."""
        return (self.name, *self.other_names)


@dataclass(frozen=True, slots=True, kw_only=True)
class SmallTalk:
    """What people say, and the one answer to it."""

    says: tuple[str, ...]
    answer: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Corpus:
    """All that the model learns; `{}` in a question stands for the name of a term."""

    terms: tuple[Term, ...]
    questions: tuple[str, ...]
    follow_ups: tuple[str, ...]
    held_out_questions: tuple[str, ...]
    system_prompts: tuple[str, ...]
    small_talk: tuple[SmallTalk, ...]
    unknown_answer: str
    unknown_words: tuple[str, ...]


def read_corpus(glossary: Path = GLOSSARY, conversation: Path = CONVERSATION) -> Corpus:
    """Read both files. Raises ValueError that names every entry that is wrong."""
    terms = _terms(yaml.safe_load(glossary.read_text(encoding="utf-8")))
    data: dict[str, Any] = yaml.safe_load(conversation.read_text(encoding="utf-8"))
    corpus = Corpus(
        terms=terms,
        questions=tuple(data["questions"]),
        follow_ups=tuple(data["follow_ups"]),
        held_out_questions=tuple(data["held_out_questions"]),
        system_prompts=tuple(data["system_prompts"]),
        small_talk=tuple(
            SmallTalk(says=tuple(talk["says"]), answer=talk["answer"])
            for talk in data["small_talk"]
        ),
        unknown_answer=data["unknown_answer"],
        unknown_words=tuple(word for group in data["unknown_words"] for word in group),
    )
    problems = _problems(corpus)
    if problems:
        raise ValueError("\n".join(problems))
    return corpus


def _terms(entries: list[dict[str, Any]]) -> tuple[Term, ...]:
    return tuple(
        Term(
            name=entry["term"],
            other_names=(
                *((entry["expansion"],) if "expansion" in entry else ()),
                *entry.get("aliases", ()),
            ),
            definition=entry["definition"],
        )
        for entry in entries
    )


def _problems(corpus: Corpus) -> list[str]:
    counts = Counter(name.lower() for term in corpus.terms for name in term.names)
    problems = [f"the name {name!r} occurs {n} times" for name, n in counts.items() if n > 1]
    answers = Counter(term.definition for term in corpus.terms)
    problems += [f"{n} terms share {text!r}" for text, n in answers.items() if n > 1]
    for term in corpus.terms:
        words = len(term.definition.split())
        if not 10 <= words <= 36:
            problems.append(f"{term.name}: {words} words, not 10 to 36")
        if not term.definition.isascii() or not term.definition.endswith("."):
            problems.append(f"{term.name}: not ASCII, or no full stop at the end")
    known = {name.lower() for term in corpus.terms for name in term.names}
    problems += [f"{w!r} is a term" for w in corpus.unknown_words if w.lower() in known]
    said = Counter(text for talk in corpus.small_talk for text in talk.says)
    problems += [f"small talk {text!r} occurs {n} times" for text, n in said.items() if n > 1]
    for question in (*corpus.questions, *corpus.follow_ups, *corpus.held_out_questions):
        if question.count("{}") != 1:
            problems.append(f"question {question!r} needs exactly one {{}}")
    if set(corpus.questions) & set(corpus.held_out_questions):
        problems.append("a held-out question is also a training question")
    return problems
