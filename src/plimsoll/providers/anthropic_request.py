"""A request of Anthropic's Messages API as one of chat completions.

Source: the types and docstrings of the official SDK, `anthropic` 2.12.0, read on 2026-11-21.

What is dropped, because it changes nothing that an engine could do: `cache_control` (engines
cache every prefix), `service_tier` and its like, signatures and redacted thoughts,
`budget_tokens` of thinking (`max_tokens` bounds it). What would be missed is refused: tools that
Anthropic's own servers run, files, PDF documents, containers. Fields of other names go to the
engine untouched, so `seed` or `chat_template_kwargs` work here as well.
"""

from __future__ import annotations

from typing import Any

from plimsoll.providers.anthropic_content import (
    Blocks,
    assistant_message,
    blocks_of,
    system_text,
    user_messages,
)
from plimsoll.providers.json_fields import (
    Fields,
    decode,
    missing,
    not_supported,
    unknown_word,
)
from plimsoll.providers.protocol import UnspeakableError

_HINTS = (
    "betas", "cache_control", "diagnostics", "inference_geo", "service_tier", "speed",
    "user_profile_id", "workspace_id",
)  # fmt: skip
_OF_A_TOOL = (
    "allowed_callers", "cache_control", "defer_loading", "eager_input_streaming", "input_examples",
)  # fmt: skip


def chat_request(body: bytes) -> bytes:
    """The body for `/v1/chat/completions`. Raises UnspeakableError."""
    fields = decode(body)
    chat: dict[str, Any] = {
        "model": fields.need_text("model"),
        "messages": _messages(fields),
    }
    limit = fields.count("max_tokens")
    if limit is None:
        raise missing("max_tokens")
    chat["max_tokens"] = limit
    return finished(chat, fields)


def count_request(body: bytes) -> bytes:
    """A request for a count of tokens as a body for `/v1/chat/completions`, which is never sent
    there: its messages and tools are counted. Raises UnspeakableError.
    """
    fields = decode(body)
    fields.drop("max_tokens", "stream")
    chat = {"model": fields.need_text("model"), "messages": _messages(fields)}
    return finished(chat, fields)


def finished(chat: dict[str, Any], fields: Fields) -> bytes:
    """`chat` with everything else that a request may say, as bytes."""
    stops = fields.items("stop_sequences")
    if stops:
        chat["stop"] = stops
    if fields.flag("stream"):
        chat["stream"] = True
        chat["stream_options"] = {"include_usage": True}
    _tools(chat, fields)
    _tool_choice(chat, fields)
    _output(chat, fields)
    _thinking(chat, fields)
    metadata = fields.fields("metadata")
    user = metadata.text("user_id") if metadata is not None else None
    if user is not None:
        chat["user"] = user
    fields.refuse("container", "code runs nowhere here")
    fields.refuse("mcp_servers", "call the servers yourself, and give their tools in `tools`")
    fields.refuse("context_management", "leave out what the model need not see")
    fields.drop(*_HINTS)
    return fields.under(chat)


def _messages(fields: Fields) -> list[dict[str, Any]]:
    messages: list[dict[str, Any]] = []
    system = fields.take("system")
    if system is not None:
        text = system_text(blocks_of(system, "system"))
        if text:
            messages.append({"role": "system", "content": text})
    turns = _turns(fields)
    if not turns:
        raise UnspeakableError("`messages` is empty", where="messages", code="invalid_value")
    for role, blocks in turns:
        if role == "assistant":
            messages.append(assistant_message(blocks))
        elif role == "user":
            messages.extend(user_messages(blocks))
        else:
            messages.append({"role": "system", "content": system_text(blocks)})
    return messages


def _turns(fields: Fields) -> list[tuple[str, Blocks]]:
    """Role and blocks of each turn: messages of one role that follow each other are one turn."""
    turns: list[tuple[str, Blocks]] = []
    if fields.rest.get("messages") is None:
        raise missing("messages")
    for message in fields.objects("messages"):
        role = message.need_text("role")
        if role not in ("user", "assistant", "system"):
            raise unknown_word(message.at("role"), role, "`user`, `assistant` or `system`")
        if message.rest.get("content") is None:
            raise missing(message.at("content"))
        blocks = blocks_of(message.take("content"), message.at("content"))
        if turns and turns[-1][0] == role:
            turns[-1][1].extend(blocks)
        else:
            turns.append((role, blocks))
    return turns


def _tools(chat: dict[str, Any], fields: Fields) -> None:
    tools = [_tool(tool) for tool in fields.objects("tools")]
    if tools:
        chat["tools"] = tools


def _tool(tool: Fields) -> dict[str, Any]:
    kind = tool.text("type")
    if kind not in (None, "custom"):
        raise not_supported(
            tool.at("type"),
            f"a tool of type `{kind}` needs Anthropic's own servers or models",
            "say it as a tool of your own, with `name`, `description` and `input_schema`",
        )
    function: dict[str, Any] = {"name": tool.need_text("name")}
    description = tool.text("description")
    if description is not None:
        function["description"] = description
    schema = tool.fields("input_schema")
    if schema is None:
        raise missing(tool.at("input_schema"))
    function["parameters"] = schema.rest
    tool.drop(*_OF_A_TOOL)
    return {"type": "function", "function": {**function, **tool.rest}}


def _tool_choice(chat: dict[str, Any], fields: Fields) -> None:
    choice = fields.fields("tool_choice")
    if choice is None:
        return
    kind = choice.need_text("type")
    if kind in _CHOICES:
        chat["tool_choice"] = _CHOICES[kind]
    elif kind == "tool":
        name = choice.need_text("name")
        chat["tool_choice"] = {"type": "function", "function": {"name": name}}
    else:
        raise unknown_word(choice.at("type"), kind, "`auto`, `any`, `tool` or `none`")
    if choice.flag("disable_parallel_tool_use"):
        chat["parallel_tool_calls"] = False


_CHOICES = {"auto": "auto", "any": "required", "none": "none"}


def _output(chat: dict[str, Any], fields: Fields) -> None:
    """`output_config`, and `output_format` as it was called before."""
    config = fields.fields("output_config")
    form = config.fields("format") if config is not None else None
    form = form or fields.fields("output_format")
    if form is not None:
        kind = form.need_text("type")
        if kind != "json_schema":
            raise unknown_word(form.at("type"), kind, "`json_schema`")
        schema = form.fields("schema")
        if schema is None:
            raise missing(form.at("schema"))
        chat["response_format"] = {
            "type": "json_schema",
            "json_schema": {"name": "output", "schema": schema.rest, "strict": True},
        }
    effort = config.text("effort") if config is not None else None
    if effort is not None:
        chat["reasoning_effort"] = effort


def _thinking(chat: dict[str, Any], fields: Fields) -> None:
    """Whether to think, said as chat templates read it; `adaptive` leaves it to the model."""
    thinking = fields.fields("thinking")
    if thinking is None:
        return
    kind = thinking.need_text("type")
    if kind not in ("enabled", "disabled", "adaptive", "between_tools"):
        raise unknown_word(thinking.at("type"), kind, "`enabled`, `disabled` or `adaptive`")
    if kind in ("enabled", "disabled"):
        given = fields.fields("chat_template_kwargs")
        chat["chat_template_kwargs"] = {
            "enable_thinking": kind == "enabled",
            **(given.rest if given is not None else {}),
        }
