"""The demo model's tokenizer: GPT-2 style byte-level BPE with three control tokens.

Needs no package, so that a Hugging Face folder can be written from the shipped GGUF alone.
"""

from __future__ import annotations

import json
from collections.abc import Sequence

END_OF_TEXT = "<|endoftext|>"
TURN_START = "<|im_start|>"
TURN_END = "<|im_end|>"
CONTROL_TOKENS = (END_OF_TEXT, TURN_START, TURN_END)
# The name by which llama.cpp knows the pre-tokeniser of GPT-2, which `ByteLevel` is too.
PRE_TOKENIZER = "gpt-2"
CHAT_TEMPLATE = (
    "{%- for message in messages -%}"
    "{{ '<|im_start|>' + message['role'] + '\\n' + message['content'] + '<|im_end|>\\n' }}"
    "{%- endfor -%}"
    "{%- if add_generation_prompt -%}{{ '<|im_start|>assistant\\n' }}{%- endif -%}"
)
_BYTE_LEVEL = {
    "type": "ByteLevel",
    "add_prefix_space": False,
    "trim_offsets": True,
    "use_regex": True,
}


def turn(role: str, text: str) -> str:
    """One closed turn, as the chat template writes it."""
    return f"{TURN_START}{role}\n{text}{TURN_END}\n"


def vocabulary(tokenizer_json: str) -> tuple[list[str], list[str]]:
    """Tokens by number, and merges as `left right`, of a `tokenizer.json`."""
    model = json.loads(tokenizer_json)["model"]
    tokens = [token for token, _ in sorted(model["vocab"].items(), key=lambda pair: pair[1])]
    merges = [pair if isinstance(pair, str) else " ".join(pair) for pair in model["merges"]]
    return tokens, merges


def huggingface_files(
    tokens: Sequence[str], merges: Sequence[str], *, context: int
) -> dict[str, object]:
    """`tokenizer.json` and `tokenizer_config.json` as data, by file name."""
    added = [
        {
            "id": tokens.index(token),
            "content": token,
            "single_word": False,
            "lstrip": False,
            "rstrip": False,
            "normalized": False,
            "special": True,
        }
        for token in CONTROL_TOKENS
    ]
    tokenizer = {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": added,
        "normalizer": None,
        "pre_tokenizer": _BYTE_LEVEL,
        "post_processor": None,
        "decoder": _BYTE_LEVEL,
        "model": {
            "type": "BPE",
            "dropout": None,
            "unk_token": None,
            "continuing_subword_prefix": None,
            "end_of_word_suffix": None,
            "fuse_unk": False,
            "byte_fallback": False,
            "ignore_merges": False,
            "vocab": {token: number for number, token in enumerate(tokens)},
            "merges": [merge.split(" ") for merge in merges],
        },
    }
    config = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "bos_token": None,
        "eos_token": TURN_END,
        "pad_token": END_OF_TEXT,
        "unk_token": None,
        "add_bos_token": False,
        "clean_up_tokenization_spaces": False,
        "model_max_length": context,
        "chat_template": CHAT_TEMPLATE,
    }
    return {"tokenizer.json": tokenizer, "tokenizer_config.json": config}
