"""The memory ledger of one llama.cpp replica on CPU: every term with its arithmetic in words.

It holds for these settings, which engines/llamacpp.py renders:
- every slot owns `context` tokens of its own (`--no-kv-unified`, `--ctx-size` = context x slots)
- weights are read into memory (`--load-mode none`, `--lazy-mode off`): mapped weights would stay
  resident beside their repacked copies, which llama.cpp makes for faster prompts
- flash attention is on (`--flash-attn on`): no scores of context x batch x heads
- one batch is one micro-batch (`--batch-size` = `--ubatch-size`)
- sliding windows keep only themselves and one batch (the default, no `--swa-full`)
- prompt cache and checkpoints are bounded (`--cache-ram`, `--ctx-checkpoints`)
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from plimsoll.errors import InputError
from plimsoll.facts.engine_memory import memory_constants
from plimsoll.facts.formats import GgmlType, ggml_types_by_name
from plimsoll.facts.nearest import nearest_hint
from plimsoll.facts.shape import Attention, ModelShape
from plimsoll.plan.types import Ledger, Term
from plimsoll.units import size

F32 = 4  # bytes of one activation
KV_TYPES = ("f16", "bf16", "f32", "q8_0", "q5_1", "q5_0", "q4_1", "q4_0", "iq4_nl")


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What a replica is asked to do, as far as memory depends on it.

    context       tokens of one slot
    parallel      slots
    batch         tokens of one step
    threads       engine threads
    kv_type       element type of keys and values, one of KV_TYPES
    task          chat | completion | embedding
    prompt_cache  bytes for prompts that no slot holds any more
    checkpoints   snapshots per slot of sliding windows and recurrent states
    """

    context: int
    parallel: int
    batch: int
    threads: int
    kv_type: str = "f16"
    task: str = "chat"
    prompt_cache: int = 0
    checkpoints: int = 0

    @property
    def step(self) -> int:
        """Tokens of the largest step that can happen."""
        return min(self.batch, self.context * self.parallel)


def ledger(shape: ModelShape, settings: Settings) -> Ledger:
    """The predicted resident memory of one replica that has worked, by terms.

    Raises InputError for an element type that llama.cpp's KV cache does not have.
    """
    kv_type = _kv_type(settings.kv_type)
    terms = (
        *_weights(shape),
        *_kv_cache(shape, settings, kv_type),
        _recurrent_state(shape, settings),
        _compute_buffers(shape, settings),
        _output_buffer(shape, settings),
        _work_buffer(shape, settings),
        _tokenizer(shape),
        _slots(shape, settings),
        _http_threads(settings),
        _prompt_cache(settings),
        _checkpoints(shape, settings, kv_type),
        Term(
            name="process",
            bytes=_constant("process"),
            why="Python, the engine's library and its allocator, measured",
        ),
    )
    return Ledger(terms=tuple(term for term in terms if term.bytes))


def _constant(name: str) -> int:
    return memory_constants("llamacpp")[name].value


def _kv_type(name: str) -> GgmlType:
    if name not in KV_TYPES:
        raise InputError(
            f"llama.cpp keeps no KV cache of type `{name}`",
            hint=nearest_hint(name, KV_TYPES),
            code="plan.kv-type",
        )
    return ggml_types_by_name()[name]


def _weights(shape: ModelShape) -> Iterable[Term]:
    for kind, stored in shape.bytes_by_type().items():
        count = sum(1 for tensor in shape.tensors if tensor.type == kind)
        yield Term(
            name=f"weights {kind}",
            bytes=stored,
            why=f"{count} tensors as stored in the file",
        )
    copied = next((t for t in shape.tensors if t.name == "token_embd.weight"), None)
    tied = all(tensor.name != "output.weight" for tensor in shape.tensors)
    if copied and tied and copied.type in _repacked_types():
        yield Term(
            name="output matrix",
            bytes=copied.bytes,
            why=f"a second, repacked copy of the {copied.type} embedding, which serves as both",
        )


