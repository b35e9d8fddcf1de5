"""Content blocks of Anthropic's messages as messages of chat completions, and where that cannot
be. Source: the types of the official SDK, `anthropic` 2.12.0, read on 2026-11-21.
"""

from __future__ import annotations

from typing import Any

import msgspec

from plimsoll.providers.json_fields import Fields, missing, not_supported, wrong_type

_encode = msgspec.json.Encoder().encode
Blocks = list[Fields]
Part = dict[str, Any]
Message = dict[str, Any]


def blocks_of(content: object, path: str) -> Blocks:
    """The blocks of a content, which may be text alone. Raises UnspeakableError."""
    if isinstance(content, str):
        return [Fields({"type": "text", "text": content}, path)]
    if not isinstance(content, list):
        raise wrong_type(path, "a string or a list", content)
    return [Fields(block, f"{path}[{index}]") for index, block in enumerate(content)]


def system_text(blocks: Blocks) -> str:
    """A system prompt as one text, its blocks as paragraphs. Raises UnspeakableError."""
    texts = []
    for block in blocks:
        kind = block.need_text("type")
        if kind != "text":
            raise _unknown(block, kind, "a system prompt")
        texts.append(block.need_text("text"))
    return "\n\n".join(text for text in texts if text)


def assistant_message(blocks: Blocks) -> Message:
    """What the model said before: thoughts, text and calls of tools. Raises UnspeakableError."""
    texts, thoughts, calls = [], [], []
    for block in blocks:
        kind = block.need_text("type")
        if kind == "text":
            texts.append(block.need_text("text"))
        elif kind == "thinking":
            thoughts.append(block.need_text("thinking"))
        elif kind == "tool_use":
            calls.append(_tool_call(block))
        elif kind != "redacted_thinking":
            raise _unknown(block, kind, "a message of the assistant")
    message: Message = {"role": "assistant", "content": "".join(texts)}
    if thoughts:
        message["reasoning_content"] = "".join(thoughts)
    if calls:
        message["tool_calls"] = calls
        message["content"] = message["content"] or None
    return message


def _tool_call(block: Fields) -> dict[str, Any]:
    name = block.need_text("name")
    given = block.fields("input")
    return {
        "id": block.need_text("id"),
        "type": "function",
        "function": {"name": name, "arguments": _encode(given.rest if given else {}).decode()},
    }


def user_messages(blocks: Blocks) -> list[Message]:
    """What the user said, and what tools answered. Raises UnspeakableError.

    Answers of tools are messages of their own, and what came before and after them keeps its
    place. A tool's answer can only be text there: its images follow as the user's.
    """
    messages: list[Message] = []
    parts: list[Part] = []
    images: list[Part] = []
    for block in blocks:
        kind = block.need_text("type")
        if kind != "tool_result":
            parts += images
            images = []
            parts.append(_part(block, kind))
            continue
        if parts:
            messages.append({"role": "user", "content": _content(parts)})
            parts = []
        messages.append(_tool_result(block, images))
    parts = images + parts
    if parts or not messages:
        messages.append({"role": "user", "content": _content(parts)})
    return messages


def _tool_result(block: Fields, images: list[Part]) -> Message:
    call_id = block.need_text("tool_use_id")
    failed = block.flag("is_error")
    content = block.take("content")
    texts = []
    for inner in blocks_of("" if content is None else content, block.at("content")):
        kind = inner.need_text("type")
        part = _part(inner, kind)
        if part["type"] == "text":
            texts.append(part["text"])
        else:
            images.append(part)
    text = "\n".join(text for text in texts if text)
    if failed:  # chat completions have no field for it, and the model should know
        text = f"Error: {text}"
    return {"role": "tool", "tool_call_id": call_id, "content": text}


def _content(parts: list[Part]) -> str | list[Part]:
    """Text alone as a string, which every chat template can read."""
    if not parts:
        return ""
    if len(parts) == 1 and parts[0]["type"] == "text":
        text: str = parts[0]["text"]
        return text
    return parts


def _part(block: Fields, kind: str) -> Part:
    if kind == "text":
        return _text(block.need_text("text"))
    if kind == "image":
        return _image(block)
    if kind == "document":
        return _document(block)
    if kind == "search_result":
        head = [block.need_text("title"), block.need_text("source")]
        return _text("\n".join([*head, *_inner_texts(block, "content")]))
    raise _unknown(block, kind, "a message of the user")


def _text(text: str) -> Part:
    return {"type": "text", "text": text}


def _image(block: Fields) -> Part:
    source = block.fields("source")
    if source is None:
        raise missing(block.at("source"))
    kind = source.need_text("type")
    if kind == "base64":
        data = source.need_text("data")
        url = f"data:{source.need_text('media_type')};base64,{data}"
    elif kind == "url":
        url = source.need_text("url")
    else:
        raise _no_files(source, kind)
    return {"type": "image_url", "image_url": {"url": url}}


def _document(block: Fields) -> Part:
    source = block.fields("source")
    if source is None:
        raise missing(block.at("source"))
    kind = source.need_text("type")
    if kind == "text":
        texts = [source.need_text("data")]
    elif kind == "content":
        texts = _inner_texts(source, "content")
    else:
        raise _no_files(source, kind)
    head = [text for name in ("title", "context") if (text := block.text(name))]
    return _text("\n".join([*head, *texts]))


def _inner_texts(block: Fields, name: str) -> list[str]:
    texts = []
    for inner in blocks_of(block.take(name), block.at(name)):
        kind = inner.need_text("type")
        if kind != "text":
            raise _unknown(inner, kind, "a document")
        texts.append(inner.need_text("text"))
    return texts


def _no_files(source: Fields, kind: str) -> Exception:
    return not_supported(
        source.at("type"),
        f"a source of type `{kind[:80]}` cannot be read here",
        "send an image as `base64` or `url`, and a document as `text`",
    )


def _unknown(block: Fields, kind: str, place: str) -> Exception:
    return not_supported(
        block.at("type"), f"a block of type `{kind[:80]}` cannot be in {place} here"
    )
