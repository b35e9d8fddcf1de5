"""Train the demo model: `python -m training.demo.train` writes a checkpoint and `demo.gguf`.

About a quarter of an hour on one core. The same seed gives the same run on the same kind of
machine with the same number of threads; one is the default, because threads that wait for each
other cost more than they bring where cores are shared. A finished checkpoint is only evaluated
and exported again.
"""

from __future__ import annotations

import argparse
import itertools
import random
import time
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from gguf.constants import GGMLQuantizationType
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from torch import Tensor
from torch.nn import functional

from training.demo.corpus import Corpus, read_corpus
from training.demo.export import Model, write_gguf
from training.demo.network import Network, Sizes
from training.demo.samples import Part, conversations
from training.demo.tokenizer import CONTROL_TOKENS, TURN_END, TURN_START, turn, vocabulary

OUT = Path(__file__).parents[1] / "out"


@dataclass(frozen=True, slots=True, kw_only=True)
class Schedule:
    """How long and how fast to learn.

    steps    updates
    rows     rows of one update
    length   tokens of a row; whole conversations are packed into it
    every    every so many updates there is one row of the same number of tokens instead, filled
             by one conversation, so that long ones are learned too
    peak     highest learning rate; reached after `warmup` steps, then down to a hundredth
    """

    steps: int = 900
    rows: int = 8
    length: int = 256
    every: int = 12
    peak: float = 3e-3
    warmup: int = 60


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """Packed rows: tokens, positions and conversation numbers (rows, length), targets with
    -100 where nothing is learned.
    """

    tokens: Tensor
    positions: Tensor
    segments: Tensor
    targets: Tensor

    def mask(self) -> Tensor:
        """True where a token may look: back, and within its own conversation."""
        length = self.tokens.shape[1]
        causal = torch.ones(length, length, dtype=torch.bool).tril()
        same = self.segments[:, :, None] == self.segments[:, None, :]
        return (same & causal)[:, None]


def tokenizer_texts(corpus: Corpus) -> Iterator[str]:
    """What the vocabulary is learned from."""
    for term in corpus.terms:
        for name in term.names:
            for spelled in {name, name.lower(), name.upper()}:
                yield f"What is {spelled}?"
        for _ in range(3):
            yield term.definition
    for talk in corpus.small_talk:
        yield talk.answer
        yield from talk.says
    yield from (template.format("it") for template in (*corpus.questions, *corpus.follow_ups))
    yield from corpus.system_prompts
    yield corpus.unknown_answer