def _repacked_types() -> frozenset[str]:
    return frozenset(kind.name for kind in ggml_types_by_name().values() if kind.repacked)


def cells(context: int) -> int:
    """Tokens that the KV cache of one slot really holds: rounded up by llama.cpp."""
    multiple = _constant("cell_multiple")
    return -(-context // multiple) * multiple


def _cells_of(layer: Attention, settings: Settings) -> int:
    whole = cells(settings.context)
    return min(whole, cells(layer.window + settings.step)) if layer.window else whole


def _token_bytes(layer: Attention, kind: GgmlType) -> int:
    """Bytes of one token's keys and values in one layer; rows are whole blocks."""
    if not layer.cached:
        return 0
    return sum(
        -(-layer.kv_heads * width // kind.block_elements) * kind.block_bytes
        for width in (layer.key_dim, layer.value_dim)
    )


def _kv_cache(shape: ModelShape, settings: Settings, kind: GgmlType) -> Iterable[Term]:
    if not shape.causal:
        return
    for sliding, name in ((False, "kv cache"), (True, "kv cache of sliding layers")):
        layers = [
            layer
            for layer in shape.attention
            if bool(layer.window) is sliding and _token_bytes(layer, kind)
        ]
        if not layers:
            continue
        held = max(_cells_of(layer, settings) for layer in layers)
        per_token = sum(_token_bytes(layer, kind) for layer in layers)
        window = f" (a window of {layers[0].window:,} and one batch)" if sliding else ""
        yield Term(
            name=name,
            bytes=sum(_cells_of(layer, settings) * _token_bytes(layer, kind) for layer in layers)
            * settings.parallel,
            why=f"{held:,} tokens{window} x {settings.parallel} slots x {per_token:,} B: "
            f"{_layers_in_words(layers, kind)}",
        )


def _layers_in_words(layers: list[Attention], kind: GgmlType) -> str:
    first = layers[0]
    if any(layer != first for layer in layers):
        return f"keys and values of {len(layers)} layers of different widths, {kind.name}"
    widths = f"({first.key_dim} + {first.value_dim})"
    return f"{len(layers)} layers x {first.kv_heads} kv heads x {widths} elements of {kind.name}"


def _recurrent_state(shape: ModelShape, settings: Settings) -> Term:
    return Term(
        name="recurrent state",
        bytes=shape.state_bytes * settings.parallel,
        why=f"{shape.state_bytes:,} B x {settings.parallel} slots",
    )


def _compute_buffers(shape: ModelShape, settings: Settings) -> Term:
    """Activations of one step, as llama.cpp's allocator lays them out."""
    step = settings.step
    dense = max(shape.ffn, shape.experts_used * (shape.expert_ffn or shape.ffn))
    ffn = (_constant("ffn_widths") if _gated(shape) else 1) * dense
    attention = max(
        (
            2 * layer.heads * layer.key_dim + layer.kv_heads * (layer.key_dim + layer.value_dim)
            for layer in shape.attention
        ),
        default=0,
    )
    residual = _constant("residual_widths") * shape.hidden
    outputs = _logit_rows(shape, settings)
    wide = max(ffn, attention) * step
    logits = outputs * shape.vocab
    masks = _mask_bytes(shape, settings)
    peak = (
        f"{outputs:,} x {shape.vocab:,} logits"
        if logits > wide
        else (
            f"{step:,} tokens x {max(ffn, attention):,} of the "
            f"{'feed-forward' if ffn >= attention else 'attention'} layer"
        )
    )
    return Term(
        name="compute buffers",
        bytes=(residual * step + max(wide, logits)) * F32 + masks,
        why=f"({step:,} tokens x {residual:,} + {peak}) x {F32} B, "
        f"and {size(masks)} of attention masks",
    )


def _gated(shape: ModelShape) -> bool:
    """Whether feed-forward layers have a gate (a product of two); without, they work in place."""
    ungated = [
        tensor
        for tensor in shape.tensors
        if tensor.name.endswith(".ffn_up.weight") and tensor.shape[-1] == shape.ffn
    ]
    return not ungated or any(".ffn_gate" in tensor.name for tensor in shape.tensors)


def _logit_rows(shape: ModelShape, settings: Settings) -> int:
    """Rows of logits that one step can yield."""
    if settings.task != "embedding":
        return settings.parallel
    return settings.step if shape.causal else 0  # encoders have no output matrix


def _mask_bytes(shape: ModelShape, settings: Settings) -> int:
    held = {bool(layer.window): _cells_of(layer, settings) for layer in shape.attention}
    return sum(held.values()) * settings.step * _constant("mask_element")


def _output_buffer(shape: ModelShape, settings: Settings) -> Term:
    """What a step hands out: logits of every slot's last token, or all of it of every token."""
    embedding = settings.task == "embedding"
    rows = settings.step if embedding else settings.parallel
    row = shape.vocab + (shape.hidden if embedding else 0)
    return Term(
        name="output buffer",
        bytes=rows * row * F32,
        why=f"{rows:,} {'tokens' if embedding else 'slots'} x {row:,} x {F32} B",
    )


def _work_buffer(shape: ModelShape, settings: Settings) -> Term:
    """One input of a matrix product, converted to what the weights are multiplied with."""
    widest = max(
        shape.hidden,
        shape.ffn,
        shape.experts_used * (shape.expert_ffn or shape.ffn),
        *(layer.heads * layer.value_dim for layer in shape.attention),
    )
    return Term(
        name="work buffer",
        bytes=settings.step * widest * 2,
        why=f"{settings.step:,} tokens x {widest:,} x 2 B at most",
    )


def _tokenizer(shape: ModelShape) -> Term:
    token, merge = _constant("vocab_token"), _constant("vocab_merge")
    return Term(
        name="tokenizer",
        bytes=shape.vocab * token + shape.merges * merge,
        why=f"{shape.vocab:,} tokens x {token} B + {shape.merges:,} merges x {merge} B, measured",
    )


def _slots(shape: ModelShape, settings: Settings) -> Term:
    samples = settings.task != "embedding"
    candidate, fixed = _constant("sampler_candidate") * samples, _constant("slot")
    return Term(
        name="slots",
        bytes=settings.parallel * (shape.vocab * candidate + fixed),
        why=f"{settings.parallel} x ({shape.vocab:,} sampling candidates x {candidate} B + "
        f"{size(fixed)})",
    )


def _http_threads(settings: Settings) -> Term:
    threads = 2 * settings.parallel + _constant("http_threads_spare") + settings.threads
    each = _constant("http_thread")
    return Term(
        name="threads", bytes=threads * each, why=f"{threads} touched stacks of {size(each)}"
    )


def _prompt_cache(settings: Settings) -> Term:
    return Term(
        name="prompt cache",
        bytes=settings.prompt_cache,
        why="prompts that no slot holds any more, up to this bound",
    )


def _checkpoints(shape: ModelShape, settings: Settings, kind: GgmlType) -> Term:
    one = snapshot_bytes(shape, settings, kind)
    return Term(
        name="context checkpoints",
        bytes=settings.checkpoints * settings.parallel * one,
        why=f"{settings.checkpoints} x {settings.parallel} slots x {size(one)} of sliding windows "
        "and recurrent state",
    )


def snapshot_bytes(shape: ModelShape, settings: Settings, kind: GgmlType | None = None) -> int:
    """Bytes of one context checkpoint: what a slot cannot rebuild without its whole prompt."""
    kind = kind or _kv_type(settings.kv_type)
    sliding = sum(
        min(layer.window, cells(settings.context)) * _token_bytes(layer, kind)
        for layer in shape.attention
        if layer.window
    )
    return shape.state_bytes + (sliding if shape.causal else 0)
