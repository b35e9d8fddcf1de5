"""Compare the Hugging Face folder in transformers with the GGUF in llama.cpp.

    python -m training.demo.agree [--gguf FILE]

Tokens of varied text must be equal, greedy answers must be equal, and the log-probabilities
of the first token close. Needs torch, transformers and xllamacpp; exit 0 when all agree.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
import tempfile
import urllib.request
from pathlib import Path
from typing import Any

import torch
import xllamacpp
from transformers import AutoModelForCausalLM, AutoTokenizer

from training.demo.corpus import SHIPPED, read_corpus
from training.demo.export import read_gguf, write_huggingface

TEXTS = (
    "Hello, world!",
    "  two  spaces ",
    "tabs\t\tand\n\nnew lines\r\n ",
    "naïve café — “quotes” … 日本語 🙂👩‍👩‍👧",
    "I'm you'll they'd we've IT'S 's",
    "12345 3.14 1e-5 ١٢٣ ②",
    "a_b-c/d\\e <|im_start|>user\nx<|im_end|>\n",
    "def f(x):\n    return x**2\n\n\n",
    "\u00a0no break\u2003em space",
    "ΑΒΓ абв ﬁ e\u0301",
    "",
    " ",
    "   \n  ",
    "x   ",
)
ALPHABET = "abcXYZ 0123.,!?'\"\n\t-_éß漢🙂   "


class Engine:
    """llama.cpp's server over one GGUF."""

    def __init__(self, gguf: Path) -> None:
        parameters = xllamacpp.CommonParams()
        parameters.model.path = str(gguf)
        parameters.n_ctx, parameters.n_parallel, parameters.port = 2048, 1, 0
        self._server = xllamacpp.Server(parameters)

    def post(self, path: str, **body: object) -> Any:
        """POST JSON and read JSON."""
        request = urllib.request.Request(
            self._server.listening_address + path,
            json.dumps(body).encode(),
            {"Content-Type": "application/json"},
        )
        with urllib.request.urlopen(request) as response:
            return json.load(response)


def tokens_that_differ(engine: Engine, tokenizer: Any, count: int = 500) -> list[str]:
    """Texts that the two split differently, or that do not come back whole."""
    chance = random.Random(0)
    noise = ["".join(chance.choices(ALPHABET, k=chance.randint(1, 60))) for _ in range(count)]
    texts = [*TEXTS, *noise, *(term.definition for term in read_corpus().terms)]
    differing = []
    for text in texts:
        theirs = engine.post("/tokenize", content=text, parse_special=True, add_special=True)
        ours = tokenizer(text)["input_ids"]
        if theirs["tokens"] != ours or tokenizer.decode(ours) != text:
            differing.append(text)
    return differing


@torch.inference_mode()
def answers_that_differ(engine: Engine, tokenizer: Any, model: Any) -> tuple[list[str], float]:
    """Questions answered differently, and the largest gap of first log-probabilities."""
    differing, gap = [], 0.0
    for term in read_corpus().terms[::4]:
        messages = [{"role": "user", "content": f"What is {term.name}?"}]
        prompt = tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
        if engine.post("/apply-template", messages=messages)["prompt"] != prompt:
            differing.append(f"template: {term.name}")
        ids = tokenizer(prompt, return_tensors="pt").input_ids
        made = model.generate(ids, attention_mask=torch.ones_like(ids), max_new_tokens=60)
        ours = tokenizer.decode(made[0, ids.shape[1] :], skip_special_tokens=True)
        reply = engine.post("/v1/chat/completions", messages=messages, temperature=0, max_tokens=60)
        if reply["choices"][0]["message"]["content"] != ours:
            differing.append(term.name)
        first = engine.post("/completion", prompt=prompt, n_predict=1, n_probs=3, temperature=0)
        scores = torch.log_softmax(model(ids).logits[0, -1], -1)
        best = first["completion_probabilities"][0]["top_logprobs"][0]
        gap = max(gap, abs(scores[best["id"]].item() - best["logprob"]))
    return differing, gap


def main() -> int:
    """Compare, print, and return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--gguf", type=Path, default=SHIPPED)
    arguments = parser.parse_args()
    engine = Engine(arguments.gguf)
    with tempfile.TemporaryDirectory() as folder:
        write_huggingface(read_gguf(arguments.gguf), Path(folder))
        tokenizer = AutoTokenizer.from_pretrained(folder)
        model = AutoModelForCausalLM.from_pretrained(folder).eval()
    texts = tokens_that_differ(engine, tokenizer)
    questions, gap = answers_that_differ(engine, tokenizer, model)
    print(f"texts split differently: {texts or 'none'}")
    print(f"questions answered differently: {questions or 'none'}")
    print(f"largest gap of the first log-probability: {gap:.5f}")
    return 1 if texts or questions or gap > 0.05 else 0


if __name__ == "__main__":
    sys.exit(main())
