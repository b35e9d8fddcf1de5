"""Items of the Responses API's input as messages of chat completions.

Source: the types of the official SDK, `openai` 3.54.0, read on 2026-11-21.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from plimsoll.providers.json_fields import (
    Fields,
    missing,
    not_supported,
    unknown_word,
    wrong_type,
)

Message = dict[str, Any]
Part = dict[str, Any]
_ROLES = {"user": "user", "assistant": "assistant", "system": "system", "developer": "system"}


def messages_of(items: Iterable[Fields]) -> list[Message]:
    """The conversation that the items are. Raises UnspeakableError.

    A thought, a text and calls of tools that follow each other are one message of the assistant.
    A `developer` is a `system`, for chat templates know no other word.
    """
    messages: list[Message] = []
    for item in items:
        kind = item.text("type") or ("message" if "role" in item.rest else "item_reference")
        if kind == "message":
            _add_message(messages, item)
        elif kind == "function_call":
            said = _assistant(messages)
            said.setdefault("tool_calls", []).append(_call(item))
        elif kind == "function_call_output":
            _add_output(messages, item)
        elif kind == "reasoning":
            thought = _thought(item)
            if thought:
                said = _assistant(messages)
                said["reasoning_content"] = said.get("reasoning_content", "") + thought
        elif kind == "item_reference":
            raise not_supported(
                item.path, "items by id are not stored here", "send the item itself"
            )
        else:
            raise not_supported(
                item.at("type"), f"an item of type `{kind[:80]}` is not supported here"
            )
    for message in messages:
        if message["role"] == "assistant" and "tool_calls" in message:
            message["content"] = message["content"] or None
    return messages


def _assistant(messages: list[Message]) -> Message:
    """The message of the assistant that is being said, a new one when there is none."""
    if not messages or messages[-1]["role"] != "assistant":
        messages.append({"role": "assistant", "content": ""})
    return messages[-1]


def _add_message(messages: list[Message], item: Fields) -> None:
    role = item.need_text("role")
    if role not in _ROLES:
        raise unknown_word(item.at("role"), role, "`user`, `assistant`, `system` or `developer`")
    content = _content(item, "content")
    if role == "assistant":
        if not isinstance(content, str):
            raise not_supported(item.at("content"), "the assistant can only have said text")
        said = _assistant(messages)
        said["content"] += content
    else:
        messages.append({"role": _ROLES[role], "content": content})


def _content(item: Fields, name: str) -> str | list[Part]:
    """Text alone as a string, which every chat template can read; else parts."""
    given = item.rest.get(name)
    if given is None:
        raise missing(item.at(name))
    if isinstance(given, str):
        return item.text(name) or ""
    if not isinstance(given, list):
        raise wrong_type(item.at(name), "a string or a list", given)
    parts = [_part(part) for part in item.objects(name)]
    if all(part["type"] == "text" for part in parts):
        return "".join(part["text"] for part in parts)
    return parts


def _part(part: Fields) -> Part:
    kind = part.need_text("type")
    if kind in ("input_text", "output_text", "text"):
        return {"type": "text", "text": part.need_text("text")}
    if kind == "refusal":
        return {"type": "text", "text": part.need_text("refusal")}
    if kind == "input_image":
        url = part.text("image_url")
        if url is None:
            raise not_supported(part.path, "images by id are not stored here", "use `image_url`")
        detail = part.text("detail")
        return {
            "type": "image_url",
            "image_url": {"url": url, **({"detail": detail} if detail else {})},
        }
    if kind == "input_audio":
        return {"type": "input_audio", "input_audio": part.take("input_audio")}
    raise not_supported(part.at("type"), f"a part of type `{kind[:80]}` is not supported here")


def _call(item: Fields) -> dict[str, Any]:
    return {
        "id": item.need_text("call_id"),
        "type": "function",
        "function": {
            "name": item.need_text("name"),
            "arguments": item.need_text("arguments"),
        },
    }


def _add_output(messages: list[Message], item: Fields) -> None:
    """A tool's output can only be text in a chat: what is not follows as the user's."""
    call_id = item.need_text("call_id")
    content = _content(item, "output")
    if isinstance(content, str):
        messages.append({"role": "tool", "tool_call_id": call_id, "content": content})
        return
    texts = [part["text"] for part in content if part["type"] == "text"]
    others = [part for part in content if part["type"] != "text"]
    messages.append({"role": "tool", "tool_call_id": call_id, "content": "".join(texts)})
    messages.append({"role": "user", "content": others})


def _thought(item: Fields) -> str:
    """The thought itself where it is there, else what was summarised of it."""
    whole = "".join(part.text("text") or "" for part in item.objects("content"))
    return whole or "".join(part.text("text") or "" for part in item.objects("summary"))