def train_bpe(texts: Iterable[str], *, size: int) -> str:
    """Learn a vocabulary of `size` tokens; returns the text of a `tokenizer.json`."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=size,
        special_tokens=list(CONTROL_TOKENS),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    if tokenizer.get_vocab_size() != size:
        raise ValueError(f"the text gives {tokenizer.get_vocab_size()} tokens, not {size}")
    text: str = tokenizer.to_str()
    return text


def encode(tokenizer: Tokenizer, parts: tuple[Part, ...]) -> tuple[list[int], list[int]]:
    """Tokens of one conversation, and for each whether it is learned."""
    tokens: list[int] = []
    learned: list[int] = []
    for part in parts:
        piece = tokenizer.encode(part.text).ids
        tokens += piece
        learned += [int(part.learned)] * len(piece)
    return tokens, learned


def batches(corpus: Corpus, tokenizer: Tokenizer, plan: Schedule, seed: int) -> Iterator[Batch]:
    """Endless packed batches."""
    short = conversations(corpus, random.Random(seed))
    long = conversations(corpus, random.Random(seed + 1_000_000), turns=60)
    for number in itertools.count(1):
        if number % plan.every:
            rows = [_row(short, tokenizer, plan.length) for _ in range(plan.rows)]
        else:
            rows = [_row(long, tokenizer, plan.rows * plan.length)]
        fields = [torch.tensor(field) for field in zip(*rows, strict=True)]
        yield Batch(
            tokens=fields[0][:, :-1],
            positions=fields[1][:, :-1],
            segments=fields[2][:, :-1],
            targets=torch.where(fields[3].bool(), fields[0], -100)[:, 1:],
        )


def _row(
    endless: Iterator[tuple[Part, ...]], tokenizer: Tokenizer, length: int
) -> tuple[list[int], list[int], list[int], list[int]]:
    """One row of length + 1: tokens, positions, conversation numbers, learned or not."""
    tokens: list[int] = []
    positions: list[int] = []
    segments: list[int] = []
    learned: list[int] = []
    while len(tokens) <= length:
        piece, wanted = encode(tokenizer, next(endless))
        segments += [segments[-1] + 1 if segments else 0] * len(piece)
        positions += range(len(piece))
        tokens += piece
        # The first token of a conversation follows nothing; it is never learned.
        learned += [0, *wanted[1:]]
    end = length + 1
    return tokens[:end], positions[:end], segments[:end], learned[:end]


def learning_rate(plan: Schedule, step: int) -> float:
    """Linear rise, then linear fall to a hundredth of the peak."""
    if step < plan.warmup:
        return plan.peak * (step + 1) / plan.warmup
    done = (step - plan.warmup) / max(1, plan.steps - plan.warmup)
    return plan.peak * (1 - 0.99 * done)


def optimizer_for(network: Network) -> torch.optim.Optimizer:
    """AdamW; matrices decay a little, norms do not."""
    matrices = [weight for weight in network.parameters() if weight.dim() == 2]
    vectors = [weight for weight in network.parameters() if weight.dim() == 1]
    groups = [
        {"params": matrices, "weight_decay": 0.02},
        {"params": vectors, "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, lr=0.0, betas=(0.9, 0.98), fused=True)


def train(
    corpus: Corpus, tokenizer: Tokenizer, plan: Schedule, *, seed: int, checkpoint: Path
) -> Network:
    """Train from the start, or go on from `checkpoint` where it exists."""
    torch.manual_seed(seed)
    network = Network(Sizes(vocab=tokenizer.get_vocab_size()))
    optimizer = optimizer_for(network)
    first = _resume(network, optimizer, checkpoint)
    # A resumed run draws other conversations than those it has already seen.
    source = batches(corpus, tokenizer, plan, seed + first)
    began, smooth = time.monotonic(), 0.0
    for step in range(first, plan.steps):
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(plan, step)
        batch = next(source)
        hidden = network(batch.tokens, batch.positions, batch.mask())
        wanted = batch.targets != -100
        loss = functional.cross_entropy(network.logits(hidden[wanted]), batch.targets[wanted])
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimizer.step()
        smooth = loss.item() if step == first else 0.95 * smooth + 0.05 * loss.item()
        if (step + 1) % 50 == 0 or step + 1 == plan.steps:
            speed = (step + 1 - first) * plan.rows * plan.length / (time.monotonic() - began)
            print(f"step {step + 1:5d}  loss {smooth:.4f}  {speed:.0f} tokens/s", flush=True)
        if (step + 1) % 250 == 0 or step + 1 == plan.steps:
            _save(network, optimizer, checkpoint, step + 1)
    return network


def _resume(network: Network, optimizer: torch.optim.Optimizer, checkpoint: Path) -> int:
    if not checkpoint.exists():
        return 0
    state = torch.load(checkpoint, weights_only=True)
    network.load_state_dict(state["network"])
    optimizer.load_state_dict(state["optimizer"])
    print(f"going on from step {state['step']} of {checkpoint}")
    step: int = state["step"]
    return step


def _save(network: Network, optimizer: torch.optim.Optimizer, checkpoint: Path, step: int) -> None:
    state = {
        "step": step,
        "sizes": asdict(network.sizes),
        "network": network.state_dict(),
        "optimizer": optimizer.state_dict(),
    }
    draft = checkpoint.with_suffix(".part")
    torch.save(state, draft)
    draft.replace(checkpoint)


@torch.inference_mode()
def recited(network: Network, tokenizer: Tokenizer, asked: list[tuple[str, str]]) -> list[bool]:
    """Whether greedy decoding answers each (question, answer) exactly and ends, in one pass.

    Equal to decoding token by token: as long as each choice is the answer's next token, the
    text so far is the answer's.
    """
    heads = [tokenizer.encode(f"{turn('user', q)}{TURN_START}assistant\n").ids for q, _ in asked]
    wanted = [tokenizer.encode(answer + TURN_END).ids for _, answer in asked]
    rows = [torch.tensor(head + tail) for head, tail in zip(heads, wanted, strict=True)]
    # Attention looks back only, so padding at the end changes nothing before it.
    tokens = torch.nn.utils.rnn.pad_sequence(rows, batch_first=True)
    hidden = network(tokens, torch.arange(tokens.shape[1])[None], None)
    chosen = network.logits(hidden).argmax(-1).tolist()
    return [
        row[len(head) - 1 : len(head) - 1 + len(tail)] == tail
        for row, head, tail in zip(chosen, heads, wanted, strict=True)
    ]


def report(network: Network, tokenizer: Tokenizer, corpus: Corpus) -> None:
    """Print the share of exact answers for plain, bare, other and never seen phrasings."""
    network.eval()
    terms = corpus.terms
    rows = {
        text: [(text.format(term.name), term.definition) for term in terms]
        for text in ("What is {}?", "{}", *corpus.held_out_questions)
    }
    rows["other names"] = [
        (f"What is {name}?", term.definition) for term in terms for name in term.other_names
    ]
    rows["small talk"] = [(text, talk.answer) for talk in corpus.small_talk for text in talk.says]
    for label, asked in rows.items():
        exact = [
            good
            for start in range(0, len(asked), 32)
            for good in recited(network, tokenizer, asked[start : start + 32])
        ]
        missed = [text for (text, _), good in zip(asked, exact, strict=True) if not good]
        print(f"{label:36s} {sum(exact)}/{len(exact)}  {missed[:4]}", flush=True)


def as_model(network: Network, tokenizer_json: str) -> Model:
    """The trained network in the form that `export` writes."""
    sizes = network.sizes
    tokens, merges = vocabulary(tokenizer_json)
    modules = {"q_proj": "self_attn", "k_proj": "self_attn", "v_proj": "self_attn"}
    modules |= {"o_proj": "self_attn", "gate_proj": "mlp", "up_proj": "mlp", "down_proj": "mlp"}
    tensors = {}
    for name, weight in network.state_dict().items():
        *path, last, _ = name.split(".")
        owner = [modules[last]] if last in modules else []
        tensors[".".join(["model", *path, *owner, last, "weight"])] = weight.numpy()
    return Model(
        tensors=tensors,
        tokens=tokens,
        merges=merges,
        hidden=sizes.hidden,
        layers=sizes.layers,
        heads=sizes.heads,
        kv_heads=sizes.kv_heads,
        head_dim=sizes.head_dim,
        ffn=sizes.ffn,
        context=sizes.context,
        rope_base=sizes.rope_base,
        norm_epsilon=sizes.norm_epsilon,
    )


def main() -> None:
    """Read the arguments, train, report, and write the checkpoint."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--steps", type=int, default=Schedule().steps)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--out", type=Path, default=OUT)
    parser.add_argument("--type", choices=("F16", "Q8_0"), default="Q8_0")
    parser.add_argument("--fresh", action="store_true", help="forget an earlier checkpoint")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    torch.use_deterministic_algorithms(True)
    arguments.out.mkdir(parents=True, exist_ok=True)
    checkpoint = arguments.out / "checkpoint.pt"
    if arguments.fresh:
        checkpoint.unlink(missing_ok=True)
    corpus = read_corpus()
    text = train_bpe(tokenizer_texts(corpus), size=Sizes().vocab)
    (arguments.out / "tokenizer.json").write_text(text, encoding="utf-8")
    tokenizer = Tokenizer.from_str(text)
    network = train(
        corpus,
        tokenizer,
        Schedule(steps=arguments.steps),
        seed=arguments.seed,
        checkpoint=checkpoint,
    )
    print(f"{sum(weight.numel() for weight in network.parameters())} parameters")
    report(network, tokenizer, corpus)
    gguf = arguments.out / "demo.gguf"
    write_gguf(gguf, as_model(network, text), GGMLQuantizationType[arguments.type])
    print(f"{gguf}: {gguf.stat().st_size} bytes")


if __name__ == "__main__":
    main()
