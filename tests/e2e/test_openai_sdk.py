"""The official SDK gets real answers from the demo fleet."""

from __future__ import annotations

from collections.abc import Iterator

import openai
import pytest

from tests.e2e.running import Up

QUESTION = "What is a KV cache?"


@pytest.fixture
def client(demo: Up) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"{demo.url}/v1", api_key="none", max_retries=0) as client:
        yield client


def ask(client: openai.OpenAI, *words: str) -> str:
    roles = ("user", "assistant")
    messages = [{"role": roles[i % 2], "content": text} for i, text in enumerate(words)]
    answer = client.chat.completions.create(model="demo", messages=messages, temperature=0)  # type: ignore[arg-type]
    assert answer.choices[0].finish_reason == "stop"
    return answer.choices[0].message.content or ""


def test_a_chat_is_answered_and_stops_by_itself(client: openai.OpenAI) -> None:
    answer = ask(client, QUESTION)
    assert "key" in answer.lower()
    assert "value" in answer.lower()


def test_a_second_turn_is_answered_and_stops_by_itself(client: openai.OpenAI) -> None:
    first = ask(client, "Hello!")
    second = ask(client, "Hello!", first, QUESTION)
    assert second == ask(client, QUESTION)


def test_a_streamed_chat_says_the_same_as_a_whole_one(client: openai.OpenAI) -> None:
    stream = client.chat.completions.create(
        model="demo",
        messages=[{"role": "user", "content": QUESTION}],
        temperature=0,
        stream=True,
        stream_options={"include_usage": True},
    )
    chunks = list(stream)
    text = "".join(c.choices[0].delta.content or "" for c in chunks if c.choices)
    assert text == ask(client, QUESTION)
    assert [c.choices[0].finish_reason for c in chunks if c.choices][-1] == "stop"
    assert chunks[-1].usage is not None
    assert chunks[-1].usage.completion_tokens > 0


def test_a_completion_continues_a_text(client: openai.OpenAI) -> None:
    answer = client.completions.create(model="demo", prompt="A KV cache", max_tokens=8)
    assert answer.choices[0].text
    assert answer.usage is not None
    assert 0 < answer.usage.completion_tokens <= 8


def test_embeddings_of_several_texts_differ_and_have_one_length(client: openai.OpenAI) -> None:
    texts = ["what is a KV cache", "what is Kubernetes", "what is a KV cache"]
    data = client.embeddings.create(
        model="demo-embedding", input=texts, encoding_format="float"
    ).data
    vectors = [row.embedding for row in data]
    assert [row.index for row in data] == [0, 1, 2]
    assert len({len(v) for v in vectors}) == 1
    assert vectors[0] == pytest.approx(vectors[2], abs=1e-4)
    assert vectors[0] != pytest.approx(vectors[1], abs=1e-3)


def test_models_are_listed_by_their_names(client: openai.OpenAI) -> None:
    assert {model.id for model in client.models.list()} == {"demo", "demo-embedding"}
    assert client.models.retrieve("demo").id == "demo"


def test_an_unknown_model_is_a_404_that_names_the_others(client: openai.OpenAI) -> None:
    with pytest.raises(openai.NotFoundError) as caught:
        client.chat.completions.create(model="dmeo", messages=[{"role": "user", "content": "hi"}])
    assert caught.value.code == "model_not_found"
    assert "demo" in str(caught.value)
    assert caught.value.request_id


def test_a_wrong_request_is_a_400(client: openai.OpenAI) -> None:
    with pytest.raises(openai.BadRequestError) as caught:
        client.chat.completions.create(model="demo", messages=[])
    assert caught.value.type == "invalid_request_error"


def test_a_chat_with_the_embedding_model_is_a_400(client: openai.OpenAI) -> None:
    with pytest.raises(openai.BadRequestError) as caught:
        client.chat.completions.create(
            model="demo-embedding", messages=[{"role": "user", "content": "hi"}]
        )
    assert "embedding" in str(caught.value)
