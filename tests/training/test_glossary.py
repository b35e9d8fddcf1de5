from __future__ import annotations

import itertools
import random
from pathlib import Path

import pytest

from training.demo.corpus import CONVERSATION, Corpus, read_corpus
from training.demo.samples import conversations


def test_there_are_at_least_150_terms(corpus: Corpus) -> None:
    assert len(corpus.terms) >= 150


def test_the_terms_that_the_field_asks_for_first_are_there(corpus: Corpus) -> None:
    wanted = {"MIG", "KV cache", "TTFT", "PagedAttention", "KEDA", "cold start"}
    assert wanted <= {term.name for term in corpus.terms}


def test_every_wrong_entry_is_named_at_once(tmp_path: Path) -> None:
    glossary = tmp_path / "glossary.yaml"
    glossary.write_text(
        "- {term: GPU, definition: Too short.}\n"
        "- {term: Gpu, aliases: [banana], definition: Too short.}\n"
    )
    with pytest.raises(ValueError, match="'gpu' occurs 2 times") as caught:
        read_corpus(glossary, CONVERSATION)
    assert "GPU: 2 words" in str(caught.value)
    assert "'banana' is a term" in str(caught.value)


def test_the_same_seed_makes_the_same_conversations(corpus: Corpus) -> None:
    first, second = (
        list(itertools.islice(conversations(corpus, random.Random(3)), 20)) for _ in range(2)
    )
    assert first == second


def test_every_term_is_taught_within_three_rounds(corpus: Corpus) -> None:
    terms = {term.definition for term in corpus.terms}
    seen: list[str] = []
    for parts in conversations(corpus, random.Random(5)):
        text = "".join(part.text for part in parts)
        seen += [d for d in terms if d in text]
        if len(seen) >= 3 * len(terms):
            break
    assert set(seen) == terms


def test_what_is_learned_is_the_answer_with_its_end_and_never_the_question(
    corpus: Corpus,
) -> None:
    for parts in itertools.islice(conversations(corpus, random.Random(9)), 200):
        for part in parts:
            if part.learned:
                assert part.text.endswith(("<|im_end|>", "<|endoftext|>"))
                assert "<|im_start|>" not in part.text
