"""Model shapes without files, for properties of plan/."""

from __future__ import annotations

from hypothesis import strategies as st

from plimsoll.facts.formats import ggml_types_by_name
from plimsoll.facts.shape import Attention, ModelShape, Tensor


def shape(
    *,
    layers: int = 4,
    hidden: int = 256,
    heads: int = 4,
    kv_heads: int = 2,
    head_dim: int = 64,
    ffn: int = 512,
    vocab: int = 4000,
    context: int = 8192,
    window: int = 0,
    whole_every: int = 2,
    kind: str = "f16",
    experts: int = 0,
    experts_used: int = 0,
    state_bytes: int = 0,
    causal: bool = True,
    pooling: str = "",
    tied: bool = False,
    tokenizer: bool = True,
    form: str = "gguf",
) -> ModelShape:
    """A model whose tensors follow from its sizes."""
    stored = ggml_types_by_name()[kind]
    q, kv = heads * head_dim, kv_heads * head_dim
    sizes = [("token_embd.weight", vocab)] + ([] if tied else [("output.weight", vocab)])
    sizes += [(f"blk.{n}.all", 2 * q + 2 * kv + 3 * ffn * max(1, experts)) for n in range(layers)]
    tensors = tuple(
        Tensor(name=name, type=kind, shape=(hidden, rows), bytes=stored.row_bytes(hidden) * rows)
        for name, rows in sizes
    )
    return ModelShape(
        architecture="llama",
        format=form,
        hidden=hidden,
        attention=tuple(
            Attention(
                heads=heads,
                kv_heads=kv_heads,
                key_dim=head_dim,
                value_dim=head_dim,
                window=0 if layer % whole_every == 0 else window,
            )
            for layer in range(layers)
        ),
        ffn=ffn,
        vocab=vocab,
        merges=vocab // 2,
        context_train=context,
        experts=experts,
        experts_used=experts_used,
        expert_ffn=0,
        state_bytes=state_bytes,
        causal=causal,
        pooling=pooling,
        tensors=tensors,
        file_bytes=sum(tensor.bytes for tensor in tensors),
        tokenizer=tokenizer,
        chat_template=True,
        parts=1,
    )


SHAPES = st.builds(
    shape,
    layers=st.integers(1, 8),
    hidden=st.sampled_from([64, 256, 1024]),
    heads=st.sampled_from([1, 4, 16]),
    kv_heads=st.sampled_from([1, 2, 8]),
    head_dim=st.sampled_from([32, 64, 128]),
    ffn=st.sampled_from([0, 64, 4096]),
    vocab=st.integers(300, 200_000),
    context=st.sampled_from([0, 512, 4096, 131_072]),
    window=st.sampled_from([0, 128, 4096]),
    kind=st.sampled_from(["f32", "f16", "q8_0", "q4_0"]),
    experts=st.just(8),
    experts_used=st.sampled_from([0, 2]),
    state_bytes=st.sampled_from([0, 1_000_000]),
    tied=st.booleans(),
)
