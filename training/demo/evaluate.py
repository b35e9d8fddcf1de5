"""Ask a running server the whole glossary, streamed and not, and count exact answers.

    python -m training.demo.evaluate --base-url http://127.0.0.1:8080/v1 --model demo [--json]

Works against any OpenAI-compatible base URL. Temperature 0. Exit 0 when every measure that
counts is at or above the threshold and every answer stopped by itself, else 1.
"""

from __future__ import annotations

import argparse
import http.client
import json
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from typing import Any
from urllib.parse import urlsplit

from training.demo.corpus import Corpus, read_corpus

Message = dict[str, str]
# An answer is at most 38 tokens; one that reaches this limit did not stop by itself.
MAX_TOKENS = 120


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """Where to ask: base URL with its `/v1`, model name, key or None, seconds to wait."""

    base_url: str
    model: str
    api_key: str | None = None
    timeout: float = 120.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What came back; `finish` is the finish reason, or what went wrong."""

    text: str
    finish: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """A conversation and the answer that is wanted."""

    name: str
    messages: tuple[Message, ...]
    wanted: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Measure:
    """One row of the report.

    asked, exact, stopped  counts of cases
    counts                 whether the threshold applies
    missed                 names of the first cases that were not exact
    unstopped              names of the first cases that did not stop by themselves
    """

    name: str
    asked: int
    exact: int
    stopped: int
    counts: bool
    missed: list[str] = field(default_factory=list)
    unstopped: list[str] = field(default_factory=list)

    @property
    def share(self) -> float:
        """Exact answers, 0..1."""
        return self.exact / self.asked


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """All measures, the streamed answers that differ from the whole ones, and the seconds."""

    measures: list[Measure]
    streams_that_differ: list[str]
    seconds: float

    def passes(self, threshold: float) -> bool:
        """Whether all that counts holds."""
        counted = [measure for measure in self.measures if measure.counts]
        return not self.streams_that_differ and all(
            measure.share >= threshold and measure.stopped == measure.asked for measure in counted
        )


def ask(endpoint: Endpoint, messages: Sequence[Message], *, stream: bool) -> Answer:
    """One chat completion at temperature 0. Raises OSError when the server cannot be reached."""
    url = urlsplit(endpoint.base_url)
    secure = url.scheme == "https"
    kind = http.client.HTTPSConnection if secure else http.client.HTTPConnection
    connection = kind(url.netloc, timeout=endpoint.timeout)
    body = {
        "model": endpoint.model,
        "messages": list(messages),
        "temperature": 0,
        "max_tokens": MAX_TOKENS,
        "stream": stream,
    }
    headers = {"Content-Type": "application/json"}
    if endpoint.api_key:
        headers["Authorization"] = f"Bearer {endpoint.api_key}"
    try:
        path = f"{url.path.rstrip('/')}/chat/completions"
        connection.request("POST", path, json.dumps(body), headers)
        response = connection.getresponse()
        if response.status != 200:
            problem = response.read().decode(errors="replace")[:200]
            return Answer(text="", finish=f"HTTP {response.status}: {problem}")
        return read_stream(response) if stream else _whole(json.load(response))
    finally:
        connection.close()


def _whole(data: dict[str, Any]) -> Answer:
    choice = data["choices"][0]
    return Answer(text=choice["message"]["content"], finish=choice["finish_reason"])


def read_stream(lines: Iterable[bytes]) -> Answer:
    """Join a stream of server-sent events; strict about what may follow what."""
    text, finish = "", None
    for line in lines:
        if not line.startswith(b"data:"):
            continue
        data = line.removeprefix(b"data:").strip()
        if data == b"[DONE]":
            return Answer(text=text, finish=finish or "done without a finish reason")
        chunk = json.loads(data)
        if "error" in chunk:
            return Answer(text=text, finish=f"error: {chunk['error']}")
        for choice in chunk["choices"]:
            piece = choice["delta"].get("content") or ""
            if piece and finish is not None:
                return Answer(text=text, finish="text after the finish reason")
            text += piece
            finish = choice["finish_reason"] or finish
    return Answer(text=text, finish="the stream ended without [DONE]")


def plain_cases(corpus: Corpus, template: str = "What is {}?") -> list[Case]:
    """One question per term, by its main name."""
    return [
        Case(name=term.name, messages=(_user(template.format(term.name)),), wanted=term.definition)
        for term in corpus.terms
    ]


def second_turn_cases(corpus: Corpus) -> list[Case]:
    """Each term as a follow-up on the term before it."""
    earlier = (corpus.terms[-1], *corpus.terms[:-1])
    return [
        Case(
            name=term.name,
            messages=(
                _user(f"What is {before.name}?"),
                {"role": "assistant", "content": before.definition},
                _user(f"And {term.name}?"),
            ),
            wanted=term.definition,
        )
        for before, term in zip(earlier, corpus.terms, strict=True)
    ]


def other_name_cases(corpus: Corpus) -> list[Case]:
    """Expansions and aliases."""
    return [
        Case(name=name, messages=(_user(f"What is {name}?"),), wanted=term.definition)
        for term in corpus.terms
        for name in term.other_names
    ]


def small_talk_cases(corpus: Corpus) -> list[Case]:
    """All small talk, as a first turn."""
    return [
        Case(name=text, messages=(_user(text),), wanted=talk.answer)
        for talk in corpus.small_talk
        for text in talk.says
    ]


def unknown_cases(corpus: Corpus) -> list[Case]:
    """Words that training never saw as unknown; the model should own up."""
    words = "umbrella, Saturn, COBOL, haircut, penguin, lemonade, SOAP, wizardry, XKCD, opera"
    return [
        Case(
            name=word,
            messages=(_user(f"What is {word}?"),),
            wanted=corpus.unknown_answer,
        )
        for word in words.split(", ")
    ]


def _user(text: str) -> Message:
    return {"role": "user", "content": text}


def evaluate(endpoint: Endpoint, corpus: Corpus, *, workers: int = 4, full: bool = True) -> Report:
    """Run all cases with `workers` requests at a time; without `full`, only what counts."""
    began = time.monotonic()
    rows: list[tuple[str, list[Case], bool, bool]] = [
        ("plain", plain_cases(corpus), False, True),
        ("plain, streamed", plain_cases(corpus), True, True),
        ("second turn", second_turn_cases(corpus), False, True),
    ]
    if full:
        rows += [
            ("other names", other_name_cases(corpus), False, False),
            ("small talk", small_talk_cases(corpus), False, False),
            ("unknown words", unknown_cases(corpus), False, False),
        ]
        rows += [
            (f"never seen: {text}", plain_cases(corpus, text), False, False)
            for text in corpus.held_out_questions
        ]
    measures, answers = [], []
    with ThreadPoolExecutor(workers) as pool:
        for name, cases, stream, counts in rows:
            one = _asking(endpoint, stream=stream)
            answers.append(list(pool.map(one, cases)))
            measures.append(_measure(name, cases, answers[-1], counts=counts))
    differing = [
        case.name
        for case, whole, streamed in zip(rows[0][1], answers[0], answers[1], strict=True)
        if whole != streamed
    ]
    return Report(
        measures=measures,
        streams_that_differ=differing,
        seconds=round(time.monotonic() - began, 2),
    )


def _asking(endpoint: Endpoint, *, stream: bool) -> Callable[[Case], Answer]:
    return lambda case: ask(endpoint, case.messages, stream=stream)


def _measure(name: str, cases: list[Case], answers: list[Answer], *, counts: bool) -> Measure:
    pairs = list(zip(cases, answers, strict=True))
    missed = [case.name for case, answer in pairs if answer.text != case.wanted]
    unstopped = [
        f"{case.name} ({answer.finish})" for case, answer in pairs if answer.finish != "stop"
    ]
    return Measure(
        name=name,
        asked=len(cases),
        exact=len(cases) - len(missed),
        stopped=len(cases) - len(unstopped),
        counts=counts,
        missed=missed[:12],
        unstopped=unstopped[:12],
    )


def _table(report: Report) -> str:
    lines = [f"{'measure':44s} {'asked':>6s} {'exact':>6s} {'share':>7s} {'stopped':>8s}"]
    for row in report.measures:
        lines.append(
            f"{row.name:44s} {row.asked:6d} {row.exact:6d} {row.share:7.1%} {row.stopped:8d}"
        )
        lines += [f"    not exact: {', '.join(row.missed)}"] if row.missed else []
        lines += [f"    did not stop: {', '.join(row.unstopped)}"] if row.unstopped else []
    differing = ", ".join(report.streams_that_differ) or "none"
    lines.append(f"streamed answers that differ from whole ones: {differing}")
    lines.append(f"{report.seconds} s")
    return "\n".join(lines)


def main() -> int:
    """Read the arguments, evaluate, print, and return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--base-url", required=True, help="with /v1 at its end")
    parser.add_argument("--model", required=True)
    parser.add_argument("--api-key")
    parser.add_argument("--workers", type=int, default=4, help="requests at a time")
    parser.add_argument("--threshold", type=float, default=0.95)
    parser.add_argument("--brief", action="store_true", help="only the measures that count")
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    endpoint = Endpoint(
        base_url=arguments.base_url, model=arguments.model, api_key=arguments.api_key
    )
    report = evaluate(endpoint, read_corpus(), workers=arguments.workers, full=not arguments.brief)
    passes = report.passes(arguments.threshold)
    if arguments.json:
        sys.stdout.write(json.dumps({"passes": passes, **asdict(report)}, indent=2) + "\n")
    else:
        sys.stdout.write(f"{_table(report)}\n{'passes' if passes else 'FAILS'}\n")
    return 0 if passes else 1


if __name__ == "__main__":
    sys.exit(main())
