"""`plimsoll chat`: talk to a model through its gateway."""

from __future__ import annotations

import asyncio
import json
import sys

import click

from plimsoll.cli.folders import state_folder
from plimsoll.cli.running import running_fleets
from plimsoll.errors import Failed
from plimsoll.gateway import GatewayClient

Message = dict[str, str]


@click.command("chat")
@click.argument("model")
@click.argument("text", required=False)
@click.option("--url", help="Gateway to ask; by default a fleet that is up on this machine")
@click.option("--key", envvar="OPENAI_API_KEY", help="API key, when the gateway asks for one")
@click.option("--system", help="System message")
@click.option("--temperature", type=click.FloatRange(0, 2), help="0 answers the same every time")
@click.option("--max-tokens", type=click.IntRange(1), help="Longest answer")
@click.option("--json", "as_json", is_flag=True, help="Print the answer and its usage as JSON")
def chat_command(
    model: str,
    text: str | None,
    *,
    url: str | None,
    key: str | None,
    system: str | None,
    temperature: float | None,
    max_tokens: int | None,
    as_json: bool,
) -> None:
    """Ask MODEL one TEXT and stream the answer, or talk to it without TEXT.

    `-` as TEXT reads standard input. In a conversation, an empty line or Ctrl-D ends it.
    """
    client = GatewayClient(url or _running_url(model), key=key)
    options: dict[str, object] = {"model": model}
    if temperature is not None:
        options["temperature"] = temperature
    if max_tokens is not None:
        options["max_tokens"] = max_tokens
    messages: list[Message] = [{"role": "system", "content": system}] if system else []
    if text is None and not as_json:
        _converse(client, options, messages)
        return
    question = sys.stdin.read() if text in (None, "-") else text
    messages.append({"role": "user", "content": question or ""})
    if as_json:
        body = {**options, "messages": messages}
        answer = asyncio.run(client.json("POST", "/v1/chat/completions", body))
        click.echo(json.dumps(answer, indent=2, ensure_ascii=False))
        return
    asyncio.run(_stream(client, options, messages))


def _converse(client: GatewayClient, options: dict[str, object], messages: list[Message]) -> None:
    """Ask and answer in turns until there is nothing more to ask."""
    while True:
        try:
            question = click.prompt(
                click.style("you", bold=True), default="", show_default=False, err=True
            )
        except click.Abort:
            click.echo(err=True)
            return
        if not question.strip():
            return
        messages.append({"role": "user", "content": question})
        messages.append(
            {"role": "assistant", "content": asyncio.run(_stream(client, options, messages))}
        )


async def _stream(
    client: GatewayClient, options: dict[str, object], messages: list[Message]
) -> str:
    """Print an answer as it comes. Returns the whole of it."""
    words: list[str] = []
    body = {**options, "messages": messages, "stream": True}
    async for event in client.events("/v1/chat/completions", body):
        for choice in event.get("choices", ()):
            word = choice.get("delta", {}).get("content") or ""
            words.append(word)
            click.echo(word, nl=False)
    click.echo()
    return "".join(words)


def _running_url(model: str) -> str:
    """The gateway of a fleet that is up here and has the model, else of any that is up."""
    fleets = running_fleets(state_folder() / "run")
    having = [f for f in fleets if any(m.name == model for m in f.models)]
    if not (having or fleets):
        raise Failed(
            "no fleet is up on this machine",
            hint="start one with `plimsoll up`, or name a gateway with `--url`",
            code="chat.nobody",
        )
    return (having or list(fleets))[-1].url
