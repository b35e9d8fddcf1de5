"""A request of OpenAI's Responses API as one of chat completions; nothing is stored.

Source: the types of the official SDK, `openai` 3.54.0, read on 2026-11-21.

What rests on stored things is refused: earlier responses, conversations, background work,
prompts and items by id. So is what OpenAI's own servers would do: their tools, files,
moderation. `store` is taken as false. Hints to their caches and tiers are dropped, and fields of
other names go to the engine untouched.
"""

from __future__ import annotations

from typing import Any

from plimsoll.providers.json_fields import (
    Fields,
    decode,
    missing,
    not_supported,
    unknown_word,
)
from plimsoll.providers.protocol import UnspeakableError
from plimsoll.providers.responses_input import messages_of

_STORED = "nothing is stored here: send the whole conversation in `input`"
_REFUSED = {
    "previous_response_id": _STORED,
    "conversation": _STORED,
    "prompt": "write it out in `instructions` and `input`",
    "background": "wait for the answer, or stream it",
    "context_management": "leave out what the model need not see",
    "moderation": "ask a model for moderation by itself",
}
_HINTS = (
    "access_programs", "background_options", "image", "include", "max_tool_calls", "metadata",
    "prompt_cache_options", "prompt_cache_retention", "safety_identifier",
    "service_tier", "store", "stream_options", "truncation",
)  # fmt: skip
_LOGPROBS = "message.output_text.logprobs"


def chat_request(body: bytes) -> bytes:
    """The body for `/v1/chat/completions`. Raises UnspeakableError."""
    fields = decode(body)
    for name, hint in _REFUSED.items():
        fields.refuse(name, hint)
    chat: dict[str, Any] = {"model": fields.need_text("model"), "messages": _messages(fields)}
    limit = fields.count("max_output_tokens")
    if limit is not None:
        chat["max_tokens"] = limit
    if fields.flag("stream"):
        chat["stream"] = True
        chat["stream_options"] = {"include_usage": True}
    _tools(chat, fields)
    _text(chat, fields)
    reasoning = fields.fields("reasoning")
    effort = reasoning.text("effort") if reasoning is not None else None
    if effort is not None:
        chat["reasoning_effort"] = effort
    top = fields.count("top_logprobs")
    if top or _LOGPROBS in (fields.items("include") or ()):
        chat["logprobs"] = True
        chat["top_logprobs"] = top or 0
    fields.drop(*_HINTS)
    return fields.under(chat)


def _messages(fields: Fields) -> list[dict[str, Any]]:
    messages: list[dict[str, Any]] = []
    instructions = fields.text("instructions")
    if instructions:
        messages.append({"role": "system", "content": instructions})
    given = fields.rest.get("input")
    if given is None:
        raise missing("input")
    if isinstance(given, str):
        messages.append({"role": "user", "content": fields.text("input")})
    else:
        messages += messages_of(fields.objects("input"))
    if not messages:
        raise UnspeakableError("`input` is empty", where="input", code="invalid_value")
    return messages


def _tools(chat: dict[str, Any], fields: Fields) -> None:
    tools = [_tool(tool) for tool in fields.objects("tools")]
    choice = fields.take("tool_choice")
    if isinstance(choice, str):
        if choice not in ("auto", "none", "required"):
            raise unknown_word("tool_choice", choice, "`auto`, `none`, `required` or an object")
        chat["tool_choice"] = choice
    elif choice is not None:
        tools = _chosen(chat, Fields(choice, "tool_choice"), tools)
    if tools:
        chat["tools"] = tools


def _tool(tool: Fields) -> dict[str, Any]:
    kind = tool.need_text("type")
    if kind != "function":
        raise not_supported(
            tool.at("type"),
            f"a tool of type `{kind[:80]}` runs at OpenAI, not here",
            "give it as a `function`, and run it yourself",
        )
    function: dict[str, Any] = {"name": tool.need_text("name")}
    description = tool.text("description")
    if description is not None:
        function["description"] = description
    parameters = tool.fields("parameters")
    if parameters is not None:
        function["parameters"] = parameters.rest
    if tool.flag("strict"):
        function["strict"] = True
    return {"type": "function", "function": function}


def _chosen(
    chat: dict[str, Any], choice: Fields, tools: list[dict[str, Any]]
) -> list[dict[str, Any]]:
    """Set the choice of a tool; the tools that are left to choose from."""
    kind = choice.need_text("type")
    if kind == "function":
        name = choice.need_text("name")
        chat["tool_choice"] = {"type": "function", "function": {"name": name}}
        return tools
    if kind != "allowed_tools":
        raise not_supported(
            choice.at("type"), f"a choice of type `{kind[:80]}` is not supported here"
        )
    chat["tool_choice"] = choice.need_text("mode")
    allowed = {tool.need_text("name") for tool in choice.objects("tools")}
    return [tool for tool in tools if tool["function"]["name"] in allowed]


def _text(chat: dict[str, Any], fields: Fields) -> None:
    """`text.format` as `response_format`; `text.verbosity` has no word there."""
    text = fields.fields("text")
    form = text.fields("format") if text is not None else None
    if form is None:
        return
    kind = form.need_text("type")
    if kind == "json_object":
        chat["response_format"] = {"type": "json_object"}
    elif kind == "json_schema":
        schema = form.fields("schema")
        if schema is None:
            raise missing(form.at("schema"))
        chat["response_format"] = {
            "type": "json_schema",
            "json_schema": {
                "name": form.need_text("name"),
                "schema": schema.rest,
                "strict": form.flag("strict"),
            },
        }
    elif kind != "text":
        raise unknown_word(form.at("type"), kind, "`text`, `json_object` or `json_schema`")
