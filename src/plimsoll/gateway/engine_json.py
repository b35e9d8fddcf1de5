"""What is read of the JSON that engines write. Not compiled: decoding needs the annotations."""

from __future__ import annotations

from typing import Any

import msgspec

NULL = msgspec.Raw(b"null")


class Usage(msgspec.Struct):
    """Tokens as an answer states them."""

    prompt_tokens: int = 0
    completion_tokens: int = 0


class Whole(msgspec.Struct):
    """A whole answer: what of it is looked at."""

    usage: msgspec.Raw = NULL
    error: msgspec.Raw = NULL


class Event(msgspec.Struct, gc=False):
    """Any object: reading it checks it, and makes nothing of it but of an engine's error."""

    error: Any = None


decode_whole = msgspec.json.Decoder(Whole).decode
decode_usage = msgspec.json.Decoder(Usage).decode
decode_event = msgspec.json.Decoder(Event).decode
